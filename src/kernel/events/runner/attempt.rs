//! Handling one event: attempts with back-off, and in the end the dead letters.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tracing::Instrument as _;

use crate::kernel::database::{Ambient, Completion, Database};
use crate::kernel::error::{DEADLINE_EXCEEDED, Error, INVALID_ARGUMENT, Result};
use crate::kernel::events::backoff::Backoff;
use crate::kernel::events::bus::{Delivery, EventBus};
use crate::kernel::events::consumer::{Consumer, Handler, Start};
use crate::kernel::events::{dead_letter, origin};
use crate::kernel::proto::events::Envelope;
use crate::kernel::telemetry::propagation::{continue_trace, extract_traceparent};

/// The most handlers of a consumer that run at once.
const CONCURRENCY: usize = 16;

/// The longest one attempt may take: a handler that hangs would hold back its aggregate, and with an
/// open transaction every writer of the service.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(60);

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was handled, known already, of no interest, or is a dead letter now: acknowledge it.
    Settled,
    /// The process stops before it could be handled: it is delivered again.
    Stopped,
}

/// How a consumer handles events.
pub(super) struct Attempts {
    consumer: Consumer,
    group: String,
    service: String,
    database: Option<Database>,
    bus: Arc<dyn EventBus>,
    backoff: Backoff,
    max_attempts: u32,
    slots: Semaphore,
}

impl Attempts {
    pub(super) fn new(
        consumer: Consumer,
        group: String,
        start: &Start<'_>,
        backoff: Backoff,
    ) -> Self {
        Self {
            consumer,
            group,
            service: start.service.to_owned(),
            database: start.database.clone(),
            bus: start.bus.clone(),
            backoff,
            max_attempts: start.settings.max_attempts,
            slots: Semaphore::new(CONCURRENCY),
        }
    }

    /// Handles an event until it is settled. What is no event of ours goes to the dead letters.
    pub(super) async fn settle(&self, delivery: &Delivery, stop: &CancellationToken) -> Outcome {
        let envelope = &delivery.envelope;
        if let Some(fault) = &delivery.fault {
            let error = Error::new(INVALID_ARGUMENT, fault.clone());
            self.log(envelope, &error, 0, true);
            return self.bury(envelope, &error, 0, stop).await;
        }
        let Some(handler) = self.consumer.handler(envelope) else { return Outcome::Settled };
        let mut attempts = 0;
        loop {
            let Err(error) = self.attempt(handler, envelope).await else { return Outcome::Settled };
            attempts += 1;
            let give_up =
                is_permanent(&error) || (attempts >= self.max_attempts && !is_outage(&error));
            self.log(envelope, &error, attempts, give_up);
            if give_up {
                return self.bury(envelope, &error, attempts, stop).await;
            }
            if !self.wait(attempts, stop).await {
                return Outcome::Stopped;
            }
        }
    }

    /// Reports how many events the consumer has yet to handle.
    pub(super) fn report_lag(&self, lag: Result<i64>) {
        if let Ok(lag) = lag {
            self.consumer.metrics(|metrics| metrics.consumer_lag(&self.group, lag));
        }
    }

    async fn attempt(&self, handler: &Handler, envelope: &Envelope) -> Result<()> {
        let _slot = self.slots.acquire().await.map_err(Error::internal)?;
        let span = tracing::info_span!(
            "handle event",
            otel.kind = "consumer",
            consumer = self.group,
            event_id = envelope.id,
            event_type = envelope.r#type,
            request_id = envelope.request_id,
        );
        continue_trace(&span, extract_traceparent(&envelope.traceparent));
        let handled = origin::scope(&self.service, envelope, contained(handler, envelope));
        let completion = async {
            match &self.database {
                Some(database) => Ambient::run(database, &self.group, &envelope.id, handled).await,
                None => handled.await.map(|()| Completion::Handled),
            }
        };
        if completion.instrument(span).await? == Completion::Duplicate {
            tracing::debug!(consumer = self.group, event_id = envelope.id, "known event skipped");
        }
        Ok(())
    }

    /// Publishes a dead letter; that is tried until it succeeds, or the event would be lost.
    async fn bury(
        &self,
        envelope: &Envelope,
        error: &Error,
        attempts: u32,
        stop: &CancellationToken,
    ) -> Outcome {
        let mut failures = 0;
        loop {
            let record = dead_letter::record(envelope, &self.group, error, attempts);
            let Err(error) = self.bus.publish(vec![record]).await else {
                self.consumer.metrics(|metrics| metrics.dead_letter(&self.group));
                return Outcome::Settled;
            };
            failures += 1;
            tracing::warn!(
                consumer = self.group,
                event_id = envelope.id,
                error = dead_letter::describe(&error),
                "cannot publish a dead letter"
            );
            if !self.wait(failures, stop).await {
                return Outcome::Stopped;
            }
        }
    }

    /// Waits before the next attempt; `false` when the process stops meanwhile.
    async fn wait(&self, attempts: u32, stop: &CancellationToken) -> bool {
        tokio::select! {
            () = tokio::time::sleep(self.backoff.wait(attempts)) => true,
            () = stop.cancelled() => false,
        }
    }

    fn log(&self, envelope: &Envelope, error: &Error, attempts: u32, give_up: bool) {
        let reason = dead_letter::describe(error);
        let (consumer, event_id, event_type) = (&self.group, &envelope.id, &envelope.r#type);
        match give_up {
            true => tracing::error!(
                consumer,
                event_id,
                event_type,
                attempts,
                reason,
                "event goes to the dead letters"
            ),
            false => tracing::warn!(
                consumer,
                event_id,
                event_type,
                attempts,
                reason,
                "event could not be handled, trying again"
            ),
        }
    }
}

/// Runs a handler; a panic is an error of this event, not the end of the consumer.
async fn contained(handler: &Handler, envelope: &Envelope) -> Result<()> {
    let handling = AssertUnwindSafe(async { handler(envelope.clone()).await }).catch_unwind();
    let Ok(handled) = tokio::time::timeout(ATTEMPT_TIMEOUT, handling).await else {
        return Err(Error::new(DEADLINE_EXCEEDED, "the handler took too long"));
    };
    handled.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        Err(Error::internal(anyhow::anyhow!("the handler panicked: {text}")))
    })
}

/// An event that will never do: trying again only delays those behind it.
fn is_permanent(error: &Error) -> bool {
    error.code().grpc == Code::InvalidArgument
}

/// Something the handler needs is away. The event is not at fault, so it waits as long as it takes.
fn is_outage(error: &Error) -> bool {
    matches!(error.code().grpc, Code::Unavailable | Code::DeadlineExceeded)
}
