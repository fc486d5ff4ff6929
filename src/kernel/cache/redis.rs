//! A cache in the memory that all processes share.

use std::sync::Arc;
use std::time::Duration;

use ::redis::{Cmd, cmd};
use async_trait::async_trait;
use bytes::Bytes;

use super::Cache;
use crate::kernel::error::Result;
use crate::kernel::redis::Redis;
use crate::kernel::settings::CacheSettings;

/// What the fallbacks are counted under.
const PURPOSE: &str = "cache";

/// The longest that anything is kept: a day. What must be kept longer belongs into a database.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// A cache in Redis. While Redis is away every value is gone, and what is put or removed is refused,
/// for the value before may be seen again when Redis is back.
#[derive(Clone, Debug)]
pub struct RedisCache {
    redis: Redis,
    max_value_bytes: usize,
}

impl RedisCache {
    /// A cache of this Redis.
    pub fn new(redis: Redis, settings: &CacheSettings) -> Self {
        Self { redis, max_value_bytes: settings.max_value_bytes }
    }

    /// As [`RedisCache::new`], to be shared as a [`Cache`].
    pub fn shared(redis: Redis, settings: &CacheSettings) -> Arc<dyn Cache> {
        Arc::new(Self::new(redis, settings))
    }

    async fn change(&self, command: &Cmd) -> Result<()> {
        let changed = self.redis.query(command).await;
        changed.inspect_err(|_| self.redis.fell_back(PURPOSE))
    }

    fn key(&self, key: &str) -> String {
        self.redis.key(format_args!("cache:{key}"))
    }
}

#[async_trait]
impl Cache for RedisCache {
    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        let found = self.redis.query::<Option<Vec<u8>>>(cmd("GET").arg(self.key(key))).await;
        Ok(found
            .unwrap_or_else(|_| {
                self.redis.fell_back(PURPOSE);
                None
            })
            .map(Bytes::from))
    }

    async fn put(&self, key: &str, value: Bytes, time_to_live: Duration) -> Result<()> {
        if value.len() > self.max_value_bytes {
            let (bytes, most) = (value.len(), self.max_value_bytes);
            tracing::debug!(key, bytes, most, "a value is too large for the cache");
            return self.remove(key).await;
        }
        let millis = u64::try_from(time_to_live.min(LONGEST).as_millis()).unwrap_or(u64::MAX);
        if millis == 0 {
            return self.remove(key).await;
        }
        let mut command = cmd("SET");
        command.arg(self.key(key)).arg(&value[..]).arg("PX").arg(millis);
        self.change(&command).await
    }

    async fn remove(&self, key: &str) -> Result<()> {
        self.change(cmd("DEL").arg(self.key(key))).await
    }
}
