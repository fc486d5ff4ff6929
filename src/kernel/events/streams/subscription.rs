//! A group's view on its topics in Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ::redis::streams::StreamInfoGroupsReply;
use ::redis::{Script, cmd};
use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::lease::Lease;
use super::member::Member;
use super::{PATIENCE, id, stream};
use crate::kernel::error::{Error, Result};
use crate::kernel::events::bus::{Delivery, Position, Subscription};
use crate::kernel::redis::Redis;

/// How many records may wait to be asked for.
const BUFFER: usize = 256;

pub(super) struct StreamSubscription {
    lease: Lease,
    topics: Vec<String>,
    epoch: Arc<AtomicU64>,
    deliveries: mpsc::Receiver<Result<Delivery>>,
    member: Option<AbortOnDropHandle<()>>,
}

impl StreamSubscription {
    pub(super) fn new(redis: Redis, group: &str, topics: &[String]) -> Self {
        let (sender, deliveries) = mpsc::channel(BUFFER);
        let (lease, epoch) = (Lease::new(redis, group), Arc::new(AtomicU64::new(0)));
        let member = Member {
            lease: lease.clone(),
            topics: topics.to_vec(),
            epoch: Arc::clone(&epoch),
            deliveries: sender,
        };
        let member = Some(AbortOnDropHandle::new(tokio::spawn(member.run())));
        Self { lease, topics: topics.to_vec(), epoch, deliveries, member }
    }

    fn is_current(&self, delivery: &Delivery) -> bool {
        delivery.position.epoch == self.epoch.load(Ordering::SeqCst)
    }
}

#[async_trait::async_trait]
impl Subscription for StreamSubscription {
    async fn next(&mut self) -> Result<Delivery> {
        loop {
            match self.deliveries.recv().await {
                // What an earlier membership was handed is handed out again by the present one.
                Some(Ok(delivery)) if !self.is_current(&delivery) => {}
                Some(delivery) => return delivery,
                None => return Err(Error::unavailable("the subscription has ended")),
            }
        }
    }

    async fn acknowledge(&mut self, delivery: Delivery) -> Result<()> {
        if !self.is_current(&delivery) {
            return Ok(());
        }
        let Position { stream: topic, offset, .. } = delivery.position;
        let script = Script::new(include_str!("acknowledge.lua"));
        let mut acknowledge = script.key(&self.lease.key);
        acknowledge.key(stream(&self.lease.redis, &topic));
        acknowledge.arg(&self.lease.member).arg(&self.lease.group).arg(id::id(offset));
        // One that comes after the lease was lost changes nothing: the record is delivered again.
        self.lease.redis.invoke_within::<()>(PATIENCE, &acknowledge).await
    }

    fn lag(&self) -> BoxFuture<'static, Result<i64>> {
        let (lease, topics) = (self.lease.clone(), self.topics.clone());
        Box::pin(async move {
            let mut lag = 0;
            for topic in &topics {
                lag += lag_of(&lease.redis, &lease.group, topic).await?;
            }
            Ok(lag)
        })
    }

    async fn close(&mut self) -> Result<()> {
        match self.member.take() {
            Some(member) => {
                member.abort();
                self.lease.release().await
            }
            None => Ok(()),
        }
    }
}

impl Drop for StreamSubscription {
    fn drop(&mut self) {
        // Left without close, as by an aborted task: the lease would otherwise have to lapse.
        let (Some(member), Ok(runtime)) =
            (self.member.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        let lease = self.lease.clone();
        runtime.spawn(async move {
            drop(member);
            if let Err(error) = lease.release().await {
                let group = lease.group;
                tracing::debug!(group, error = error.with_causes(), "a group's lease has to lapse");
            }
        });
    }
}

/// What was not handed out yet, and what was and is not acknowledged.
async fn lag_of(redis: &Redis, group: &str, topic: &str) -> Result<i64> {
    let key = stream(redis, topic);
    let mut command = cmd("XINFO");
    command.arg("GROUPS").arg(&key);
    let groups: StreamInfoGroupsReply = redis.query_within(PATIENCE, &command).await?;
    let known = groups.groups.into_iter().find(|known| known.name == group);
    let waiting = match &known {
        Some(group) if group.lag.is_some() => group.lag,
        // Redis does not know it of a group that is older than what was trimmed: at most all.
        _ => Some(redis.query_within(PATIENCE, cmd("XLEN").arg(&key)).await?),
    };
    let count = waiting.unwrap_or_default() + known.map_or(0, |group| group.pending);
    Ok(i64::try_from(count).unwrap_or(i64::MAX))
}
