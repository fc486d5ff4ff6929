//! What stands on Redis keeps the contracts of what it stands in for.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mainstay::kernel::cache::{Cache as _, RedisCache};
use mainstay::kernel::limit::SharedBuckets;
use mainstay::kernel::redis::Redis;
use mainstay::kernel::settings::{CacheSettings, RedisSettings};
use mainstay::kernel::telemetry::Metrics;

use crate::infra;
use crate::suite_cache;
use crate::suite_limit;

/// The Redis of the run, under a prefix of the test's own, with time enough for a busy machine.
async fn redis() -> Redis {
    let settings = RedisSettings {
        url: infra().redis.url.as_str().into(),
        prefix: format!("test-{}", uuid::Uuid::now_v7()),
        command_timeout: Duration::from_secs(10),
        ..RedisSettings::default()
    };
    let redis = Redis::open(&settings, Metrics::new("test", "0")).unwrap().unwrap();
    redis.settled().await;
    assert!(redis.is_up());
    redis
}

#[tokio::test]
async fn the_shared_cache_keeps_the_contract() {
    let cache = RedisCache::shared(redis().await, &CacheSettings::default());
    suite_cache::contract(cache).await;
}

#[tokio::test]
async fn the_shared_cache_keeps_nothing_that_is_too_large() {
    let settings = CacheSettings { max_value_bytes: 10, ..CacheSettings::default() };
    let cache = RedisCache::new(redis().await, &settings);
    let long = Duration::from_secs(60);
    cache.put("a", Bytes::from_static(b"0123456789"), long).await.unwrap();
    assert!(cache.get("a").await.unwrap().is_some());
    cache.put("a", Bytes::from_static(b"0123456789+"), long).await.unwrap();
    assert_eq!(cache.get("a").await.unwrap(), None, "the value before is not the value");
}

#[tokio::test]
async fn prefixes_keep_platforms_apart() {
    let settings = CacheSettings::default();
    let (one, other) =
        (RedisCache::new(redis().await, &settings), RedisCache::new(redis().await, &settings));
    one.put("a", Bytes::from_static(b"one"), Duration::from_secs(60)).await.unwrap();
    assert_eq!(other.get("a").await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shared_buckets_keep_the_contract() {
    suite_limit::contract(Arc::new(SharedBuckets::new(redis().await, 1_000))).await;
}
