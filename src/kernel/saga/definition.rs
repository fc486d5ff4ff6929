//! What a saga consists of.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::kernel::error::{Error, Result};

/// How long one attempt of a step may take unless stated otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What a step does: takes the saga's data, and returns it, changed or not.
pub(super) type Action =
    Arc<dyn Fn(StepCall, Value) -> BoxFuture<'static, Result<Value>> + Send + Sync>;

/// Work in steps.
///
/// Sagas that are under way are remembered by the names of saga and step. A new version may add steps
/// and change their order; one that takes a step away leaves the sagas that stand at it stuck until
/// a version that knows it is back.
#[derive(Clone)]
pub struct Saga {
    name: &'static str,
    steps: Vec<Step>,
}

/// One step of a saga.
#[derive(Clone)]
pub struct Step {
    pub(super) name: &'static str,
    pub(super) action: Action,
    pub(super) is_local: bool,
    pub(super) compensation: Option<Compensation>,
    pub(super) timeout: Duration,
    pub(super) give_up_after: Option<Duration>,
    pub(super) delay: Duration,
    pub(super) is_irreversible: bool,
    /// Done by the transaction that began the saga.
    pub(super) is_begun: bool,
}

/// What undoes a step.
#[derive(Clone)]
pub(super) struct Compensation {
    pub(super) action: Action,
    pub(super) is_local: bool,
}

/// One attempt of a step, as its action sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepCall {
    /// Id of the saga.
    pub saga_id: String,
    /// Name of the step.
    pub step: &'static str,
    /// Whether the step is being undone.
    pub is_compensation: bool,
    /// Which attempt this is, from 1; attempts that failed because something was away are not
    /// counted.
    pub attempt: u32,
}

impl StepCall {
    /// The idempotency key of what the step does elsewhere: the same in every attempt, another for
    /// undoing it.
    pub fn key(&self) -> String {
        match self.is_compensation {
            true => format!("{}/{}/compensation", self.saga_id, self.step),
            false => format!("{}/{}", self.saga_id, self.step),
        }
    }
}

impl Saga {
    /// A saga that has no step yet.
    pub fn new(name: &'static str) -> Self {
        Self { name, steps: Vec::new() }
    }

    /// Adds a step behind the others.
    pub fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Refuses a saga that cannot be run.
    pub(crate) fn validate(&self) -> anyhow::Result<()> {
        anyhow::ensure!(!self.steps.is_empty(), "saga {} has no step: add one", self.name);
        let begun = self.steps.iter().take_while(|step| step.is_begun).count();
        anyhow::ensure!(
            begun < self.steps.len(),
            "saga {} has nothing left to do once it has begun: add a step",
            self.name
        );
        for (index, step) in self.steps.iter().enumerate() {
            anyhow::ensure!(
                !step.is_begun || index < begun,
                "saga {} has the begun step {} behind others: put it first",
                self.name,
                step.name
            );
            anyhow::ensure!(
                self.steps[..index].iter().all(|earlier| earlier.name != step.name),
                "saga {} has two steps named {}: give one of them another name",
                self.name,
                step.name
            );
        }
        Ok(())
    }
}

impl Step {
    /// A step whose action calls other services. It gets the saga's data and returns it, with what
    /// later steps need to know.
    pub fn new<D, F, Fut>(name: &'static str, action: F) -> Self
    where
        D: Serialize + DeserializeOwned + Send + 'static,
        F: Fn(StepCall, D) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<D>> + Send + 'static,
    {
        Self {
            name,
            action: erased(action),
            is_local: false,
            compensation: None,
            timeout: TIMEOUT,
            give_up_after: None,
            delay: Duration::ZERO,
            is_irreversible: false,
            is_begun: false,
        }
    }

    /// A step that changes the service's own database only: `Database::begin` joins the transaction
    /// that also moves the saga on. Its effect happens once.
    pub fn local<D, F, Fut>(name: &'static str, action: F) -> Self
    where
        D: Serialize + DeserializeOwned + Send + 'static,
        F: Fn(StepCall, D) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<D>> + Send + 'static,
    {
        Self { is_local: true, ..Self::new(name, action) }
    }

    /// What was done by the transaction that begins the saga, there for its compensation. Only the
    /// first steps can be.
    pub fn begun(name: &'static str) -> Self {
        let nothing = |_, data: Value| std::future::ready(Ok(data));
        Self { is_begun: true, ..Self::local(name, nothing) }
    }

    /// Undoes the step, by calling other services. It may run although the step had no effect.
    pub fn compensate<D, F, Fut>(mut self, action: F) -> Self
    where
        D: Serialize + DeserializeOwned + Send + 'static,
        F: Fn(StepCall, D) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<D>> + Send + 'static,
    {
        self.compensation = Some(Compensation { action: erased(action), is_local: false });
        self
    }

    /// Undoes the step in the service's own database, in the transaction that moves the saga on.
    pub fn compensate_local<D, F, Fut>(mut self, action: F) -> Self
    where
        D: Serialize + DeserializeOwned + Send + 'static,
        F: Fn(StepCall, D) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<D>> + Send + 'static,
    {
        self.compensation = Some(Compensation { action: erased(action), is_local: true });
        self
    }

    /// How long one attempt may take. Default: 10 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Counts as refused once it has been failing for so long. Default: never.
    pub fn give_up_after(mut self, patience: Duration) -> Self {
        self.give_up_after = Some(patience);
        self
    }

    /// Begins so long after the step before: a timer that outlives the process. Default: at once.
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// There is no way back from here: a later refusal is tried again instead, and the saga can no
    /// longer be aborted.
    pub fn irreversible(mut self) -> Self {
        self.is_irreversible = true;
        self
    }
}

fn erased<D, F, Fut>(action: F) -> Action
where
    D: Serialize + DeserializeOwned + Send + 'static,
    F: Fn(StepCall, D) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<D>> + Send + 'static,
{
    let action = Arc::new(action);
    Arc::new(move |call, data| {
        let action = action.clone();
        Box::pin(async move {
            let data = serde_json::from_value(data).map_err(Error::internal)?;
            let data = action(call, data).await?;
            serde_json::to_value(data).map_err(Error::internal)
        })
    })
}

impl std::fmt::Debug for Saga {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Saga").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &'static str) -> Step {
        Step::new(name, |_, data: Value| std::future::ready(Ok(data)))
    }

    #[test]
    fn a_saga_that_cannot_be_run_is_refused_with_the_step() {
        let saga = || Saga::new("trip");
        assert!(saga().step(Step::begun("book")).step(step("fly")).validate().is_ok());
        for (saga, refusal) in [
            (saga(), "has no step"),
            (saga().step(Step::begun("book")), "nothing left to do"),
            (saga().step(step("fly")).step(Step::begun("book")), "begun step book"),
            (saga().step(step("fly")).step(step("fly")), "two steps named fly"),
        ] {
            let error = saga.validate().expect_err("it cannot be run").to_string();
            assert!(error.contains(refusal), "{error}");
        }
    }
}
