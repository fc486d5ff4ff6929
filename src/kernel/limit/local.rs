//! Token buckets in the memory of this process.
//!
//! The number of keys is bounded, because callers choose them: when there is no room, buckets that
//! are full again go first, then the fullest, which forget the least.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::{Decision, Quota, RateLimiter};

/// Locks are held for a few instructions; this many let all cores work at once.
const SHARDS: usize = 16;

/// How many buckets are compared to find one to forget.
const EVICTION_SAMPLE: usize = 16;

/// How often a shard without room is searched for buckets that are full again.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

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
        self.take_from(key, quota, cost, false)
    }

    /// As [`TokenBuckets::take`], and notes what was taken for [`TokenBuckets::drain_notes`].
    pub(super) fn take_noting(&self, key: &str, quota: Quota, cost: u32) -> Decision {
        self.take_from(key, quota, cost, true)
    }

    fn take_from(&self, key: &str, quota: Quota, cost: u32, noting: bool) -> Decision {
        let now = (self.clock)();
        let mut shard = self.shard(key);
        let full_at = shard.buckets.get(key).map_or(now, |bucket| bucket.full_at).max(now);
        let backlog = full_at - now;
        let decision = decide(quota, cost, backlog);
        if decision.allowed && cost > 0 {
            shard.put(key, now + decision.reset_after, now, self.max_keys_per_shard);
            if noting {
                shard.note(key, decision.reset_after.saturating_sub(backlog), quota.per);
            }
        }
        decision
    }

    /// What was taken and noted since the last time, each bucket once. Tokens that have come back
    /// since are not among it.
    pub(super) fn drain_notes(&self) -> Vec<Spent> {
        let now = (self.clock)();
        let shards = self.shards.iter().map(|shard| lock(shard).drain_notes(now));
        shards.flatten().collect()
    }

    /// Notes again what was drained and could not be told.
    pub(super) fn note_again(&self, spent: Vec<Spent>) {
        for spent in spent {
            self.shard(&spent.key).note(&spent.key, spent.price, spent.per);
        }
    }

    /// Learns that others have emptied a bucket: without what is noted, it was full only `backlog`
    /// after `since`. A bucket that is known to be emptier stays as it is.
    pub(super) fn learn(&self, key: &str, since: Instant, backlog: Duration) {
        let mut shard = self.shard(key);
        if let Some(bucket) = shard.buckets.get_mut(key)
            && let Some(full_at) = since.checked_add(backlog + bucket.unsent)
        {
            bucket.full_at = bucket.full_at.max(full_at);
        }
    }

    /// The time by the clock of these buckets.
    pub(super) fn now(&self) -> Instant {
        (self.clock)()
    }

    fn shard(&self, key: &str) -> MutexGuard<'_, Shard> {
        lock(&self.shards[self.hasher.hash_one(key) as usize % SHARDS])
    }

    /// How many buckets are kept.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).buckets.len()).sum()
    }

    /// Whether no bucket is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[async_trait]
impl RateLimiter for TokenBuckets {
    async fn decide(&self, key: &str, quota: Quota, cost: u32) -> Decision {
        self.take(key, quota, cost)
    }
}

impl fmt::Debug for TokenBuckets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TokenBuckets").field("keys", &self.len()).finish_non_exhaustive()
    }
}

/// The decision about a bucket that will be full after `backlog`.
fn decide(quota: Quota, cost: u32, backlog: Duration) -> Decision {
    if quota.limit == 0 {
        return quota.closed(backlog);
    }
    let price = quota.per / quota.limit * cost.min(quota.limit);
    // The bucket is empty when it takes `per` until it is full. A quota that became smaller since
    // can make it emptier than that.
    if price > quota.per.saturating_sub(backlog) {
        quota.refused(price, backlog)
    } else {
        quota.allowed(backlog + price)
    }
}

/// A panic elsewhere leaves numbers behind, never half a change.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What was taken from a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spent {
    /// The bucket.
    pub key: String,
    /// How long the tokens take to come back.
    pub price: Duration,
    /// How long the bucket takes from empty to full.
    pub per: Duration,
}

struct Shard {
    buckets: HashMap<String, Bucket>,
    /// The buckets with something noted.
    noted: Vec<String>,
    swept_at: Instant,
}

struct Bucket {
    full_at: Instant,
    /// The price of what was taken and noted, and the time to fill of the quota by which it was.
    unsent: Duration,
    per: Duration,
}

impl Shard {
    fn new(now: Instant) -> Self {
        Self { buckets: HashMap::new(), noted: Vec::new(), swept_at: now }
    }

    fn put(&mut self, key: &str, full_at: Instant, now: Instant, max_keys: usize) {
        if let Some(known) = self.buckets.get_mut(key) {
            known.full_at = full_at;
            return;
        }
        if self.buckets.len() >= max_keys {
            self.make_room(now, max_keys);
        }
        let bucket = Bucket { full_at, unsent: Duration::ZERO, per: Duration::ZERO };
        self.buckets.insert(key.to_owned(), bucket);
    }

    fn note(&mut self, key: &str, price: Duration, per: Duration) {
        let Some(bucket) = self.buckets.get_mut(key) else { return };
        if bucket.unsent.is_zero() && !price.is_zero() {
            self.noted.push(key.to_owned());
        }
        bucket.unsent += price;
        bucket.per = per;
    }

    fn drain_notes(&mut self, now: Instant) -> Vec<Spent> {
        let noted = std::mem::take(&mut self.noted);
        let spent = noted.into_iter().filter_map(|key| {
            let bucket = self.buckets.get_mut(&key)?;
            let unsent = std::mem::take(&mut bucket.unsent);
            let price = unsent.min(bucket.full_at.saturating_duration_since(now));
            (!price.is_zero()).then_some(Spent { key, price, per: bucket.per })
        });
        spent.collect()
    }

    fn make_room(&mut self, now: Instant, max_keys: usize) {
        if now - self.swept_at >= SWEEP_INTERVAL {
            self.swept_at = now;
            self.buckets.retain(|_, bucket| bucket.full_at > now);
        }
        if self.buckets.len() >= max_keys {
            let sample = self.buckets.iter().take(EVICTION_SAMPLE);
            let fullest = sample.min_by_key(|(_, bucket)| bucket.full_at);
            if let Some(key) = fullest.map(|(key, _)| key.clone()) {
                self.buckets.remove(&key);
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
