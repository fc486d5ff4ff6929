//! Limits are decided at once, whatever Redis does.

use std::time::{Duration, Instant};

use bytes::Bytes;
use mainstay::kernel::cache::{Cache as _, RedisCache};
use mainstay::kernel::limit::{Quota, RateLimiter as _, ReconciledBuckets, SharedBuckets};
use mainstay::kernel::settings::CacheSettings;
use mainstay_testing::PrivateRedis;

use super::{back, connect};

const QUOTA: Quota = Quota { limit: 10, per: Duration::from_secs(3_600) };

/// Longer than a command may take, so that a busy machine fails no test; a caller who waited for
/// the connection would take longer.
const AT_ONCE: Duration = Duration::from_millis(1_500);

/// Decides a hundred times about other keys: they may take one time-out together, not one each.
async fn decide_often(buckets: &SharedBuckets) {
    let begin = Instant::now();
    for key in 0..100 {
        assert!(buckets.decide(&format!("other-{key}"), QUOTA, 1).await.allowed);
    }
    assert!(begin.elapsed() < AT_ONCE, "{:?}", begin.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_process_decides_for_itself_and_fills_nobodys_bucket() {
    let mut server = PrivateRedis::start().await;
    let (redis, metrics) = connect(&server).await;
    let (other, _) = connect(&server).await;
    let buckets = SharedBuckets::new(redis.clone(), 1_000);
    let others = SharedBuckets::new(other.clone(), 1_000);
    assert_eq!(buckets.decide("caller", QUOTA, 4).await.remaining, 6);
    assert_eq!(others.decide("caller", QUOTA, 1).await.remaining, 5, "the bucket is everybody's");

    for outage in ["killed", "stalled"] {
        match outage {
            "killed" => server.kill(),
            _ => server.stall(),
        }
        decide_often(&buckets).await;
        let here = buckets.decide("caller", QUOTA, 1).await;
        assert!(here.allowed && here.remaining <= 5, "{outage}: {here:?}");
        assert!(!redis.is_up());
        match outage {
            "killed" => server.restart().await,
            _ => server.resume(),
        }
        back(&redis).await;
        back(&other).await;
        let there = others.decide("caller", QUOTA, 0).await;
        assert_eq!(there.remaining, 5, "{outage}: what was shared is shared again");
    }
    let page = metrics.render();
    assert!(page.contains("mainstay_redis_away 0"), "{page}");
    assert!(page.contains("mainstay_redis_fallbacks_total{purpose=\"limit\"}"), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_learn_afterwards_what_the_others_let_through() {
    let mut server = PrivateRedis::start().await;
    let (redis, _) = connect(&server).await;
    let [one, other] = [(); 2].map(|()| ReconciledBuckets::new(redis.clone(), 10_000));
    let strict = SharedBuckets::new(redis.clone(), 1_000);
    assert!(one.take("caller", QUOTA, 4).allowed && other.take("caller", QUOTA, 3).allowed);
    for gateway in [&one, &other] {
        gateway.reconcile().await.unwrap();
    }
    assert_eq!(other.take("caller", QUOTA, 0).remaining, 3, "7 of 10 are taken");
    assert_eq!(strict.decide("caller", QUOTA, 0).await.remaining, 3, "the buckets are the same");
    assert_eq!(server.keys("*:ratelimit:*"), ["mainstay:ratelimit:caller"]);

    server.stall();
    assert!(one.take("caller", QUOTA, 2).allowed);
    assert!(one.reconcile().await.is_err(), "what cannot be told");
    server.restart().await;
    back(&redis).await;
    one.reconcile().await.unwrap();
    assert_eq!(strict.decide("caller", QUOTA, 0).await.remaining, 1, "is told afterwards");

    let many: Vec<String> = (0..1_200).map(|key| format!("many-{key}")).collect();
    assert!(many.iter().all(|key| one.take(key, QUOTA, 10).allowed));
    one.reconcile().await.unwrap();
    for key in [&many[0], &many[600], &many[1_199]] {
        assert!(!strict.decide(key, QUOTA, 1).await.allowed, "{key}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_that_redis_has_forgotten_is_told_again() {
    let mut server = PrivateRedis::start().await;
    let (redis, metrics) = connect(&server).await;
    let buckets = SharedBuckets::new(redis.clone(), 1_000);
    assert_eq!(buckets.decide("caller", QUOTA, 1).await.remaining, 9);
    server.restart().await;
    back(&redis).await;
    let before = metrics.render();
    assert_eq!(buckets.decide("caller", QUOTA, 1).await.remaining, 8);
    assert_eq!(metrics.render(), before, "without a fallback");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cached_value_is_gone_and_a_change_is_refused() {
    let mut server = PrivateRedis::start().await;
    let (redis, _) = connect(&server).await;
    let cache = RedisCache::new(redis.clone(), &CacheSettings::default());
    let (value, long) = (Bytes::from_static(b"one"), Duration::from_secs(60));
    cache.put("key", value.clone(), long).await.unwrap();
    server.kill();
    assert_eq!(cache.get("key").await.unwrap(), None, "no error");
    assert!(cache.put("key", Bytes::from_static(b"two"), long).await.is_err());
    assert!(cache.remove("key").await.is_err());
    server.restart().await;
    back(&redis).await;
    assert_eq!(cache.get("key").await.unwrap(), Some(value), "as the caller was told");
}
