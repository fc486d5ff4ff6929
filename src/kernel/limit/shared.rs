//! Token buckets that all processes share, in Redis.
//!
//! One decision is one script in one round trip, by the clock of Redis, so that neither the clocks
//! nor the number of the processes matter. While Redis is away or slow, each process decides by
//! buckets of its own, at once. They know what this process has let through, so that an outage fills
//! nobody's bucket; all processes together may let through up to as many times the limit as there
//! are processes, until Redis is back.

use std::fmt;
use std::time::Duration;

use ::redis::Script;
use async_trait::async_trait;

use super::{Decision, Quota, RateLimiter, TokenBuckets};
use crate::kernel::redis::Redis;

/// What the fallbacks are counted under.
const PURPOSE: &str = "limit";

/// Buckets by key, in the memory that all processes share. The finest price is a microsecond, so
/// that a limit above a million each second counts as a million.
pub struct SharedBuckets {
    redis: Redis,
    script: Script,
    own: TokenBuckets,
}

impl SharedBuckets {
    /// Buckets in this Redis, with `max_keys` of this process's own for the time it is away.
    pub fn new(redis: Redis, max_keys: usize) -> Self {
        let script = Script::new(include_str!("take.lua"));
        Self { redis, script, own: TokenBuckets::new(max_keys) }
    }
}

#[async_trait]
impl RateLimiter for SharedBuckets {
    async fn decide(&self, key: &str, quota: Quota, cost: u32) -> Decision {
        if quota.limit == 0 {
            return quota.closed(Duration::ZERO);
        }
        let price = price(quota, cost);
        let mut script = self.script.key(self.redis.key(format_args!("ratelimit:{key}")));
        script.arg(micros(price)).arg(micros(quota.per));
        match self.redis.invoke::<(bool, u64)>(&script).await {
            Ok((true, backlog)) => {
                self.own.take(key, quota, cost);
                quota.allowed(Duration::from_micros(backlog))
            }
            Ok((false, backlog)) => quota.refused(price, Duration::from_micros(backlog)),
            Err(_) => {
                self.redis.fell_back(PURPOSE);
                self.own.take(key, quota, cost)
            }
        }
    }
}

impl fmt::Debug for SharedBuckets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SharedBuckets")
            .field("redis", &self.redis)
            .field("own", &self.own)
            .finish_non_exhaustive()
    }
}

/// How long the tokens take to come back, in whole microseconds: never more than a full bucket, and
/// nothing for nothing.
fn price(quota: Quota, cost: u32) -> Duration {
    let (limit, cost) = (u64::from(quota.limit), u64::from(cost.min(quota.limit)));
    let price = u128::from(micros(quota.per)) * u128::from(cost) / u128::from(limit);
    let price = u64::try_from(price).unwrap_or(u64::MAX);
    Duration::from_micros(if cost > 0 { price.max(1) } else { 0 })
}

pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_whole_microseconds_and_never_more_than_a_bucket() {
        let price = |limit, seconds, cost| {
            price(Quota { limit, per: Duration::from_secs(seconds) }, cost).as_micros()
        };
        assert_eq!(price(10, 60, 1), 6_000_000);
        assert_eq!(price(7, 60, 1), 8_571_428);
        assert_eq!(price(7, 60, 7), 60_000_000);
        assert_eq!(price(7, 60, 1_000), 60_000_000);
        assert_eq!(price(10, 60, 0), 0);
        assert_eq!(price(u32::MAX, 1, 1), 1);
    }
}
