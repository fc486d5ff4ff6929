//! Redis Streams as the broker, for installations with no Kafka.
//!
//! A topic is one stream, a group a consumer group of it. One subscription of a group consumes at a
//! time: a lease says which, and every read and every acknowledgement proves it within one script,
//! so that a member that has lost its lease takes nothing from its successor. The successor claims
//! what the one before it did not acknowledge, then reads on: the order within a subject holds.
//!
//! Records are kept for the retention of their topic, whether or not every group has read them. A
//! record is durable as far as Redis is: with `appendonly yes` and `appendfsync always` once
//! `publish` returns, with `everysec` but for the last second before a crash of the machine. The
//! start warns of what cannot keep events.

mod durability;
mod id;
mod lease;
mod member;
mod reading;
mod subscription;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ::redis::{Script, pipe};
use prost::Message as _;
use tokio::sync::OnceCell;

use super::bus::{Cursor, EventBus, Page, ReadFrom, Subscription};
use super::{Envelope, now_micros};
use crate::kernel::error::Result;
use crate::kernel::policy::TopicSpec;
use crate::kernel::redis::Redis;
use crate::kernel::settings::{EventSettings, RedisSettings};
use crate::kernel::telemetry::Metrics;
use subscription::StreamSubscription;

/// How long Redis may take to append a batch, or to hand one out.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many records are appended at once, all or none of them.
const BATCH: usize = 500;

/// The field of an entry that holds the envelope.
const FIELD: &str = "envelope";

/// The broker. Clones share its connection.
#[derive(Clone)]
pub struct StreamsBus(Arc<Broker>);

/// What the subscriptions of a process share.
struct Broker {
    redis: RedisSettings,
    retention: Duration,
    topics: RwLock<HashMap<String, TopicSpec>>,
    connected: OnceCell<Redis>,
}

impl StreamsBus {
    /// The broker in the Redis that the settings name. It connects when it is first used.
    pub fn open(settings: &EventSettings, redis: &RedisSettings) -> anyhow::Result<Self> {
        anyhow::ensure!(
            redis.is_set(),
            "events.kind is redis-streams and redis.url is not set: set it"
        );
        Ok(Self(Arc::new(Broker {
            redis: redis.clone(),
            retention: settings.retention,
            topics: RwLock::default(),
            connected: OnceCell::new(),
        })))
    }
}

#[async_trait::async_trait]
impl EventBus for StreamsBus {
    async fn prepare(&self, topics: &[TopicSpec]) -> Result<()> {
        let redis = self.0.redis().await?;
        durability::warn(&redis).await?;
        let mut known = self.0.topics.write().unwrap_or_else(PoisonError::into_inner);
        known.extend(topics.iter().map(|topic| (topic.name.clone(), topic.clone())));
        Ok(())
    }

    async fn publish(&self, records: Vec<Envelope>) -> Result<()> {
        let redis = self.0.redis().await?;
        for batch in records.chunks(BATCH) {
            let mut append = pipe();
            append.atomic();
            for record in batch {
                self.0.append(&redis, &mut append, record);
            }
            redis.pipeline_within::<()>(PATIENCE, &append).await?;
        }
        Ok(())
    }

    async fn subscribe(&self, group: &str, topics: &[String]) -> Result<Box<dyn Subscription>> {
        let redis = self.0.redis().await?;
        let script = Script::new(include_str!("streams/group.lua"));
        for topic in topics {
            let key = stream(&redis, topic);
            redis.invoke_within::<()>(PATIENCE, script.key(key).arg(group)).await?;
        }
        Ok(Box::new(StreamSubscription::new(redis, group, topics)))
    }

    async fn read(&self, topic: &str, from: ReadFrom, limit: usize) -> Result<Page> {
        reading::page(&self.0.redis().await?, topic, from, limit).await
    }

    async fn end(&self, topic: &str) -> Result<Cursor> {
        reading::end(&self.0.redis().await?, topic).await
    }
}

impl Broker {
    /// A connection of the broker's own: batches of events must not hold back short questions.
    async fn redis(&self) -> Result<Redis> {
        let open = async || {
            // What the process's other connection tells of Redis is told once.
            let metrics = Metrics::new("redis-streams", env!("CARGO_PKG_VERSION"));
            let redis =
                Redis::open(&self.redis, metrics).map_err(crate::kernel::Error::internal)?;
            redis.ok_or_else(|| crate::kernel::Error::unavailable("there is no redis"))
        };
        let redis = self.connected.get_or_try_init(open).await?;
        redis.settled().await;
        Ok(redis.clone())
    }

    /// Adds what appends a record, and what removes those that have been there for long enough.
    fn append(&self, redis: &Redis, batch: &mut ::redis::Pipeline, record: &Envelope) {
        let (topic, envelope) = (&record.topic, record.encode_to_vec());
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        let spec = topics.get(topic);
        let key = stream(redis, topic);
        let command = batch.cmd("XADD").arg(key);
        // The last record of each key of a compacted topic is kept for ever; here, all are.
        if !spec.is_some_and(|spec| spec.compacted) {
            let retention = spec.and_then(|spec| spec.retention).unwrap_or(self.retention);
            let now = u64::try_from(now_micros() / 1000).unwrap_or_default();
            let oldest =
                now.saturating_sub(u64::try_from(retention.as_millis()).unwrap_or(u64::MAX));
            command.arg("MINID").arg("~").arg(oldest);
        }
        command.arg("*").arg(FIELD).arg(envelope).ignore();
    }
}

/// The key of a topic's stream.
fn stream(redis: &Redis, topic: &str) -> String {
    redis.key(format_args!("events:{topic}"))
}
