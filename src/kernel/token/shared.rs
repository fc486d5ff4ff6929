//! Ended sessions in the memory that all processes share.
//!
//! Whoever ends sessions runs a [`RevocationFeed`], which writes those that ended lately into one
//! sorted set in Redis and tells everybody. Whoever verifies tokens asks [`SharedRevocations`]
//! instead of the source itself.
//!
//! The set is believed only while somebody vouches that it is complete: it holds, beside the
//! sessions, the time up to which every end is in it, and it expires a moment after the feed last
//! looked. What is missing, because Redis was emptied, rolled back or evicted the key, or because no
//! feed reaches it, makes the set as a whole disappear; then the source itself is asked, as where
//! there is no Redis. So nothing that Redis forgets lets anybody in.

mod feed;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::redis::cmd;
use async_trait::async_trait;
use tokio::sync::Mutex;

use super::{RevocationSource, Revocations};
use crate::kernel::error::Result;
use crate::kernel::redis::{Redis, Subscription};

pub use feed::RevocationFeed;

/// What the fallbacks are counted under.
const PURPOSE: &str = "revocations";

/// The sorted set: session ids by the time at which they were written.
const SET: &str = "revocations";

/// The member of the set whose score is the time up to which the set is complete.
const AS_OF: &str = "as-of";

/// Where it is said that the set has grown.
const CHANNEL: &str = "revocations:grown";

/// Two who answer may differ by so much: whoever asks for what is new is told again what was
/// written shortly before.
const MARGIN: Duration = Duration::from_secs(15);

/// How long the set may take to arrive, which may be large the first time.
const PATIENCE: Duration = Duration::from_secs(1);

/// Ended sessions as Redis knows them, or, where it does not, as the source itself does.
pub struct SharedRevocations {
    redis: Redis,
    source: Arc<dyn RevocationSource>,
    news: Mutex<Subscription>,
}

impl SharedRevocations {
    /// The source itself where there is no Redis.
    pub fn over(
        redis: Option<Redis>,
        source: Arc<dyn RevocationSource>,
    ) -> Arc<dyn RevocationSource> {
        let Some(redis) = redis else { return source };
        let news = Mutex::new(redis.subscribe(&redis.key(CHANNEL)));
        Arc::new(Self { redis, source, news })
    }

    /// What the set says; `None` if it is not there, or nobody vouches for it.
    async fn read(&self, since: Option<SystemTime>) -> Result<Option<Revocations>> {
        let from = since.map_or(0, |since| millis(since - MARGIN));
        let mut command = cmd("ZRANGEBYSCORE");
        command.arg(self.redis.key(SET)).arg(from).arg("+inf").arg("WITHSCORES");
        let members: Vec<(String, f64)> = self.redis.query_within(PATIENCE, &command).await?;
        let Some((_, as_of)) = members.iter().find(|(member, _)| member == AS_OF) else {
            return Ok(None);
        };
        let as_of = UNIX_EPOCH + Duration::from_millis(*as_of as u64);
        let sessions = members.into_iter().map(|(member, _)| member);
        Ok(Some(Revocations { session_ids: sessions.filter(|id| id != AS_OF).collect(), as_of }))
    }
}

#[async_trait]
impl RevocationSource for SharedRevocations {
    async fn revocations(&self, since: Option<SystemTime>) -> Result<Revocations> {
        match self.read(since).await {
            Ok(Some(revocations)) => Ok(revocations),
            _ => {
                self.redis.fell_back(PURPOSE);
                self.source.revocations(since).await
            }
        }
    }

    async fn changed(&self) {
        self.news.lock().await.next().await;
    }
}

impl std::fmt::Debug for SharedRevocations {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("SharedRevocations").finish_non_exhaustive()
    }
}

/// Milliseconds since 1970.
fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
