//! What all clients of the cluster share: settings, names, and what is known of an outage.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::kernel::error::{Error, Result};
use crate::kernel::settings::{Compression, EventSettings, KafkaSettings};

/// The longest wait before a lost connection is tried again: what bounds recovery.
const RECONNECT_BACKOFF: Duration = Duration::from_secs(2);
/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How soon a topic is noticed that somebody makes after this process has begun to listen to it; a
/// consumer asks the cluster as often. `events.kafka.client` may change it.
const TOPIC_REFRESH: Duration = Duration::from_secs(2);
/// Kilobytes that a consumer fetches ahead.
const FETCH_AHEAD: &str = "16384";
/// Milliseconds after which a fetch that met a full buffer is tried again.
const FETCH_BACKOFF: &str = "20";
/// How often a member of a group says that it lives, within one session.
const HEARTBEATS: u32 = 4;

/// Properties on which the guarantees rest, and those that have a setting of their own.
const GOVERNED: [&str; 16] = [
    "acks",
    "allow.auto.create.topics",
    "auto.offset.reset",
    "bootstrap.servers",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "group.id",
    "group.instance.id",
    "max.poll.interval.ms",
    "message.timeout.ms",
    "metadata.broker.list",
    "partition.assignment.strategy",
    "partitioner",
    "request.required.acks",
    "session.timeout.ms",
];

/// The cluster as this process knows it.
pub(super) struct Client {
    settings: KafkaSettings,
    prefix: String,
    /// How long topics keep records about which nothing is stated.
    retention: Duration,
    outage: Arc<Outage>,
}

impl Client {
    pub(super) fn new(settings: &EventSettings) -> anyhow::Result<Self> {
        let client = Self {
            settings: settings.kafka.clone(),
            prefix: settings.topic_prefix.clone(),
            retention: settings.retention,
            outage: Arc::default(),
        };
        for property in client.settings.client.keys() {
            ensure!(
                !GOVERNED.contains(&property.as_str()),
                "events.kafka.client.\"{property}\" cannot be changed: the guarantees of events rest on it"
            );
        }
        for config in [client.for_producer(), client.for_group("probe"), client.for_reader()] {
            config.create_native_config().context("the settings events.kafka are refused")?;
        }
        Ok(client)
    }

    pub(super) fn settings(&self) -> &KafkaSettings {
        &self.settings
    }

    pub(super) fn retention(&self) -> Duration {
        self.retention
    }

    pub(super) fn outage(&self) -> &Arc<Outage> {
        &self.outage
    }

    /// What clients tell of themselves.
    pub(super) fn watch(&self) -> Watch {
        Watch(self.outage.clone())
    }

    /// The name of a topic or a group on the cluster.
    pub(super) fn outer(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// The name of a topic as the contracts state it.
    pub(super) fn inner<'a>(&self, outer: &'a str) -> &'a str {
        outer.strip_prefix(&*self.prefix).unwrap_or(outer)
    }

    /// A stream of a topic: one of its partitions.
    pub(super) fn stream(&self, outer: &str, partition: i32) -> String {
        format!("{}/{partition}", self.inner(outer))
    }

    /// Notes that the cluster did not answer, and says so.
    pub(super) fn unavailable(&self, error: KafkaError) -> Error {
        self.outage.begun(&error);
        Error::unavailable("the event broker does not answer").because(error)
    }

    /// For those who ask and change the cluster.
    pub(super) fn for_admin(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("topic.metadata.refresh.interval.ms", millis(TOPIC_REFRESH));
        for (property, value) in &self.settings.client {
            config.set(property, value);
        }
        config
            .set_log_level(RDKafkaLogLevel::Warning)
            .set("bootstrap.servers", &self.settings.brokers)
            .set("client.id", "mainstay")
            .set("allow.auto.create.topics", "false")
            .set("enable.metrics.push", "false")
            .set("reconnect.backoff.max.ms", millis(RECONNECT_BACKOFF))
            .set("socket.connection.setup.timeout.ms", millis(CONNECT_TIMEOUT))
            .set("socket.keepalive.enable", "true")
            .set("socket.nagle.disable", "true");
        config
    }

    /// For the producer. Its records never time out one by one, which could let a later record of a
    /// key overtake: [`Producer`](super::producer::Producer) gives up on all of them together.
    pub(super) fn for_producer(&self) -> ClientConfig {
        let compression = match self.settings.compression {
            Compression::None => "none",
            Compression::Lz4 => "lz4",
            Compression::Gzip => "gzip",
        };
        let mut config = self.for_admin();
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("message.timeout.ms", "0")
            .set("linger.ms", millis(self.settings.linger))
            .set("compression.type", compression)
            .set("queue.buffering.max.messages", self.settings.max_queued.to_string())
            // That of the Java clients: equal keys share a partition, whoever publishes.
            .set("partitioner", "murmur2_random");
        config
    }

    /// For a member of a group.
    pub(super) fn for_group(&self, group: &str) -> ClientConfig {
        let settings = &self.settings;
        let mut config = self.for_consumer(&self.outer(group));
        config
            .set("partition.assignment.strategy", "roundrobin")
            .set("session.timeout.ms", millis(settings.session_timeout))
            .set("heartbeat.interval.ms", millis(settings.session_timeout / HEARTBEATS))
            .set("max.poll.interval.ms", millis(settings.max_poll_interval))
            .set("queued.min.messages", settings.buffer.to_string());
        if !settings.instance_id.is_empty() {
            config.set("group.instance.id", &settings.instance_id);
        }
        config
    }

    /// For an operator's view, which joins no group; librdkafka wants a name for one all the same.
    pub(super) fn for_reader(&self) -> ClientConfig {
        let mut config = self.for_consumer(&self.outer("reader"));
        config.set("enable.partition.eof", "true");
        config
    }

    fn for_consumer(&self, group: &str) -> ClientConfig {
        let mut config = self.for_admin();
        config
            .set("group.id", group)
            .set("auto.offset.reset", "earliest")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("fetch.queue.backoff.ms", FETCH_BACKOFF)
            .set("queued.max.messages.kbytes", FETCH_AHEAD);
        config
    }
}

/// Runs what blocks off the runtime's own threads.
pub(super) async fn blocking<T, F>(ask: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    tokio::task::spawn_blocking(ask).await.map_err(Error::internal)?
}

/// A duration as librdkafka takes it.
pub(super) fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}

/// Whether the cluster is away, so that it is told once.
#[derive(Default)]
pub(super) struct Outage(AtomicBool);

impl Outage {
    pub(super) fn begun(&self, error: &KafkaError) {
        if !self.0.swap(true, Ordering::Relaxed) {
            tracing::warn!(%error, "the event broker does not answer, trying again");
        }
    }

    pub(super) fn ended(&self) {
        if self.0.swap(false, Ordering::Relaxed) {
            tracing::info!("the event broker answers again");
        }
    }
}

/// Brings what librdkafka tells into the log.
#[derive(Clone)]
pub(super) struct Watch(pub(super) Arc<Outage>);

impl ClientContext for Watch {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // Lost connections come as errors, many times over: the outage is told once, by `error`.
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(facility, "librdkafka: {message}");
            }
            _ => tracing::debug!(facility, "librdkafka: {message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.0.begun(&error);
        }
        tracing::debug!(%error, reason, "librdkafka");
    }
}

impl ConsumerContext for Watch {}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(property: &str, value: &str) -> EventSettings {
        let kafka = KafkaSettings {
            brokers: "kafka:9092".into(),
            client: [(property.to_owned(), value.to_owned())].into(),
            ..KafkaSettings::default()
        };
        EventSettings { topic_prefix: "staging.".into(), kafka, ..EventSettings::default() }
    }

    #[test]
    fn names_carry_the_prefix_on_the_cluster_alone() {
        let client = Client::new(&settings("socket.send.buffer.bytes", "262144")).unwrap();
        assert_eq!(client.outer("identity.users"), "staging.identity.users");
        assert_eq!(client.inner("staging.identity.users"), "identity.users");
        assert_eq!(client.stream("staging.identity.users", 3), "identity.users/3");
    }

    #[test]
    fn properties_that_cannot_work_refuse_the_start() {
        let cases = [
            ("acks", "1", "the guarantees of events rest on it"),
            ("no.such.property", "1", "events.kafka are refused"),
            // librdkafka is built without TLS.
            ("security.protocol", "ssl", "events.kafka are refused"),
        ];
        for (property, value, expected) in cases {
            let error = Client::new(&settings(property, value)).err().unwrap();
            assert!(format!("{error:#}").contains(expected), "{property}: {error:#}");
        }
    }
}
