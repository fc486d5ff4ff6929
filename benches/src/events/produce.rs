//! The limit: the same records by nothing but rdkafka, with the properties that the kernel's adapter
//! sets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use mainstay::contract::proto::mainstay::identity::v1::UserCreated;
use mainstay::kernel::events::{Envelope, EventBus as _, cloud_events};
use mainstay::kernel::settings::Compression;
use prost::{Message as _, Name as _};
use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use serde::Serialize;
use uuid::Uuid;

use super::ground::Ground;
use super::sample::{AGGREGATES, TOPIC, event, key};
use crate::report;
use crate::usage::Stopwatch;

/// How long the producer waits for room in its queue.
const FULL: Duration = Duration::from_millis(1);
/// How long the last records may take.
const FLUSH: Duration = Duration::from_secs(30);
/// After so many records it is told how many there were.
const REPORT_EVERY: u64 = 10_000;

/// What came of it.
#[derive(Debug, Serialize)]
pub(super) struct Produced {
    /// Records that the broker has taken.
    events: u64,
    /// Seconds, from the first to the last acknowledgement.
    seconds: f64,
    /// Seconds of CPU time of this process.
    cpu_seconds: f64,
}

/// Publishes so many records.
pub(super) async fn run(ground: &Ground, events: u64) -> anyhow::Result<Produced> {
    // Makes the topic, as the phases after it find it.
    ground.bus()?.publish(vec![record(0)]).await?;
    let delivered = Arc::new(AtomicU64::new(0));
    let producer = producer(ground, Delivered(delivered.clone()))?;
    let topic = format!("{}{TOPIC}", ground.settings().topic_prefix);
    let (seconds, cpu_seconds) =
        tokio::task::spawn_blocking(move || produce(&producer, &topic, events)).await??;
    let events = delivered.load(Ordering::Relaxed);
    Ok(Produced { events, seconds, cpu_seconds })
}

fn produce(
    producer: &ThreadedProducer<Delivered>,
    topic: &str,
    events: u64,
) -> anyhow::Result<(f64, f64)> {
    let watch = Stopwatch::start()?;
    for number in 0..events {
        let envelope = record(number);
        let headers = cloud_events::headers(&envelope);
        let mut owned = OwnedHeaders::new_with_capacity(headers.len());
        for (key, value) in &headers {
            owned = owned.insert(Header { key, value: Some(value) });
        }
        let base = BaseRecord::to(topic).key(&envelope.subject).payload(&envelope.data);
        send(producer, base.headers(owned))?;
        if number % REPORT_EVERY == 0 {
            report::progress(number)?;
        }
    }
    producer.flush(FLUSH).context("the broker does not take the last records")?;
    watch.read()
}

fn send(
    producer: &ThreadedProducer<Delivered>,
    mut record: BaseRecord<'_, String, Vec<u8>>,
) -> anyhow::Result<()> {
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                record = again;
                std::thread::sleep(FULL);
            }
            Err((error, _)) => return Err(error).context("a record is refused"),
        }
    }
}

/// What the relay publishes for the event with this number.
fn record(number: u64) -> Envelope {
    Envelope {
        id: Uuid::now_v7().to_string(),
        source: "/writer".to_owned(),
        r#type: UserCreated::full_name(),
        subject: key(number % AGGREGATES),
        time: Some(std::time::SystemTime::now().into()),
        topic: TOPIC.to_owned(),
        data: event(number).encode_to_vec(),
        ..Envelope::default()
    }
}

fn producer(ground: &Ground, context: Delivered) -> anyhow::Result<ThreadedProducer<Delivered>> {
    let settings = ground.settings().kafka;
    let compression = match settings.compression {
        Compression::None => "none",
        Compression::Lz4 => "lz4",
        Compression::Gzip => "gzip",
    };
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &settings.brokers)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("linger.ms", settings.linger.as_millis().to_string())
        .set("compression.type", compression)
        .set("queue.buffering.max.messages", settings.max_queued.to_string())
        .set("partitioner", "murmur2_random");
    Ok(config.create_with_context(context)?)
}

/// Counts what the broker has taken.
struct Delivered(Arc<AtomicU64>);

impl ClientContext for Delivered {}

impl ProducerContext for Delivered {
    type DeliveryOpaque = ();

    fn delivery(&self, delivery: &DeliveryResult<'_>, (): ()) {
        if delivery.is_ok() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}
