//! Other services, as the sagas of these stories find them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use mainstay::kernel::error::FAILED_PRECONDITION;
use mainstay::kernel::saga::{Step, StepCall};
use mainstay::kernel::{Error, Result};

use crate::world::eventually;

/// How a call is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Accept,
    Refuse,
    Away,
    /// It has its effect, but the caller does not learn of it.
    LoseReply,
    /// It is never answered, and has no effect.
    HangBefore,
    /// It is never answered, and has its effect.
    HangAfter,
}

/// What happened elsewhere. An effect that is asked for again by the same key does not repeat.
#[derive(Clone, Default)]
pub(crate) struct Elsewhere(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    effects: Vec<String>,
    answers: HashMap<String, Answer>,
    calls: HashMap<String, usize>,
}

impl Elsewhere {
    /// How calls of this step are answered from now on; `<step>/compensation` are those that undo it.
    pub(crate) fn answer(&self, step: &str, answer: Answer) {
        self.0.lock().unwrap().answers.insert(step.to_owned(), answer);
    }

    /// The effects, in the order in which they happened.
    pub(crate) fn effects(&self) -> Vec<String> {
        self.0.lock().unwrap().effects.clone()
    }

    /// Waits until a step was called so often.
    pub(crate) async fn called(&self, step: &str, times: usize) {
        eventually(&format!("{times} calls of {step}"), async || {
            let calls = self.0.lock().unwrap().calls.get(step).copied().unwrap_or_default();
            (calls >= times).then_some(())
        })
        .await;
    }

    /// A step that does something here, and can be undone.
    pub(crate) fn step(&self, name: &'static str) -> Step {
        let (done, undone) = (self.clone(), self.clone());
        Step::new(name, move |call: StepCall, mut data: Vec<String>| {
            let elsewhere = done.clone();
            async move {
                elsewhere.call(&call).await?;
                data.push(call.step.to_owned());
                Ok(data)
            }
        })
        .compensate(move |call: StepCall, data: Vec<String>| {
            let elsewhere = undone.clone();
            async move { elsewhere.call(&call).await.map(|()| data) }
        })
    }

    async fn call(&self, call: &StepCall) -> Result<()> {
        let key = call.key();
        let name = key.split_once('/').unwrap().1.to_owned();
        let answer = {
            let mut state = self.0.lock().unwrap();
            let answer = state.answers.get(&name).copied().unwrap_or(Answer::Accept);
            let has_effect =
                matches!(answer, Answer::Accept | Answer::LoseReply | Answer::HangAfter);
            if has_effect && !state.effects.contains(&key) {
                state.effects.push(key);
            }
            *state.calls.entry(name.clone()).or_default() += 1;
            answer
        };
        match answer {
            Answer::Accept => Ok(()),
            Answer::Refuse => Err(Error::new(FAILED_PRECONDITION, format!("{name} is full"))),
            Answer::Away | Answer::LoseReply => Err(Error::unavailable(format!("{name} is away"))),
            Answer::HangBefore | Answer::HangAfter => std::future::pending().await,
        }
    }
}
