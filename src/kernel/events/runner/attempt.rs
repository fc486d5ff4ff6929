//! One attempt to handle an event.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::{Semaphore, SemaphorePermit};
use tracing::Instrument as _;

use crate::kernel::database::{Ambient, Completion, Database, Gate};
use crate::kernel::error::{DEADLINE_EXCEEDED, Error, Result};
use crate::kernel::events::consumer::{Consumer, Handler};
use crate::kernel::events::origin;
use crate::kernel::failpoint::Failpoint;
use crate::kernel::proto::events::Envelope;
use crate::kernel::telemetry::propagation::{continue_trace, extract_envelope};

/// The most handlers of a consumer that run at once.
const CONCURRENCY: u32 = 16;

/// The longest one attempt may take: a handler that hangs would hold back its aggregate, and with an
/// open transaction every writer of the service.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(60);

/// Makes attempts: the handler in the transaction of its inbox row, in the trace and the call in
/// which the event was caused.
pub(super) struct Attempts {
    consumer: Consumer,
    group: String,
    service: String,
    database: Option<Database>,
    slots: Semaphore,
}

impl Attempts {
    pub(super) fn new(
        consumer: Consumer,
        group: &str,
        service: &str,
        database: Option<Database>,
    ) -> Self {
        Self {
            consumer,
            group: group.to_owned(),
            service: service.to_owned(),
            database,
            slots: Semaphore::new(CONCURRENCY as usize),
        }
    }

    pub(super) fn consumer(&self) -> &Consumer {
        &self.consumer
    }

    /// Waits for a turn, which lasts as long as what is returned. One that is `alone` begins when no
    /// other handler of the consumer runs: if it ends the process, there is no doubt which event it
    /// was.
    pub(super) async fn turn(&self, alone: bool) -> Result<SemaphorePermit<'_>> {
        let slots = if alone { CONCURRENCY } else { 1 };
        self.slots.acquire_many(slots).await.map_err(Error::internal)
    }

    /// Makes an attempt, in its turn.
    pub(super) async fn make(&self, envelope: &Envelope) -> Result<()> {
        let Some(handler) = self.consumer.handler(envelope) else { return Ok(()) };
        let span = tracing::info_span!(
            "handle event",
            otel.kind = "consumer",
            consumer = self.group,
            event_id = envelope.id,
            event_type = envelope.r#type,
            request_id = envelope.request_id,
        );
        let parent = extract_envelope(&envelope.traceparent, &envelope.tracestate);
        continue_trace(&span, parent);
        let handled = origin::scope(&self.service, envelope, contained(handler, envelope));
        let completion = async {
            match &self.database {
                Some(database) => {
                    let gate = Gate::event(&self.group, &envelope.id);
                    Ambient::run(database, gate, handled).await
                }
                None => handled.await.map(|()| Completion::Handled),
            }
        };
        match completion.instrument(span).await? {
            Completion::Handled => Failpoint::AfterEffect.pass(),
            Completion::Duplicate => {
                let (consumer, event_id) = (&self.group, &envelope.id);
                tracing::debug!(consumer, event_id, "known event skipped");
            }
        }
        Ok(())
    }
}

/// Runs a handler; a panic is an error of this event, not the end of the consumer.
async fn contained(handler: &Handler, envelope: &Envelope) -> Result<()> {
    let handling = AssertUnwindSafe(async { handler(envelope.clone()).await }).catch_unwind();
    let Ok(handled) = tokio::time::timeout(ATTEMPT_TIMEOUT, handling).await else {
        return Err(Error::new(DEADLINE_EXCEEDED, "the handler took too long"));
    };
    handled.unwrap_or_else(|panic| {
        let text = panic_text(&*panic);
        Err(Error::panicked(anyhow::anyhow!("the handler panicked: {text}")))
    })
}

/// What a panic says.
pub(super) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}
