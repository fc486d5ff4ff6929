//! From a delivery to its end: attempts with back-off, and for what will not do the dead letters.

use std::sync::Arc;
use std::time::Duration;

use prost_reflect::DescriptorPool;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use uuid::Uuid;

use super::attempt::Attempts;
use super::lanes::Task;
use super::ledger::Ledger;
use super::scrub::Scrubber;
use super::verdict::Verdict;
use crate::kernel::database::Database;
use crate::kernel::error::{Error, ErrorCode, Result};
use crate::kernel::events::backoff::Backoff;
use crate::kernel::events::bus::EventBus;
use crate::kernel::events::consumer::{Consumer, ConsumerStatus, Start};
use crate::kernel::events::dead_letter::{self, Cause};
use crate::kernel::events::tried::Tried;
use crate::kernel::proto::events::Envelope;

/// An event that is parked because one before it is.
const AGGREGATE_PARKED: ErrorCode = ErrorCode::new("AGGREGATE_PARKED", Code::FailedPrecondition);

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was handled, known already, or of no interest.
    Handled,
    /// It is a dead letter now.
    Parked,
    /// The process stops before it could be handled: it is delivered again.
    Stopped,
}

/// Settles the deliveries of one consumer.
pub(super) struct Settler {
    attempts: Attempts,
    pub(super) ledger: Ledger,
    status: Arc<ConsumerStatus>,
    scrubber: Scrubber,
    database: Option<Database>,
    bus: Arc<dyn EventBus>,
    backoff: Backoff,
    max_attempts: u32,
}

impl Settler {
    pub(super) fn new(
        consumer: Consumer,
        status: Arc<ConsumerStatus>,
        start: &Start<'_>,
        pool: &DescriptorPool,
    ) -> anyhow::Result<Self> {
        let database = start.database.clone();
        Ok(Self {
            attempts: Attempts::new(consumer, status.group(), start.service, database.clone()),
            ledger: Ledger::new(database.clone(), status.group()),
            status,
            scrubber: Scrubber::new(pool)?,
            database,
            bus: start.bus.clone(),
            backoff: Backoff::new(start.settings),
            max_attempts: start.settings.max_attempts,
        })
    }

    pub(super) fn consumer(&self) -> &Consumer {
        self.attempts.consumer()
    }

    /// Handles an event until it is settled. What is no event of ours goes to the dead letters.
    pub(super) async fn settle(&self, task: &Task, stop: &CancellationToken) -> Outcome {
        let envelope = &task.envelope;
        if let Some(fault) = &task.fault {
            return self.bury(envelope, Cause::fault(fault), stop).await;
        }
        if self.consumer().handler(envelope).is_none() {
            return Outcome::Handled;
        }
        let suspect = self.ledger.is_suspect();
        let mut tried = self.ledger.take(envelope);
        let mut attempts: u32 = 0;
        loop {
            if let Some(cause) = self.hopeless(tried.as_ref()) {
                return self.bury(envelope, cause, stop).await;
            }
            let Err(error) = self.attempt(envelope, suspect, &mut tried).await else {
                if tried.is_some() {
                    self.ledger.forget(envelope).await;
                }
                return Outcome::Handled;
            };
            attempts = attempts.saturating_add(1);
            if let Some(class) = error.class() {
                self.consumer().metrics(|metrics| metrics.error(class));
            }
            let failure = Failure::of(&error, self.scrubber.scrub(envelope, error.with_causes()));
            let tried = match &mut tried {
                Some(tried) => tried,
                None => tried.insert(self.ledger.recall(envelope).await),
            };
            tried.note(&failure.code, &failure.reason, failure.verdict != Verdict::Outage);
            if self.gives_up(&failure, tried) {
                let Failure { code, reason, .. } = failure;
                return self
                    .bury(envelope, Cause { code, reason, tried: tried.clone() }, stop)
                    .await;
            }
            self.report_retry(envelope, &failure, attempts, &error);
            self.ledger.save(envelope, tried).await;
            let wait = match failure.verdict {
                Verdict::Outage => self.backoff.wait_out(attempts),
                _ => self.backoff.wait(attempts),
            };
            if !self.wait(wait, stop).await {
                self.ledger.put_back(envelope, tried.clone());
                return Outcome::Stopped;
            }
        }
    }

    async fn attempt(
        &self,
        envelope: &Envelope,
        suspect: bool,
        tried: &mut Option<Tried>,
    ) -> Result<()> {
        if let Some(database) = self.database.as_ref().filter(|_| self.consumer().parks_aggregate())
            && dead_letter::blocks(database, self.status.group(), envelope).await?
        {
            let reason = "an earlier event of the aggregate is a dead letter";
            return Err(Error::new(AGGREGATE_PARKED, reason));
        }
        let _turn = self.attempts.turn(suspect).await?;
        if suspect {
            // Not before its turn: what only waits when the process ends has not ended it.
            self.ledger.begin(envelope, tried.get_or_insert_default()).await?;
        }
        self.attempts.make(envelope).await
    }

    /// An event that has used up its attempts before this process began: it ends processes.
    fn hopeless(&self, tried: Option<&Tried>) -> Option<Cause> {
        let tried = tried.filter(|tried| tried.counted >= self.max_attempts)?;
        let last = tried.history.last()?;
        Some(Cause { code: last.code.clone(), reason: last.error.clone(), tried: tried.clone() })
    }

    fn gives_up(&self, failure: &Failure, tried: &Tried) -> bool {
        match failure.verdict {
            Verdict::Outage => false,
            Verdict::Doubtful => tried.counted >= self.max_attempts,
            Verdict::Poison => true,
        }
    }

    /// Makes a dead letter of it; that is tried until it succeeds, or the event would be lost.
    async fn bury(&self, envelope: &Envelope, cause: Cause, stop: &CancellationToken) -> Outcome {
        let mut failures = 0;
        loop {
            let error = match self.park(envelope, &cause).await {
                Ok(true) => return Outcome::Parked,
                Ok(false) => {
                    self.ledger.forget(envelope).await;
                    return Outcome::Handled;
                }
                Err(error) => error,
            };
            failures += 1;
            tracing::warn!(
                consumer = self.status.group(),
                event_id = envelope.id,
                error = error.with_causes(),
                "cannot park a dead letter"
            );
            if !self.wait(self.backoff.wait_out(failures), stop).await {
                return Outcome::Stopped;
            }
        }
    }

    /// `false` if the event was handled already, by another process or before this one died.
    async fn park(&self, envelope: &Envelope, cause: &Cause) -> Result<bool> {
        let group = self.status.group();
        let parked = match &self.database {
            Some(database) => dead_letter::park(database, group, envelope, cause).await?,
            None => {
                let record = dead_letter::record(Uuid::now_v7(), envelope, group, cause);
                self.bus.publish(vec![record]).await.map(|()| true)?
            }
        };
        if parked {
            self.consumer().metrics(|metrics| metrics.dead_letter(group));
            tracing::error!(
                consumer = group,
                event_id = envelope.id,
                event_type = envelope.r#type,
                attempts = cause.tried.counted,
                reason = cause.reason,
                "event goes to the dead letters"
            );
        }
        Ok(parked)
    }

    /// Waits before the next attempt; `false` when the process stops meanwhile.
    async fn wait(&self, wait: Duration, stop: &CancellationToken) -> bool {
        let _waiting = Waiting::begin(self);
        tokio::select! {
            () = tokio::time::sleep(wait) => true,
            () = stop.cancelled() => false,
        }
    }

    fn count_waiting(&self, begins: bool) {
        let waiting = self.status.wait(begins);
        let group = self.status.group();
        self.consumer().metrics(|metrics| metrics.consumer_waiting(group, waiting));
    }

    /// Counts every retry, and logs the 1st, 2nd, 4th, 8th, …: an outage is to be seen, not to fill
    /// the log.
    fn report_retry(&self, envelope: &Envelope, failure: &Failure, attempts: u32, error: &Error) {
        let consumer = self.status.group();
        self.consumer().metrics(|metrics| metrics.consumer_retry(consumer, error.code().grpc));
        if attempts.is_power_of_two() {
            tracing::warn!(
                consumer,
                event_id = envelope.id,
                event_type = envelope.r#type,
                attempts,
                reason = failure.reason,
                "event could not be handled, trying again"
            );
        }
    }
}

/// A failed attempt, for those who read of it.
struct Failure {
    verdict: Verdict,
    code: String,
    reason: String,
}

impl Failure {
    fn of(error: &Error, reason: String) -> Self {
        Self { verdict: Verdict::of(error), code: error.code().reason.to_string(), reason }
    }
}

/// Counts an event among those that wait, for as long as it does.
struct Waiting<'a>(&'a Settler);

impl<'a> Waiting<'a> {
    fn begin(settler: &'a Settler) -> Self {
        settler.count_waiting(true);
        Self(settler)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.count_waiting(false);
    }
}
