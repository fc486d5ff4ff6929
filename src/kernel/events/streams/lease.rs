//! Who consumes for a group: one member at a time.

use std::time::{Duration, Instant};

use ::redis::Script;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::PATIENCE;
use crate::kernel::error::Result;
use crate::kernel::redis::Redis;

/// For how long a group belongs to a member that has stopped saying so.
pub(super) const LEASE: Duration = Duration::from_secs(4);

/// How often to ask for a lease that another member holds.
const RETRY: Duration = Duration::from_millis(200);

/// A group's lease, to be taken, kept and given up by one member.
#[derive(Clone)]
pub(super) struct Lease {
    pub(super) redis: Redis,
    pub(super) group: String,
    /// Who the member is.
    pub(super) member: String,
    pub(super) key: String,
}

/// A lease that is held, and renewed in the background until it is dropped.
pub(super) struct Held {
    pub(super) lost: CancellationToken,
    _renewal: AbortOnDropHandle<()>,
}

impl Lease {
    pub(super) fn new(redis: Redis, group: &str) -> Self {
        let key = redis.key(format_args!("events-lease:{group}"));
        let member = uuid::Uuid::now_v7().to_string();
        Self { redis, group: group.to_owned(), member, key }
    }

    /// Waits until the lease is ours.
    pub(super) async fn hold(&self) -> Result<Held> {
        while !self.take().await? {
            tokio::time::sleep(RETRY).await;
        }
        let lost = CancellationToken::new();
        let renewal = self.clone().renew(lost.clone());
        Ok(Held { lost, _renewal: AbortOnDropHandle::new(tokio::spawn(renewal)) })
    }

    /// Gives the lease up, so that another member takes over at once.
    pub(super) async fn release(&self) -> Result<()> {
        let script = Script::new(include_str!("release.lua"));
        self.redis.invoke_within(PATIENCE, script.key(&self.key).arg(&self.member)).await
    }

    async fn take(&self) -> Result<bool> {
        let script = Script::new(include_str!("take.lua"));
        let mut take = script.key(&self.key);
        take.arg(&self.member).arg(LEASE.as_millis() as u64);
        self.redis.invoke_within(PATIENCE, &take).await
    }

    async fn renew(self, lost: CancellationToken) {
        let mut renewed = Instant::now();
        loop {
            tokio::time::sleep(LEASE / 4).await;
            match self.take().await {
                Ok(true) => renewed = Instant::now(),
                // Ours until it lapses: every read and acknowledgement asks again.
                Err(_) if renewed.elapsed() < LEASE => {}
                Ok(false) | Err(_) => {
                    tracing::warn!(group = self.group, "the group's lease is lost");
                    return lost.cancel();
                }
            }
        }
    }
}
