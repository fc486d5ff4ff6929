//! A bus whose topics are there before they are used, and whose publishing is traced.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tracing::Span;

use super::bus::{Cursor, EventBus, Page, ReadFrom, Subscription};
use crate::kernel::error::Result;
use crate::kernel::policy::TopicSpec;
use crate::kernel::proto::events::Envelope;
use crate::kernel::telemetry::propagation::{continue_trace, extract_envelope};

/// Prepares each declared topic when this process first publishes on it or listens to it. A broker
/// that is away then is no failure of the process: the relay and the consumers repeat what failed,
/// and with it the preparation.
pub struct PreparedBus {
    bus: Arc<dyn EventBus>,
    declared: OnceLock<BTreeMap<String, TopicSpec>>,
    prepared: Mutex<HashSet<String>>,
}

impl PreparedBus {
    /// A bus on which no topics are declared yet.
    pub fn new(bus: Arc<dyn EventBus>) -> Self {
        Self { bus, declared: OnceLock::new(), prepared: Mutex::default() }
    }

    /// States the topics; what was stated first holds.
    pub fn declare(&self, topics: Vec<TopicSpec>) {
        let by_name = topics.into_iter().map(|topic| (topic.name.clone(), topic));
        self.declared.get_or_init(|| by_name.collect());
    }

    async fn ready(&self, topics: impl Iterator<Item = &str> + Send) -> Result<()> {
        let unprepared = self.unprepared(topics);
        if unprepared.is_empty() {
            return Ok(());
        }
        self.bus.prepare(&unprepared).await?;
        let names = unprepared.into_iter().map(|topic| topic.name);
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner).extend(names);
        Ok(())
    }

    fn unprepared<'a>(&self, topics: impl Iterator<Item = &'a str>) -> Vec<TopicSpec> {
        let Some(declared) = self.declared.get() else { return Vec::new() };
        let prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        let mut unprepared: BTreeMap<&str, &TopicSpec> = BTreeMap::new();
        for topic in topics.filter(|topic| !prepared.contains(*topic)) {
            if let Some(spec) = declared.get(topic) {
                unprepared.insert(topic, spec);
            }
        }
        unprepared.into_values().cloned().collect()
    }
}

/// The publishing of a record, in the trace of its writer; none where nothing was traced.
fn span(record: &Envelope) -> Option<Span> {
    if record.traceparent.is_empty() {
        return None;
    }
    let span = tracing::info_span!(
        "publish event",
        otel.kind = "producer",
        otel.status_code = tracing::field::Empty,
        topic = record.topic,
        event_id = record.id,
        event_type = record.r#type,
    );
    continue_trace(&span, extract_envelope(&record.traceparent, &record.tracestate));
    Some(span)
}

#[async_trait::async_trait]
impl EventBus for PreparedBus {
    async fn prepare(&self, topics: &[TopicSpec]) -> Result<()> {
        self.bus.prepare(topics).await
    }

    async fn publish(&self, records: Vec<Envelope>) -> Result<()> {
        self.ready(records.iter().map(|record| record.topic.as_str())).await?;
        let spans: Vec<_> = records.iter().filter_map(span).collect();
        let published = self.bus.publish(records).await;
        if published.is_err() {
            for span in &spans {
                span.record("otel.status_code", "ERROR");
            }
        }
        published
    }

    async fn subscribe(&self, group: &str, topics: &[String]) -> Result<Box<dyn Subscription>> {
        self.ready(topics.iter().map(String::as_str)).await?;
        self.bus.subscribe(group, topics).await
    }

    async fn read(&self, topic: &str, from: ReadFrom, limit: usize) -> Result<Page> {
        self.bus.read(topic, from, limit).await
    }

    async fn end(&self, topic: &str) -> Result<Cursor> {
        self.bus.end(topic).await
    }
}
