//! The task that reads for a subscription while the group's lease is held.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::redis::streams::{StreamAutoClaimReply, StreamInfoGroupsReply, StreamReadReply};
use ::redis::{FromRedisValue, Script, ScriptInvocation, Value, cmd};
use tokio::sync::mpsc;

use super::lease::Lease;
use super::{PATIENCE, id, stream};
use crate::kernel::error::{Error, Result};
use crate::kernel::events::bus::Delivery;
use crate::kernel::redis::{Redis, Waiter};

/// Entries taken from a stream at once.
const BATCH: usize = 128;

/// How long to wait for new entries before looking whether everything is as it was.
const WAIT: Duration = Duration::from_secs(1);

/// A member of a group.
pub(super) struct Member {
    pub(super) lease: Lease,
    pub(super) topics: Vec<String>,
    /// The number of the membership under which entries are handed out.
    pub(super) epoch: Arc<AtomicU64>,
    pub(super) deliveries: mpsc::Sender<Result<Delivery>>,
}

impl Member {
    /// Hands records on, until Redis is away or nobody listens any more.
    pub(super) async fn run(self) {
        if let Err(error) = self.consume().await {
            // Without a listener there is nobody to be told.
            let _ = self.deliveries.send(Err(error)).await;
        }
    }

    async fn consume(&self) -> Result<()> {
        loop {
            let held = self.lease.hold().await?;
            self.epoch.fetch_add(1, Ordering::SeqCst);
            tokio::select! {
                ended = self.hand_out() => ended?,
                () = held.lost.cancelled() => {}
            }
        }
    }

    /// What was not acknowledged before, then what is new; returns when the lease is lost.
    async fn hand_out(&self) -> Result<()> {
        for topic in &self.topics {
            if !self.claim(topic).await? {
                return Ok(());
            }
        }
        let redis = &self.lease.redis;
        let mut seen = Seen::of(redis, &self.lease.group, &self.topics).await?;
        let mut waiter = redis.waiter().await?;
        loop {
            let Some(read) = self.read().await? else { return Ok(()) };
            if read.keys.is_empty() {
                seen.wait_for_more(&mut waiter).await?;
            }
            for stream in read.keys {
                let Some(topic) = seen.topic(&stream.key) else { continue };
                for entry in &stream.ids {
                    self.send(&topic, entry).await?;
                    seen.last.insert(stream.key.clone(), entry.id.clone());
                }
            }
        }
    }

    /// Takes over what members before this one were handed; `false` when the lease is lost.
    async fn claim(&self, topic: &str) -> Result<bool> {
        let (script, key) = (Script::new(include_str!("claim.lua")), self.stream(topic));
        let mut from = "0-0".to_owned();
        loop {
            let mut claim = script.key(&self.lease.key);
            claim.key(&key).arg(&self.lease.member).arg(&self.lease.group).arg(&from).arg(BATCH);
            let claimed: Option<StreamAutoClaimReply> = self.held(&claim).await?;
            let Some(claimed) = claimed else { return Ok(false) };
            for entry in &claimed.claimed {
                self.send(topic, entry).await?;
            }
            from = claimed.next_stream_id;
            if from == "0-0" {
                break;
            }
        }
        let script = Script::new(include_str!("tidy.lua"));
        let mut tidy = script.key(&self.lease.key);
        tidy.key(&key).arg(&self.lease.member).arg(&self.lease.group);
        self.lease.redis.invoke_within(PATIENCE, &tidy).await
    }

    /// New entries; none when the lease is lost.
    async fn read(&self) -> Result<Option<StreamReadReply>> {
        let script = Script::new(include_str!("read.lua"));
        let mut read = script.key(&self.lease.key);
        for topic in &self.topics {
            read.key(self.stream(topic));
        }
        read.arg(&self.lease.member).arg(&self.lease.group).arg(BATCH);
        self.held(&read).await
    }

    /// The answer to a script that proves the lease; none when it is lost.
    async fn held<T: FromRedisValue + Default>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<Option<T>> {
        let mut answer: Vec<Value> = self.lease.redis.invoke_within(PATIENCE, script).await?;
        match answer.pop() {
            Some(Value::Int(0)) | None => Ok(None),
            Some(Value::Nil) => Ok(Some(T::default())),
            Some(value) => T::from_redis_value(value).map(Some).map_err(Error::internal),
        }
    }

    async fn send(&self, topic: &str, entry: &::redis::streams::StreamId) -> Result<()> {
        let delivery = id::delivery(topic, entry, self.epoch.load(Ordering::SeqCst));
        let sent = self.deliveries.send(Ok(delivery)).await;
        sent.map_err(|_| Error::unavailable("nobody listens any more"))
    }

    fn stream(&self, topic: &str) -> String {
        stream(&self.lease.redis, topic)
    }
}

/// How far the group has been handed entries, by stream.
struct Seen {
    topics: BTreeMap<String, String>,
    last: BTreeMap<String, String>,
}

impl Seen {
    async fn of(redis: &Redis, group: &str, topics: &[String]) -> Result<Self> {
        let mut seen = Self { topics: BTreeMap::new(), last: BTreeMap::new() };
        for topic in topics {
            let key = stream(redis, topic);
            let mut command = cmd("XINFO");
            command.arg("GROUPS").arg(&key);
            let groups: StreamInfoGroupsReply = redis.query_within(PATIENCE, &command).await?;
            let known = groups.groups.into_iter().find(|known| known.name == group);
            let last = known.map_or_else(|| "0-0".to_owned(), |known| known.last_delivered_id);
            seen.last.insert(key.clone(), last);
            seen.topics.insert(key, topic.clone());
        }
        Ok(seen)
    }

    fn topic(&self, key: &str) -> Option<String> {
        self.topics.get(key).cloned()
    }

    /// Waits for entries behind the last ones, and takes none of them.
    async fn wait_for_more(&self, waiter: &mut Waiter) -> Result<()> {
        let mut command = cmd("XREAD");
        command.arg("COUNT").arg(1).arg("BLOCK").arg(WAIT.as_millis() as u64).arg("STREAMS");
        command.arg(self.last.keys().collect::<Vec<_>>());
        command.arg(self.last.values().collect::<Vec<_>>());
        waiter.query(WAIT + PATIENCE, &command).await
    }
}
