//! The signing keys in memory.
//!
//! Any replica may add a key, so that each looks again after an interval. That interval is far shorter
//! than the time a key is published before it signs, so that no token is signed by a key that some
//! replica does not publish yet.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use chrono::Utc;

use crate::domain::{AuthError, KeyRing, KeySchedule, KeyStore};

/// How often two replicas may get in each other's way before it is an error.
const ATTEMPTS: usize = 3;

/// The keys as they were read last.
pub(super) struct KeyCache {
    store: Arc<dyn KeyStore>,
    interval: Duration,
    read: RwLock<Option<Read>>,
    reading: tokio::sync::Mutex<()>,
}

struct Read {
    ring: Arc<KeyRing>,
    at: Instant,
}

impl KeyCache {
    pub(super) fn new(store: Arc<dyn KeyStore>, interval: Duration) -> Self {
        Self { store, interval, read: RwLock::default(), reading: tokio::sync::Mutex::default() }
    }

    /// The keys, at most an interval old; older ones while they cannot be read anew.
    pub(super) async fn ring(&self) -> Result<Arc<KeyRing>, AuthError> {
        if let Some(ring) = self.cached(true) {
            return Ok(ring);
        }
        // One reads; the others wait for it and take what it has read.
        let _reading = self.reading.lock().await;
        if let Some(ring) = self.cached(true) {
            return Ok(ring);
        }
        match (self.read_anew().await, self.cached(false)) {
            (Ok(ring), _) => Ok(ring),
            (Err(error), Some(ring)) => {
                tracing::warn!(error = %error, "the signing keys cannot be read anew");
                Ok(ring)
            }
            (Err(error), None) => Err(error),
        }
    }

    /// Adds the key that is due and forgets those that are spent.
    pub(super) async fn rotate(&self, schedule: KeySchedule) -> Result<(), AuthError> {
        for _ in 0..ATTEMPTS {
            let ring = self.read_anew().await?;
            let now = Utc::now();
            let Some(key) = ring.successor(schedule, now)? else {
                let spent = ring.spent(schedule, now);
                if !spent.is_empty() {
                    self.store.key_delete(&spent).await?;
                    tracing::info!(generations = ?spent, "spent signing keys were deleted");
                    self.read_anew().await?;
                }
                return Ok(());
            };
            if self.store.key_create(&key).await? {
                tracing::info!(kid = key.kid(), activate_time = %key.activate_time, "a signing key was added");
            }
        }
        Err(AuthError::failed(anyhow::anyhow!("signing keys come due faster than they are added")))
    }

    async fn read_anew(&self) -> Result<Arc<KeyRing>, AuthError> {
        let at = Instant::now();
        let ring = Arc::new(KeyRing::new(self.store.key_list().await?));
        *self.read.write().unwrap_or_else(PoisonError::into_inner) =
            Some(Read { ring: ring.clone(), at });
        Ok(ring)
    }

    fn cached(&self, fresh: bool) -> Option<Arc<KeyRing>> {
        let read = self.read.read().unwrap_or_else(PoisonError::into_inner);
        let read = read.as_ref().filter(|read| !fresh || read.at.elapsed() < self.interval);
        read.map(|read| read.ring.clone())
    }
}
