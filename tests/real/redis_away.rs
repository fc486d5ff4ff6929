//! Redis is killed, emptied, stalled and restarted: what stands on it does without it as
//! `docs/redis.md` states, and begins to use it again by itself.

mod claims;
mod entitlements;
mod limits;
mod platform;
mod revocations;

use std::time::Duration;

use bytes::Bytes;
use mainstay::kernel::cache::{Cache as _, RedisCache};
use mainstay::kernel::redis::Redis;
use mainstay::kernel::settings::{CacheSettings, RedisSettings};
use mainstay::kernel::telemetry::Metrics;
use mainstay_testing::{PrivateRedis, within};

/// How soon everything is as before once Redis is back.
const RECOVERY: Duration = Duration::from_secs(15);

/// Another process's way to a server.
async fn connect(server: &PrivateRedis) -> (Redis, Metrics) {
    let settings = RedisSettings { url: server.url().into(), ..RedisSettings::default() };
    let metrics = Metrics::new("test", "0");
    let redis = Redis::open(&settings, metrics.clone()).unwrap().unwrap();
    redis.settled().await;
    (redis, metrics)
}

/// Waits until Redis does what it is asked to: a connection that broke while nobody used it looks
/// whole.
async fn back(redis: &Redis) {
    let probe = RedisCache::new(redis.clone(), &CacheSettings::default());
    within(RECOVERY, "redis is used again", async || {
        probe.put("probe", Bytes::new(), Duration::from_secs(60)).await.ok()
    })
    .await;
}
