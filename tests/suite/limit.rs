//! What every rate limiter must do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use mainstay::kernel::limit::{Decision, Quota, RateLimiter};

/// So slow that nothing comes back while a test runs.
const QUOTA: Quota = Quota { limit: 10, per: Duration::from_secs(3_600) };

/// One token of [`QUOTA`].
const TOKEN: Duration = Duration::from_secs(360);

/// How much a test may have taken of the time that it looks at.
const SLACK: Duration = Duration::from_secs(60);

/// The whole contract, on full buckets.
pub(crate) async fn contract(limiter: Arc<dyn RateLimiter>) {
    a_bucket_empties(&limiter).await;
    costs_are_taken_whole(&limiter).await;
    callers_at_the_same_time_share_one_bucket(&limiter).await;
    a_bucket_refills(&limiter).await;
    extreme_quotas_hold(&limiter).await;
    a_quota_that_shrinks_holds_at_once(&limiter).await;
}

async fn a_bucket_empties(limiter: &Arc<dyn RateLimiter>) {
    for taken in 1..=10 {
        let decision = limiter.decide("empties", QUOTA, 1).await;
        assert!(decision.allowed && decision.retry_after.is_zero(), "{decision:?}");
        assert_eq!((decision.limit, decision.remaining), (10, 10 - taken));
        assert_about(decision.reset_after, TOKEN * taken);
    }
    let refused = limiter.decide("empties", QUOTA, 1).await;
    assert!(!refused.allowed, "{refused:?}");
    assert_eq!((refused.limit, refused.remaining), (10, 0));
    assert_about(refused.reset_after, QUOTA.per);
    assert_about(refused.retry_after, TOKEN);
    assert!(limiter.decide("another key", QUOTA, 1).await.allowed, "keys are independent");
}

async fn costs_are_taken_whole(limiter: &Arc<dyn RateLimiter>) {
    assert_eq!(limiter.decide("costs", QUOTA, 7).await.remaining, 3);
    let refused = limiter.decide("costs", QUOTA, 5).await;
    assert_eq!((refused.allowed, refused.remaining), (false, 3));
    assert_about(refused.retry_after, TOKEN * 2);
    let nothing = limiter.decide("costs", QUOTA, 0).await;
    assert_eq!((nothing.allowed, nothing.remaining), (true, 3), "nothing costs nothing");
    assert!(limiter.decide("costs", QUOTA, 3).await.allowed, "a refusal takes nothing");
    assert!(limiter.decide("dear", QUOTA, 1_000).await.allowed, "more than all is all");
    assert!(!limiter.decide("dear", QUOTA, 1).await.allowed);
}

async fn callers_at_the_same_time_share_one_bucket(limiter: &Arc<dyn RateLimiter>) {
    let quota = Quota { limit: 20, ..QUOTA };
    let callers = (0..100).map(|_| {
        let limiter = Arc::clone(limiter);
        tokio::spawn(async move { limiter.decide("shared", quota, 1).await })
    });
    let decisions = join_all(callers).await;
    let mut left: Vec<u32> = decisions
        .into_iter()
        .map(Result::unwrap)
        .filter_map(|Decision { allowed, remaining, .. }| allowed.then_some(remaining))
        .collect();
    left.sort_unstable();
    assert_eq!(left, (0..20).collect::<Vec<_>>(), "each token is given once");
}

async fn a_bucket_refills(limiter: &Arc<dyn RateLimiter>) {
    let quota = Quota { limit: 2, per: Duration::from_secs(2) };
    let start = Instant::now();
    assert!(limiter.decide("refills", quota, 2).await.allowed);
    let refused = limiter.decide("refills", quota, 1).await;
    if start.elapsed() < Duration::from_millis(900) {
        assert!(!refused.allowed, "{refused:?}");
        assert!(refused.retry_after <= Duration::from_secs(1), "{refused:?}");
    }
    loop {
        let decision = limiter.decide("refills", quota, 1).await;
        if decision.allowed {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "the token is not back: {decision:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let back = start.elapsed();
    assert!(back >= Duration::from_millis(990), "a token comes back after a second, not {back:?}");
}

async fn extreme_quotas_hold(limiter: &Arc<dyn RateLimiter>) {
    let none = limiter.decide("none", Quota { limit: 0, ..QUOTA }, 1).await;
    assert_eq!((none.allowed, none.remaining, none.limit), (false, 0, 0));
    let odd = Quota { limit: 7, ..QUOTA };
    for taken in 1..=7 {
        let decision = limiter.decide("odd", odd, 1).await;
        assert_eq!((decision.allowed, decision.remaining), (true, 7 - taken), "{decision:?}");
    }
    assert!(!limiter.decide("odd", odd, 1).await.allowed);
    let large = Quota { limit: 1_000_000, per: Duration::from_secs(30 * 24 * 3_600) };
    assert_eq!(limiter.decide("large", large, 1).await.remaining, 999_999);
    assert_eq!(limiter.decide("large", large, 999_998).await.remaining, 1);
    let strange = "користувач:\u{0}:*?[]{}\r\n";
    assert_eq!(limiter.decide(strange, QUOTA, 1).await.remaining, 9);
    assert_eq!(limiter.decide(strange, QUOTA, 1).await.remaining, 8);
}

async fn a_quota_that_shrinks_holds_at_once(limiter: &Arc<dyn RateLimiter>) {
    assert!(limiter.decide("shrinks", QUOTA, 10).await.allowed);
    let smaller = Quota { per: Duration::from_secs(600), ..QUOTA };
    let refused = limiter.decide("shrinks", smaller, 1).await;
    assert_eq!((refused.allowed, refused.remaining), (false, 0));
}

/// A time that the test's own pace may have made shorter.
fn assert_about(time: Duration, expected: Duration) {
    assert!(time <= expected && time + SLACK >= expected, "{time:?} is not about {expected:?}");
}
