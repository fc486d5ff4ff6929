//! Who writes ended sessions into the shared memory.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ::redis::Script;
use tokio_util::sync::CancellationToken;

use super::super::revocations::REMEMBERED;
use super::{AS_OF, CHANNEL, MARGIN, SET, millis};
use crate::kernel::error::Result;
use crate::kernel::redis::Redis;
use crate::kernel::token::RevocationSource;

/// How often the feed looks. Several feeds share the work.
const INTERVAL: Duration = Duration::from_millis(300);

/// How long the set is believed after a feed has looked: with the interval of those who read it,
/// less than the two seconds within which an end must show.
const BELIEVED: Duration = Duration::from_millis(1200);

/// The most ended sessions that are shared; beyond that the source itself is asked for a while.
const MOST_SESSIONS: usize = 200_000;

/// How long nothing is shared after there were too many.
const PAUSE: Duration = Duration::from_secs(60);

/// How many sessions are written at once.
const CHUNK: usize = 1000;

/// Keeps the set of ended sessions in Redis complete, as long as it runs. Any number of replicas may
/// run one: whoever is late writes nothing.
pub struct RevocationFeed {
    redis: Redis,
    source: Arc<dyn RevocationSource>,
    look: Script,
    write: Script,
}

impl RevocationFeed {
    /// A feed of what the source knows, which must be first-hand.
    pub fn new(redis: Redis, source: Arc<dyn RevocationSource>) -> Self {
        let look = Script::new(include_str!("look.lua"));
        let write = Script::new(include_str!("write.lua"));
        Self { redis, source, look, write }
    }

    /// Feeds until `shutdown`.
    pub fn spawn(self, shutdown: CancellationToken) {
        tokio::spawn(async move { shutdown.run_until_cancelled(self.run()).await });
    }

    async fn run(&self) {
        let mut paused_until = Instant::now();
        loop {
            if self.redis.is_up() && paused_until <= Instant::now() {
                match self.feed().await {
                    Ok(true) => {}
                    Ok(false) => {
                        tracing::warn!(
                            most = MOST_SESSIONS,
                            "too many sessions ended to be shared: whoever verifies tokens asks \
                             for them directly"
                        );
                        paused_until = Instant::now() + PAUSE;
                    }
                    // Redis away is told of elsewhere.
                    Err(error) => tracing::debug!(%error, "ended sessions were not shared"),
                }
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Writes what ended since somebody looked before; `false` if that is too much.
    async fn feed(&self) -> Result<bool> {
        let key = self.redis.key(SET);
        let (seen, now, believed): (String, u64, i64) =
            self.redis.invoke(self.look.key(&key).arg(AS_OF)).await?;
        if believed > (BELIEVED - INTERVAL / 2).as_millis() as i64 {
            return Ok(true);
        }
        let seen_time = seen
            .parse::<f64>()
            .ok()
            .map(|millis| UNIX_EPOCH + Duration::from_millis(millis as u64));
        let found = self.source.revocations(seen_time).await?;
        if seen_time.is_some_and(|seen| seen > found.as_of + MARGIN) {
            // A clock went back. The set expires, and is then written anew.
            return Ok(true);
        }
        if found.session_ids.len() > MOST_SESSIONS {
            return Ok(false);
        }
        let (as_of, until) = (millis(found.as_of), now + BELIEVED.as_millis() as u64);
        let chunks = found.session_ids.len().div_ceil(CHUNK).max(1);
        for number in 0..chunks {
            let from = number * CHUNK;
            let to = (from + CHUNK).min(found.session_ids.len());
            let mut script = self.write.key(&key);
            script.arg(AS_OF).arg(&seen).arg(as_of).arg(until);
            script.arg(millis(forgotten(found.as_of))).arg(self.redis.key(CHANNEL));
            // The set is complete, and believed, with the last chunk.
            script.arg(u8::from(number + 1 == chunks)).arg(MOST_SESSIONS);
            script.arg(&found.session_ids[from..to]);
            match self.redis.invoke::<i64>(&script).await? {
                TOO_MANY => return Ok(false),
                TOO_LATE => return Ok(true),
                _ => {}
            }
        }
        Ok(true)
    }
}

/// What `write.lua` returns when another feed was faster.
const TOO_LATE: i64 = -1;

/// What `write.lua` returns when the set is too large; it is gone then.
const TOO_MANY: i64 = -2;

/// What was written before then can be forgotten: no token of such a session is valid.
fn forgotten(as_of: SystemTime) -> SystemTime {
    as_of.checked_sub(REMEMBERED + MARGIN).unwrap_or(UNIX_EPOCH)
}

impl fmt::Debug for RevocationFeed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RevocationFeed").finish_non_exhaustive()
    }
}
