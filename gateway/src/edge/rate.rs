//! The limits by rate class: how many calls of a class a caller may make, by plan.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use mainstay::kernel::error::{Error, RATE_LIMITED, Result};
use mainstay::kernel::limit::{Decision, Quota, TokenBuckets};

use crate::config::{DEFAULT_CLASS, DEFAULT_PLAN, GatewaySettings};
use crate::error::whole_seconds;

/// Names of draft-ietf-httpapi-ratelimit-headers.
pub(crate) const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub(crate) const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Every caller's buckets.
pub(crate) struct RateLimits {
    settings: Arc<GatewaySettings>,
    buckets: TokenBuckets,
}

impl RateLimits {
    /// Full buckets for everybody.
    pub(crate) fn new(settings: Arc<GatewaySettings>) -> Self {
        let buckets = TokenBuckets::new(settings.rate_keys);
        Self { settings, buckets }
    }

    /// Takes a call's cost from the subject's bucket, and says in the reply's headers what is left.
    pub(crate) fn take(
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
        let decision = self.buckets.take(&format!("{class} {subject}"), quota, cost.max(1));
        announce(class, quota, &decision, reply);
        if decision.allowed {
            return Ok(());
        }
        let per = rate.per.as_secs();
        let message = format!("at most {} {class} calls in {per} s are allowed", rate.count);
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
