//! How the consumers of a process are doing: for readiness, metrics and operators.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::kernel::proto::events::Envelope;

/// The consumers of a process. Clones share their list.
#[derive(Clone, Default)]
pub struct Consumers(Arc<Mutex<Vec<Arc<ConsumerStatus>>>>);

/// How one consumer is doing.
pub struct ConsumerStatus {
    group: String,
    topics: Vec<String>,
    interest: Interest,
    inner: Mutex<Inner>,
    redelivery: Notify,
}

/// What a consumer has handlers for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interest {
    /// Types of events, by their full names.
    pub(crate) types: BTreeSet<String>,
    /// Topics whose every event it takes.
    pub(crate) whole_topics: BTreeSet<String>,
}

struct Inner {
    state: ConsumerState,
    lag: Option<i64>,
    waiting: usize,
}

/// What a consumer does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConsumerState {
    /// It has not subscribed yet.
    Starting,
    /// It takes events.
    Consuming,
    /// The broker or the database is away, and it asks again. The process stays ready: what it
    /// serves does not need them, or has a check of its own.
    Waiting {
        /// What is wrong.
        reason: String,
        /// How often it has asked.
        failures: u32,
    },
    /// It died and is started again: a panic outside a handler, or a subscription that ended for
    /// another reason than an outage. The process is not ready.
    Failed {
        /// What is wrong.
        reason: String,
        /// How often it has died since it last took an event.
        failures: u32,
    },
    /// It was told to stop.
    Stopped,
}

impl Consumers {
    /// Every consumer, in the order of their start.
    pub fn all(&self) -> Vec<Arc<ConsumerStatus>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The consumer of a group.
    pub fn group(&self, group: &str) -> Option<Arc<ConsumerStatus>> {
        self.all().into_iter().find(|consumer| consumer.group == group)
    }

    /// What keeps the process from being ready: consumers that died.
    pub fn check(&self) -> Result<(), String> {
        let dead: Vec<_> = self.all().iter().filter_map(|consumer| consumer.death()).collect();
        if dead.is_empty() { Ok(()) } else { Err(dead.join("; ")) }
    }

    pub(super) fn add(&self, status: Arc<ConsumerStatus>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(status);
    }
}

impl ConsumerStatus {
    pub(super) fn new(group: &str, topics: &[String], interest: Interest) -> Arc<Self> {
        Arc::new(Self {
            group: group.to_owned(),
            topics: topics.to_vec(),
            interest,
            inner: Mutex::new(Inner { state: ConsumerState::Starting, lag: None, waiting: 0 }),
            redelivery: Notify::new(),
        })
    }

    /// Its group, such as `identity-svc.accounts`.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The topics it listens to.
    pub fn topics(&self) -> &[String] {
        &self.topics
    }

    /// Whether it has a handler for an event.
    pub fn takes(&self, event: &Envelope) -> bool {
        self.interest.types.contains(&event.r#type)
            || self.interest.whole_topics.contains(&event.topic)
    }

    /// What it does.
    pub fn state(&self) -> ConsumerState {
        self.lock().state.clone()
    }

    /// How many events it had yet to handle when it last counted; `None` where it never could.
    pub fn lag(&self) -> Option<i64> {
        self.lock().lag
    }

    /// How many events wait in this process for their next attempt.
    pub fn waiting(&self) -> usize {
        self.lock().waiting
    }

    pub(crate) fn set_state(&self, state: ConsumerState) {
        self.lock().state = state;
    }

    pub(crate) fn set_lag(&self, lag: i64) {
        self.lock().lag = Some(lag);
    }

    /// An event begins to wait, or no longer does; returns how many wait now.
    pub(crate) fn wait(&self, begins: bool) -> usize {
        let mut inner = self.lock();
        inner.waiting = if begins { inner.waiting + 1 } else { inner.waiting.saturating_sub(1) };
        inner.waiting
    }

    /// Wakes the consumer for events that are to be delivered once more.
    pub(crate) fn redelivery(&self) -> &Notify {
        &self.redelivery
    }

    fn death(&self) -> Option<String> {
        match &self.lock().state {
            ConsumerState::Failed { reason, failures } => {
                Some(format!("{} died {failures} times: {reason}", self.group))
            }
            _ => None,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConsumerState {
    /// Its name, for metrics and operators.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Consuming => "consuming",
            Self::Waiting { .. } => "waiting",
            Self::Failed { .. } => "failed",
            Self::Stopped => "stopped",
        }
    }

    /// What is wrong; empty when nothing is.
    pub fn reason(&self) -> &str {
        match self {
            Self::Waiting { reason, .. } | Self::Failed { reason, .. } => reason,
            _ => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumer_that_died_is_named_and_one_that_waits_for_the_broker_is_not() {
        let consumers = Consumers::default();
        for group in ["a-svc.x", "a-svc.y"] {
            consumers.add(ConsumerStatus::new(group, &[], Interest::default()));
        }
        let failed = |reason: &str| ConsumerState::Failed { reason: reason.into(), failures: 2 };
        let waiting = ConsumerState::Waiting { reason: "away".into(), failures: 9 };
        consumers.all()[0].set_state(waiting);
        assert_eq!(consumers.check(), Ok(()));
        consumers.all()[1].set_state(failed("it panicked"));
        assert_eq!(consumers.check(), Err("a-svc.y died 2 times: it panicked".to_owned()));
        consumers.all()[1].set_state(ConsumerState::Consuming);
        assert_eq!(consumers.check(), Ok(()));
    }
}
