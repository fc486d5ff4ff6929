//! The limits by rate class: how many calls of a class a caller may make, by plan.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use http::{HeaderMap, HeaderName, HeaderValue};
use mainstay::kernel::error::{Error, RATE_LIMITED, Result};
use mainstay::kernel::limit::{
    Decision, Quota, RateLimiter as _, ReconciledBuckets, SharedBuckets, TokenBuckets,
};
use mainstay::kernel::redis::Redis;
use tokio_util::sync::CancellationToken;

use crate::config::{DEFAULT_CLASS, DEFAULT_PLAN, GatewaySettings, Rate, RateMode};
use crate::error::whole_seconds;
use crate::metrics::GatewayMetrics;

/// Names of draft-ietf-httpapi-ratelimit-headers.
pub(crate) const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub(crate) const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The table class x plan, compiled.
pub(crate) struct RatePolicies {
    classes: HashMap<String, Class>,
    default: Class,
}

struct Class {
    plans: HashMap<String, Arc<RateRow>>,
    default: Arc<RateRow>,
}

/// What one plan may do of one class.
pub(crate) struct RateRow {
    class: String,
    quota: Quota,
    /// Counted and logged, and not enforced.
    is_shadow: bool,
    policy: HeaderValue,
}

impl RatePolicies {
    /// Compiles the table of the settings.
    ///
    /// # Errors
    /// When the name of a class cannot stand in a header.
    pub(crate) fn compile(settings: &GatewaySettings) -> anyhow::Result<Self> {
        let shadow: HashSet<&str> = settings.rates_shadow.iter().map(String::as_str).collect();
        let classes = settings.rates.iter().map(|(name, plans)| {
            let row = |rate: &Rate| RateRow::compile(name, *rate, shadow.contains(name.as_str()));
            let default = row(plans.get(DEFAULT_PLAN).context("no default plan")?)?;
            let plans = plans.iter().map(|(plan, rate)| Ok((plan.clone(), row(rate)?)));
            Ok((name.clone(), Class { plans: plans.collect::<anyhow::Result<_>>()?, default }))
        });
        let mut classes = classes.collect::<anyhow::Result<HashMap<_, _>>>()?;
        let default = classes.remove(DEFAULT_CLASS).context("no default class")?;
        Ok(Self { classes, default })
    }

    /// The row of a class for a plan. A class that the table does not know has the row of the default
    /// class, and shares its buckets.
    pub(crate) fn row(&self, class: Option<&str>, plan: Option<&str>) -> Arc<RateRow> {
        let class = class.and_then(|class| self.classes.get(class)).unwrap_or(&self.default);
        Arc::clone(plan.and_then(|plan| class.plans.get(plan)).unwrap_or(&class.default))
    }
}

impl RateRow {
    fn compile(class: &str, rate: Rate, is_shadow: bool) -> anyhow::Result<Arc<Self>> {
        let quota = Quota { limit: rate.count, per: rate.per };
        let policy = format!("\"{class}\";q={};w={}", quota.limit, quota.per.as_secs());
        let policy = HeaderValue::from_str(&policy)
            .ok()
            .filter(|_| class.bytes().all(|c| c.is_ascii_graphic() && !b"\"\\".contains(&c)))
            .with_context(|| {
                format!(
                    "gateway.rates.{class:?} is no name of a class: use letters, digits, `-`, `_`"
                )
            })?;
        Ok(Arc::new(Self { class: class.to_owned(), quota, is_shadow, policy }))
    }
}

/// Every caller's buckets.
pub(crate) struct RateLimits {
    buckets: Buckets,
    metrics: GatewayMetrics,
}

enum Buckets {
    Local(TokenBuckets),
    Fast(Arc<ReconciledBuckets>),
    Strict(SharedBuckets),
}

impl RateLimits {
    /// Full buckets for everybody, or those that the gateways share. Where they are compared in the
    /// background, that ends with the shutdown.
    pub(crate) fn new(
        settings: &GatewaySettings,
        redis: Option<Redis>,
        metrics: GatewayMetrics,
        shutdown: CancellationToken,
    ) -> anyhow::Result<Self> {
        let keys = settings.rate_keys;
        let buckets = match (settings.rate_mode, redis) {
            (RateMode::Fast, Some(redis)) => {
                let buckets = Arc::new(ReconciledBuckets::new(redis, keys));
                tokio::spawn(Arc::clone(&buckets).run(shutdown));
                Buckets::Fast(buckets)
            }
            (RateMode::Fast | RateMode::Local, _) => Buckets::Local(TokenBuckets::new(keys)),
            (RateMode::Strict, Some(redis)) => Buckets::Strict(SharedBuckets::new(redis, keys)),
            (RateMode::Strict, None) => bail!(
                "gateway.rate_mode is strict and redis.url is not set: set it, or \
                 gateway.rate_mode = \"fast\""
            ),
        };
        Ok(Self { buckets, metrics })
    }

    /// Takes a call's cost from the subject's bucket, and says in the reply's headers what is left.
    pub(crate) async fn take(
        &self,
        row: Arc<RateRow>,
        subject: &str,
        cost: u32,
        reply: &mut HeaderMap,
    ) -> Result<()> {
        let (class, quota, window) = (&*row.class, row.quota, row.quota.per.as_secs());
        let key = bucket(subject, &row);
        let decision = match &self.buckets {
            Buckets::Local(buckets) => buckets.take(&key, quota, cost.max(1)),
            Buckets::Fast(buckets) => buckets.take(&key, quota, cost.max(1)),
            Buckets::Strict(buckets) => buckets.decide(&key, quota, cost.max(1)).await,
        };
        if !row.is_shadow {
            announce(&row, &decision, reply);
        }
        if decision.allowed {
            return Ok(());
        }
        self.metrics.over_limit(class, !row.is_shadow);
        if row.is_shadow {
            tracing::info!(class, limit = quota.limit, window, "over a limit that is in shadow");
            return Ok(());
        }
        let message = format!("at most {} {class} calls in {window} s are allowed", quota.limit);
        Err(Error::new(RATE_LIMITED, message)
            .detail("rate_class", class)
            .retry_after(decision.retry_after))
    }
}

/// The name of a subject's bucket, which the gateways share.
fn bucket(subject: &str, row: &RateRow) -> String {
    format!("{subject}:{}:{}", row.class, row.quota.per.as_secs())
}

fn announce(row: &RateRow, decision: &Decision, reply: &mut HeaderMap) {
    reply.insert(RATELIMIT_POLICY, row.policy.clone());
    let wait = if decision.allowed { decision.reset_after } else { decision.retry_after };
    let (mut remaining, mut seconds) = (itoa::Buffer::new(), itoa::Buffer::new());
    let (remaining, seconds) =
        (remaining.format(decision.remaining), seconds.format(whole_seconds(wait)));
    // Every reply has it: put together from its pieces, not formatted.
    let state = ["\"", &row.class, "\";r=", remaining, ";t=", seconds].concat();
    if let Ok(state) = HeaderValue::try_from(state) {
        reply.insert(RATELIMIT, state);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test fails by panicking
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_named_by_subject_class_and_seconds() {
        let row = RateRow::compile("read", Rate::per_minute(600), false).unwrap();
        assert_eq!(bucket("user:1", &row), "user:1:read:60");
        let row = RateRow::compile("ai", "5/1h".parse().unwrap(), false).unwrap();
        assert_eq!(bucket("ip:10.0.0.1", &row), "ip:10.0.0.1:ai:3600");
    }
}
