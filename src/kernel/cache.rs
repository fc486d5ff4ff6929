//! Values that may be forgotten at any time.
//!
//! Whoever reads a cache can do without it: an error or a missing value costs time, never
//! correctness. Keys are the caller's; put the service and the kind of thing in front of them.

mod redis;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;

use crate::kernel::error::Result;

pub use redis::RedisCache;

/// A cache of bytes.
#[async_trait]
pub trait Cache: Send + Sync {
    /// The value, unless it is gone or cannot be had.
    async fn get(&self, key: &str) -> Result<Option<Bytes>>;

    /// Keeps a value for at most `time_to_live`; a value that is there is replaced. After an error
    /// the value before may still be there.
    async fn put(&self, key: &str, value: Bytes, time_to_live: Duration) -> Result<()>;

    /// Forgets a value; one that is not there is no error. After an error it may still be there.
    async fn remove(&self, key: &str) -> Result<()>;
}

/// A cache in the memory of this process.
#[derive(Clone, Debug)]
pub struct LocalCache {
    entries: moka::future::Cache<String, Entry>,
}

impl LocalCache {
    /// A cache of at most `max_bytes` bytes of keys and values; what was used least goes first.
    pub fn new(max_bytes: u64) -> Self {
        let entries = moka::future::Cache::builder()
            .max_capacity(max_bytes)
            .weigher(|key: &String, entry: &Entry| {
                u32::try_from(key.len() + entry.value.len()).unwrap_or(u32::MAX)
            })
            .expire_after(Expiry)
            .build();
        Self { entries }
    }

    /// As [`LocalCache::new`], to be shared as a [`Cache`].
    pub fn shared(max_bytes: u64) -> Arc<dyn Cache> {
        Arc::new(Self::new(max_bytes))
    }
}

#[async_trait]
impl Cache for LocalCache {
    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        Ok(self.entries.get(key).await.map(|entry| entry.value))
    }

    async fn put(&self, key: &str, value: Bytes, time_to_live: Duration) -> Result<()> {
        self.entries.insert(key.to_owned(), Entry { value, time_to_live }).await;
        Ok(())
    }

    async fn remove(&self, key: &str) -> Result<()> {
        self.entries.invalidate(key).await;
        Ok(())
    }
}

#[derive(Clone, Debug)]
struct Entry {
    value: Bytes,
    time_to_live: Duration,
}

/// Each entry lives as long as it says; a replaced one as long as its new value says.
#[derive(Debug)]
struct Expiry;

impl moka::Expiry<String, Entry> for Expiry {
    fn expire_after_create(&self, _: &String, entry: &Entry, _: Instant) -> Option<Duration> {
        Some(entry.time_to_live)
    }

    fn expire_after_update(
        &self,
        _: &String,
        entry: &Entry,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(entry.time_to_live)
    }
}
