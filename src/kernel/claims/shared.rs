//! Claims in the memory that all processes share.

use std::time::{Duration, Instant};

use ::redis::{Script, cmd};
use async_trait::async_trait;

use super::Claims;
use crate::kernel::error::Result;
use crate::kernel::redis::Redis;

/// For how long a claim is taken back of which nobody knows whether it was made: the command may be
/// carried out when a server that stood still goes on, and after commands that were sent later.
const TAKING_BACK: Duration = Duration::from_secs(2 * 60);

/// The first wait between two attempts, and the longest.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Claims in Redis, which lasts as long as Redis keeps its keys: one that evicts keys before their time,
/// or comes back from a crash without them, forgets claims.
#[derive(Clone, Debug)]
pub struct SharedClaims {
    redis: Redis,
    purpose: &'static str,
    removal: Script,
}

impl SharedClaims {
    /// Claims in this Redis, under keys that begin with `purpose`, such as `idempotency`.
    pub fn new(redis: Redis, purpose: &'static str) -> Self {
        Self { redis, purpose, removal: Script::new(include_str!("remove.lua")) }
    }

    fn key(&self, key: &str) -> String {
        self.redis.key(format_args!("{}:{key}", self.purpose))
    }

    /// Whether this very value was there.
    async fn remove(&self, key: &str, value: &[u8]) -> Result<bool> {
        self.redis.invoke(self.removal.key(self.key(key)).arg(value)).await
    }

    /// Removes a claim that may have been made, or may be made yet.
    async fn take_back(self, key: String, value: Vec<u8>) {
        let (begun, mut wait) = (Instant::now(), FIRST_WAIT);
        while begun.elapsed() < TAKING_BACK {
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
            if matches!(self.remove(&key, &value).await, Ok(true)) {
                return;
            }
        }
    }
}

#[async_trait]
impl Claims for SharedClaims {
    async fn claim(&self, key: &str, value: &[u8], keep: Duration) -> Result<Option<Vec<u8>>> {
        let mut command = cmd("SET");
        command.arg(self.key(key)).arg(value).arg("NX").arg("GET").arg("PX").arg(millis(keep));
        // Nothing is sent to a server that is known to be away.
        let was_up = self.redis.is_up();
        let claimed = self.redis.query(&command).await;
        if claimed.is_err() && was_up {
            tokio::spawn(self.clone().take_back(key.to_owned(), value.to_owned()));
        }
        claimed
    }

    async fn replace(&self, key: &str, value: &[u8], keep: Duration) -> Result<()> {
        let mut command = cmd("SET");
        command.arg(self.key(key)).arg(value).arg("PX").arg(millis(keep));
        self.redis.query(&command).await
    }

    async fn release(&self, key: &str, value: &[u8]) -> Result<()> {
        self.remove(key, value).await.map(drop)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1)
}
