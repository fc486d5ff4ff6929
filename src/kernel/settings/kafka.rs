//! The settings of Apache Kafka.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::ensure;
use serde::{Deserialize, Serialize};

/// How Apache Kafka is used as the event broker.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaSettings {
    /// Where the cluster is: `host:port`, several with commas between. Needed by the kind `kafka`;
    /// no default.
    pub brokers: String,
    /// On how many brokers each partition of a topic that is created lies; 0 leaves it to the
    /// cluster. Default: 0.
    pub replication_factor: u16,
    /// Name of this process among the members of its consumer groups, the same after a restart, such
    /// as that of a pod of a stateful set: who comes back within the session goes on with its
    /// partitions at once. Empty makes a new member of each start. Default: empty.
    pub instance_id: String,
    /// After which silence a member is taken for dead and its partitions go to others. Default: 10 s.
    #[serde(with = "humantime_serde")]
    pub session_timeout: Duration,
    /// The longest that a member may be stuck before it is taken for dead. Default: 5 min.
    #[serde(with = "humantime_serde")]
    pub max_poll_interval: Duration,
    /// How often acknowledged positions are written down. Default: 200 ms.
    #[serde(with = "humantime_serde")]
    pub commit_interval: Duration,
    /// The most records a consumer holds before it stops to fetch more. Default: 1000.
    pub buffer: usize,
    /// How long a record waits for others to travel with. Default: 1 ms.
    #[serde(with = "humantime_serde")]
    pub linger: Duration,
    /// How batches of records are compressed. Default: `lz4`.
    pub compression: Compression,
    /// The most records that wait to be sent. Default: 10000.
    pub max_queued: u32,
    /// How long publishing may take before it is refused and tried again later. Default: 3 s.
    #[serde(with = "humantime_serde")]
    pub delivery_timeout: Duration,
    /// How long any other request to the cluster may take. Default: 10 s.
    #[serde(with = "humantime_serde")]
    pub request_timeout: Duration,
    /// Further properties of librdkafka, such as `"socket.send.buffer.bytes" = "262144"`. What the
    /// guarantees rest on cannot be changed here. Default: none.
    pub client: BTreeMap<String, String>,
}

impl Default for KafkaSettings {
    fn default() -> Self {
        Self {
            brokers: String::new(),
            replication_factor: 0,
            instance_id: String::new(),
            session_timeout: Duration::from_secs(10),
            max_poll_interval: Duration::from_secs(5 * 60),
            commit_interval: Duration::from_millis(200),
            buffer: 1000,
            linger: Duration::from_millis(1),
            compression: Compression::Lz4,
            max_queued: 10_000,
            delivery_timeout: Duration::from_secs(3),
            request_timeout: Duration::from_secs(10),
            client: BTreeMap::new(),
        }
    }
}

/// How batches are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compression {
    /// Not at all.
    None,
    /// Fast, and half the size of protobuf.
    Lz4,
    /// Smaller and slower.
    Gzip,
}

impl KafkaSettings {
    /// Refuses what cannot work; `used` says whether Kafka is the broker.
    pub(super) fn validate(&self, used: bool) -> anyhow::Result<()> {
        ensure!(
            !used || !self.brokers.trim().is_empty(),
            "events.kafka.brokers must name the cluster, such as kafka:9092"
        );
        let not_instant = [
            ("session_timeout", self.session_timeout),
            ("commit_interval", self.commit_interval),
            ("delivery_timeout", self.delivery_timeout),
            ("request_timeout", self.request_timeout),
        ];
        for (name, value) in not_instant {
            ensure!(value > Duration::ZERO, "events.kafka.{name} must be longer than 0 s");
        }
        ensure!(
            self.max_poll_interval >= self.session_timeout,
            "events.kafka.max_poll_interval must not be shorter than session_timeout"
        );
        for (name, value) in [("buffer", self.buffer), ("max_queued", self.max_queued as usize)] {
            ensure!(value > 0, "events.kafka.{name} must be 1 or more");
        }
        Ok(())
    }
}
