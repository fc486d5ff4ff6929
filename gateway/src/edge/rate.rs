//! The limits by rate class: how many calls of a class a caller may make, by plan.

use std::sync::Arc;

use anyhow::bail;
use http::{HeaderMap, HeaderName, HeaderValue};
use mainstay::kernel::error::{Error, RATE_LIMITED, Result};
use mainstay::kernel::limit::{Decision, Quota, RateLimiter, SharedBuckets, TokenBuckets};
use mainstay::kernel::redis::Redis;

use crate::config::{DEFAULT_CLASS, DEFAULT_PLAN, GatewaySettings, RateStore};
use crate::error::whole_seconds;

/// Names of draft-ietf-httpapi-ratelimit-headers.
pub(crate) const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub(crate) const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Every caller's buckets.
pub(crate) struct RateLimits {
    settings: Arc<GatewaySettings>,
    buckets: Box<dyn RateLimiter>,
}

impl RateLimits {
    /// Full buckets for everybody, or those that the gateways share.
    pub(crate) fn new(
        settings: Arc<GatewaySettings>,
        redis: Option<Redis>,
    ) -> anyhow::Result<Self> {
        let buckets: Box<dyn RateLimiter> = match (settings.rate_store, redis) {
            (RateStore::Local, _) => Box::new(TokenBuckets::new(settings.rate_keys)),
            (RateStore::Redis, Some(redis)) => {
                Box::new(SharedBuckets::new(redis, settings.rate_keys))
            }
            (RateStore::Redis, None) => bail!(
                "gateway.rate_store is redis and redis.url is not set: set it, or \
                 gateway.rate_store = \"local\""
            ),
        };
        Ok(Self { settings, buckets })
    }

    /// Takes a call's cost from the subject's bucket, and says in the reply's headers what is left.
    pub(crate) async fn take(
        &self,
        subject: &str,
        class: Option<&str>,
        plan: Option<&str>,
        cost: u32,
        reply: &mut HeaderMap,
    ) -> Result<()> {
        let class = class.unwrap_or(DEFAULT_CLASS);
        let rate = self.settings.rate(class, plan.unwrap_or(DEFAULT_PLAN));
        let quota = Quota { limit: rate.count, per: rate.per };
        let window = rate.per.as_secs();
        let key = format!("{subject}:{class}:{window}");
        let decision = self.buckets.decide(&key, quota, cost.max(1)).await;
        announce(class, quota, &decision, reply);
        if decision.allowed {
            return Ok(());
        }
        let message = format!("at most {} {class} calls in {window} s are allowed", rate.count);
        Err(Error::new(RATE_LIMITED, message)
            .detail("rate_class", class)
            .retry_after(decision.retry_after))
    }
}

fn announce(class: &str, quota: Quota, decision: &Decision, reply: &mut HeaderMap) {
    let policy = format!("\"{class}\";q={};w={}", quota.limit, quota.per.as_secs());
    let wait = if decision.allowed { decision.reset_after } else { decision.retry_after };
    let state = format!("\"{class}\";r={};t={}", decision.remaining, whole_seconds(wait));
    for (name, value) in [(RATELIMIT_POLICY, policy), (RATELIMIT, state)] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            reply.insert(name, value);
        }
    }
}
