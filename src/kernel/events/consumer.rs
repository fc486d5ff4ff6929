//! A consumer: which events a service listens to, and what it does about them.

mod status;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use futures::future::BoxFuture;
use prost_reflect::DescriptorPool;

use super::bus::EventBus;
use super::{Event, runner};
use crate::kernel::database::Database;
use crate::kernel::error::{Error, INVALID_ARGUMENT, Result};
use crate::kernel::jobs::Worker;
use crate::kernel::policy::EventCatalog;
use crate::kernel::proto::events::Envelope;
use crate::kernel::settings::EventSettings;
use crate::kernel::telemetry::Metrics;
use status::Interest;
pub use status::{ConsumerState, ConsumerStatus, Consumers};

/// What handles an event.
pub(super) type Handler = Arc<dyn Fn(Envelope) -> BoxFuture<'static, Result<()>> + Send + Sync>;

/// An event with its payload decoded.
#[derive(Clone, Debug)]
pub struct Received<E> {
    /// Its attributes.
    pub envelope: Envelope,
    /// What happened.
    pub payload: E,
}

/// A consumer group of a service, named `<service>.<name>`.
///
/// A handler runs inside the transaction of its inbox row: `Database::begin` joins it, and what it
/// writes is there exactly once, however often the event is delivered. It runs inside the call in
/// which the event was caused. Effects outside the database, such as calls to other services, may
/// repeat and must be idempotent; make them before the first `begin`, so that no other writer waits
/// for them.
///
/// An error rolls back. What then becomes of the event, its code says; events about other aggregates
/// go on meanwhile.
///
/// | code of the error | the event |
/// |---|---|
/// | UNAVAILABLE, DEADLINE_EXCEEDED, ABORTED | is not at fault: tried again for as long as it takes |
/// | INVALID_ARGUMENT, FAILED_PRECONDITION, OUT_OF_RANGE, UNIMPLEMENTED, DATA_LOSS, a payload that cannot be decoded | will never do: a dead letter at once |
/// | any other, a panic, the end of the process | is tried `events.max_attempts` times, then a dead letter |
///
/// Attempts that count are counted in the database, so that an event that takes its process with it
/// ends among the dead letters too. An event of a type for which there is no handler is none of the
/// consumer's business and is passed over: publishers may add types before consumers know them.
///
/// After a dead letter the later events of its aggregate go on, unless the consumer is told to
/// [park the aggregate](Self::park_aggregate).
pub struct Consumer {
    name: &'static str,
    by_type: HashMap<String, Handler>,
    by_topic: HashMap<String, Handler>,
    parks_aggregate: bool,
    metrics: Option<Metrics>,
    consumers: Consumers,
}

/// What a consumer needs in order to start.
pub struct Start<'a> {
    /// Name of the service.
    pub service: &'a str,
    /// Its database; without one there is no inbox, and handlers must be idempotent by themselves.
    pub database: Option<Database>,
    /// Where the events come from.
    pub bus: Arc<dyn EventBus>,
    /// The contracts that declare the events.
    pub pool: &'a DescriptorPool,
    /// Attempts, back-off and retention.
    pub settings: &'a EventSettings,
}

impl Consumer {
    /// A consumer that listens to nothing yet.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            by_type: HashMap::new(),
            by_topic: HashMap::new(),
            parks_aggregate: false,
            metrics: None,
            consumers: Consumers::default(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Handles every event of one type.
    pub fn on<E, F, Fut>(mut self, handle: F) -> Self
    where
        E: Event,
        F: Fn(Received<E>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        let handler: Handler =
            Arc::new(move |envelope: Envelope| match E::decode(&*envelope.data) {
                Ok(payload) => Box::pin(handle(Received { envelope, payload })),
                Err(error) => {
                    let error = Error::new(INVALID_ARGUMENT, "the payload cannot be decoded")
                        .because(error);
                    Box::pin(std::future::ready(Err(error)))
                }
            });
        self.by_type.insert(E::full_name(), handler);
        self
    }

    /// Handles every event of some topics, except those of a type that [`on`](Self::on) handles.
    pub fn on_all<F, Fut>(mut self, topics: impl IntoIterator<Item = String>, handle: F) -> Self
    where
        F: Fn(Envelope) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |envelope| Box::pin(handle(envelope)));
        self.by_topic.extend(topics.into_iter().map(|topic| (topic, handler.clone())));
        self
    }

    /// Events of an aggregate of which a letter is parked are parked behind it, in order, instead of
    /// being handled: for consumers whose effect makes no sense without the one before. Replayed
    /// together, they are handled in order.
    pub fn park_aggregate(mut self) -> Self {
        self.parks_aggregate = true;
        self
    }

    /// Appears in the list of the process's consumers.
    pub fn listed_in(mut self, consumers: Consumers) -> Self {
        self.consumers = consumers;
        self
    }

    /// Counts dead letters and reports how far behind it is.
    pub fn report_to(mut self, metrics: Metrics) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// Starts it. Stopping it finishes the events under way. Fails if it listens to a type that no
    /// contract declares as an event.
    pub fn start(self, start: Start<'_>) -> anyhow::Result<Worker> {
        let catalog = EventCatalog::compile(start.pool)?;
        let topics = self.topics(&catalog)?;
        let group = format!("{}.{}", start.service, self.name);
        let interest = Interest {
            types: self.by_type.keys().cloned().collect(),
            whole_topics: self.by_topic.keys().cloned().collect(),
        };
        let status = ConsumerStatus::new(&group, &topics, interest);
        self.consumers.add(Arc::clone(&status));
        let runner = runner::Runner::new(self, status, start)?;
        Ok(Worker::spawn(group, |stop| runner.run(stop)))
    }

    /// What handles an event; `None` if the consumer takes no interest in its type.
    pub(super) fn handler(&self, envelope: &Envelope) -> Option<&Handler> {
        self.by_type.get(&envelope.r#type).or_else(|| self.by_topic.get(&envelope.topic))
    }

    /// Whether an aggregate waits behind its dead letters.
    pub(super) fn parks_aggregate(&self) -> bool {
        self.parks_aggregate
    }

    /// Reports to the metrics, if there are any.
    pub(super) fn metrics(&self, report: impl FnOnce(&Metrics)) {
        if let Some(metrics) = &self.metrics {
            report(metrics);
        }
    }

    fn topics(&self, catalog: &EventCatalog) -> anyhow::Result<Vec<String>> {
        let mut topics: BTreeSet<String> = self.by_topic.keys().cloned().collect();
        for full_name in self.by_type.keys() {
            let declared = catalog.event(full_name).ok_or_else(|| {
                anyhow::anyhow!(
                    "consumer {} listens to {full_name}, which no contract declares as an event",
                    self.name
                )
            })?;
            topics.insert(declared.topic.clone());
        }
        anyhow::ensure!(
            !topics.is_empty(),
            "consumer {} listens to nothing; give it a handler",
            self.name
        );
        Ok(topics.into_iter().collect())
    }
}
