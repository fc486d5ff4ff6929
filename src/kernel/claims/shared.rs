//! Claims in the memory that all processes share.

use std::time::Duration;

use ::redis::cmd;
use async_trait::async_trait;

use super::Claims;
use crate::kernel::error::Result;
use crate::kernel::redis::Redis;

/// Claims in Redis, which lasts as long as Redis keeps its keys: one that evicts keys before their time,
/// or comes back from a crash without them, forgets claims.
#[derive(Clone, Debug)]
pub struct SharedClaims {
    redis: Redis,
    purpose: &'static str,
}

impl SharedClaims {
    /// Claims in this Redis, under keys that begin with `purpose`, such as `idempotency`.
    pub fn new(redis: Redis, purpose: &'static str) -> Self {
        Self { redis, purpose }
    }

    fn key(&self, key: &str) -> String {
        self.redis.key(format_args!("{}:{key}", self.purpose))
    }
}

#[async_trait]
impl Claims for SharedClaims {
    async fn claim(&self, key: &str, value: &[u8], keep: Duration) -> Result<Option<Vec<u8>>> {
        let mut command = cmd("SET");
        command.arg(self.key(key)).arg(value).arg("NX").arg("GET").arg("PX").arg(millis(keep));
        self.redis.query(&command).await
    }

    async fn replace(&self, key: &str, value: &[u8], keep: Duration) -> Result<()> {
        let mut command = cmd("SET");
        command.arg(self.key(key)).arg(value).arg("PX").arg(millis(keep));
        self.redis.query(&command).await
    }

    async fn release(&self, key: &str) -> Result<()> {
        self.redis.query(cmd("DEL").arg(self.key(key))).await
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1)
}
