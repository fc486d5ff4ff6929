//! Token buckets: how often something may be done, by key.
//!
//! A bucket is one number, the time at which it will be full again (the generic cell rate
//! algorithm), so that a key costs a few bytes and nothing has to be refilled. The number of keys is
//! bounded, because callers choose them: when there is no room, buckets that are full again go
//! first, then the fullest, which forget the least.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Locks are held for a few instructions; this many let all cores work at once.
const SHARDS: usize = 16;

/// How many buckets are compared to find one to forget.
const EVICTION_SAMPLE: usize = 16;

/// How often a shard without room is searched for buckets that are full again.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Tokens in a full bucket.
    pub limit: u32,
    /// How long an empty bucket takes to be full again.
    pub per: Duration,
}

/// Whether something may be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether the tokens were there; they are taken if so.
    pub allowed: bool,
    /// Tokens in a full bucket.
    pub limit: u32,
    /// Whole tokens that are left.
    pub remaining: u32,
    /// How long until the bucket is full.
    pub reset_after: Duration,
    /// How long until the tokens asked for are there; zero when allowed.
    pub retry_after: Duration,
}

/// Buckets by key, in the memory of this process.
pub struct TokenBuckets {
    shards: [Mutex<Shard>; SHARDS],
    max_keys_per_shard: usize,
    hasher: RandomState,
    clock: Arc<dyn Fn() -> Instant + Send + Sync>,
}

impl TokenBuckets {
    /// Buckets for at most `max_keys` keys at a time.
    pub fn new(max_keys: usize) -> Self {
        Self::with_clock(max_keys, Instant::now)
    }

    /// As [`TokenBuckets::new`], with another clock, which must never go back.
    pub fn with_clock(
        max_keys: usize,
        clock: impl Fn() -> Instant + Send + Sync + 'static,
    ) -> Self {
        let start = clock();
        Self {
            shards: std::array::from_fn(|_| Mutex::new(Shard::new(start))),
            max_keys_per_shard: max_keys.div_ceil(SHARDS).max(1),
            hasher: RandomState::new(),
            clock: Arc::new(clock),
        }
    }

    /// Takes `cost` tokens from the bucket of `key`, or none if there are too few. A cost above the
    /// limit takes a full bucket.
    pub fn take(&self, key: &str, quota: Quota, cost: u32) -> Decision {
        let now = (self.clock)();
        let shard = &self.shards[self.hasher.hash_one(key) as usize % SHARDS];
        // A panic elsewhere leaves numbers behind, never half a change.
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let full_at = shard.full_at.get(key).copied().unwrap_or(now).max(now);
        let (decision, full_at) = decide(quota, cost, now, full_at);
        if decision.allowed && cost > 0 {
            shard.put(key, full_at, now, self.max_keys_per_shard);
        }
        decision
    }

    /// How many buckets are kept.
    pub fn len(&self) -> usize {
        let lens = self
            .shards
            .iter()
            .map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).full_at.len());
        lens.sum()
    }

    /// Whether no bucket is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for TokenBuckets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TokenBuckets").field("keys", &self.len()).finish_non_exhaustive()
    }
}

/// The decision, and when the bucket will be full after it.
fn decide(quota: Quota, cost: u32, now: Instant, full_at: Instant) -> (Decision, Instant) {
    let Quota { limit, per } = quota;
    let refused = Decision {
        allowed: false,
        limit,
        remaining: 0,
        reset_after: full_at - now,
        retry_after: per,
    };
    if limit == 0 {
        return (refused, full_at);
    }
    let token = per / limit;
    let price = token * cost.min(limit);
    // The bucket is empty when it takes `per` until it is full. A quota that became smaller since
    // can make it emptier than that.
    let room = per.saturating_sub(full_at - now);
    let left = |room: Duration| match token.as_nanos() {
        0 => limit,
        token => u32::try_from(room.as_nanos() / token).unwrap_or(limit).min(limit),
    };
    if price > room {
        let missing = (full_at - now + price).saturating_sub(per);
        return (Decision { remaining: left(room), retry_after: missing, ..refused }, full_at);
    }
    let full_at = full_at + price;
    let decision = Decision {
        allowed: true,
        limit,
        remaining: left(room - price),
        reset_after: full_at - now,
        retry_after: Duration::ZERO,
    };
    (decision, full_at)
}

struct Shard {
    full_at: HashMap<String, Instant>,
    swept_at: Instant,
}

impl Shard {
    fn new(now: Instant) -> Self {
        Self { full_at: HashMap::new(), swept_at: now }
    }

    fn put(&mut self, key: &str, full_at: Instant, now: Instant, max_keys: usize) {
        if let Some(known) = self.full_at.get_mut(key) {
            *known = full_at;
            return;
        }
        if self.full_at.len() >= max_keys {
            self.make_room(now, max_keys);
        }
        self.full_at.insert(key.to_owned(), full_at);
    }

    fn make_room(&mut self, now: Instant, max_keys: usize) {
        if now - self.swept_at >= SWEEP_INTERVAL {
            self.swept_at = now;
            self.full_at.retain(|_, full_at| *full_at > now);
        }
        if self.full_at.len() >= max_keys {
            let sample = self.full_at.iter().take(EVICTION_SAMPLE);
            let fullest = sample.min_by_key(|(_, full_at)| **full_at).map(|(key, _)| key.clone());
            if let Some(key) = fullest {
                self.full_at.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const QUOTA: Quota = Quota { limit: 10, per: Duration::from_secs(60) };

    fn buckets(max_keys: usize) -> (TokenBuckets, Arc<AtomicU64>) {
        let (start, seconds) = (Instant::now(), Arc::new(AtomicU64::new(0)));
        let clock = seconds.clone();
        let now = move || start + Duration::from_secs(clock.load(Ordering::SeqCst));
        (TokenBuckets::with_clock(max_keys, now), seconds)
    }

    #[test]
    fn a_bucket_empties_and_refills() {
        let (buckets, seconds) = buckets(100);
        for remaining in (0..10).rev() {
            let decision = buckets.take("a", QUOTA, 1);
            assert!(decision.allowed && decision.retry_after.is_zero());
            assert_eq!((decision.limit, decision.remaining), (10, remaining));
        }
        let refused = buckets.take("a", QUOTA, 1);
        assert_eq!(
            refused,
            Decision {
                allowed: false,
                limit: 10,
                remaining: 0,
                reset_after: Duration::from_secs(60),
                retry_after: Duration::from_secs(6),
            }
        );
        assert!(buckets.take("b", QUOTA, 1).allowed, "keys are independent");
        seconds.store(6, Ordering::SeqCst);
        assert!(buckets.take("a", QUOTA, 1).allowed);
        assert!(!buckets.take("a", QUOTA, 1).allowed);
        seconds.store(1_000, Ordering::SeqCst);
        assert_eq!(buckets.take("a", QUOTA, 1).remaining, 9, "a bucket never overflows");
    }

    #[test]
    fn costs_are_taken_whole() {
        let (buckets, _) = buckets(100);
        assert_eq!(buckets.take("a", QUOTA, 7).remaining, 3);
        let refused = buckets.take("a", QUOTA, 5);
        assert_eq!((refused.allowed, refused.remaining), (false, 3));
        assert_eq!(refused.retry_after, Duration::from_secs(12));
        assert!(buckets.take("a", QUOTA, 3).allowed, "a refusal takes nothing");
        assert!(buckets.take("b", QUOTA, 1_000).allowed);
        assert!(!buckets.take("b", QUOTA, 1).allowed);
        assert!(!buckets.take("c", Quota { limit: 0, ..QUOTA }, 1).allowed);
    }

    #[test]
    fn a_quota_that_shrinks_holds_at_once() {
        let (buckets, _) = buckets(100);
        assert!(buckets.take("a", Quota { per: Duration::from_secs(600), ..QUOTA }, 10).allowed);
        let refused = buckets.take("a", QUOTA, 1);
        assert_eq!((refused.allowed, refused.remaining), (false, 0));
    }

    #[test]
    fn keys_are_bounded_and_the_emptiest_buckets_stay() {
        let (buckets, seconds) = buckets(160);
        assert!(buckets.take("busy", QUOTA, 10).allowed);
        for key in 0..10_000 {
            buckets.take(&format!("flood-{key}"), QUOTA, 1);
        }
        assert!(buckets.len() <= 160, "{}", buckets.len());
        assert!(!buckets.take("busy", QUOTA, 1).allowed, "a flood of keys resets nobody");
        seconds.store(1_000, Ordering::SeqCst);
        for key in 0..1_000 {
            buckets.take(&format!("later-{key}"), QUOTA, 1);
        }
        assert!(buckets.len() <= 160 && !buckets.is_empty());
    }
}
