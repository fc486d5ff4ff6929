//! The whole platform under load while its Redis is killed, restarted and stalled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use mainstay_testing::{Platform, PrivateRedis, Rest, within};
use serde_json::json;

use super::RECOVERY;

/// Every process that uses Redis.
const SERVICES: [&str; 3] = ["gateway", "auth-svc", "identity-svc"];

/// Callers who never stop, and what they are answered.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    callers: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn of(rest: &Rest) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::<AtomicUsize>::default());
        let callers = (0..3)
            .map(|_| {
                let (rest, stop, answered) = (rest.clone(), stop.clone(), answered.clone());
                tokio::spawn(async move {
                    while !stop.load(Ordering::SeqCst) {
                        let reply = rest.get("/api/v1/users/me").await;
                        assert_eq!(reply.status, 200, "nothing waits for redis: {reply:?}");
                        answered.fetch_add(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        Self { stop, answered, callers }
    }

    /// Waits until some more were answered.
    async fn goes_on(&self) {
        let before = self.answered.load(Ordering::SeqCst);
        within(Duration::from_secs(10), "calls are answered", async || {
            (self.answered.load(Ordering::SeqCst) > before + 20).then_some(())
        })
        .await;
    }

    async fn end(self) {
        self.stop.store(true, Ordering::SeqCst);
        for caller in self.callers {
            caller.await.unwrap();
        }
    }
}

async fn readiness(platform: &Platform, status: &str) {
    for service in SERVICES {
        within(RECOVERY, &format!("{service} is {status}"), async || {
            let reply = platform.admin_port(service).get("/readyz").await;
            assert_eq!(reply.status, 200, "{service} takes traffic");
            (reply.json()["status"] == status).then_some(())
        })
        .await;
    }
}

/// A session that is revoked is refused soon, whatever Redis does.
async fn a_logout_holds(platform: &Platform, email: &str) {
    let account = platform.sign_up(email).await;
    let token = json!({ "refresh_token": account.tokens["refresh_token"] });
    platform.rest().post("/api/v1/auth/logout", token).await.expect(200);
    within(Duration::from_secs(4), "the session is refused", async || {
        (account.rest.get("/api/v1/users/me").await.status == 401).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_answered_while_redis_is_killed_stalled_and_restarted() {
    let mut server = PrivateRedis::start().await;
    let platform = Platform::start_with(&[
        ("MAINSTAY_REDIS__URL", &server.url()),
        ("MAINSTAY_CACHE__KIND", "redis"),
        ("MAINSTAY_GATEWAY__RATE_MODE", "strict"),
        ("MAINSTAY_GATEWAY__RATES__READ__DEFAULT", "1000000/1m"),
        ("MAINSTAY_GATEWAY__IP_RATE", "1000000/1m"),
        ("MAINSTAY_GATEWAY__IP_BURST", "1000000"),
    ])
    .await;
    let ada = platform.sign_up("ada@example.com").await;
    let load = Load::of(&ada.rest);
    readiness(&platform, "ready").await;
    a_logout_holds(&platform, "with-redis@example.com").await;

    server.kill();
    readiness(&platform, "degraded").await;
    load.goes_on().await;
    a_logout_holds(&platform, "killed@example.com").await;
    server.restart().await;
    readiness(&platform, "ready").await;
    load.goes_on().await;

    server.stall();
    readiness(&platform, "degraded").await;
    load.goes_on().await;
    a_logout_holds(&platform, "stalled@example.com").await;
    server.resume();
    readiness(&platform, "ready").await;
    load.goes_on().await;
    load.end().await;

    for service in SERVICES {
        let page = platform.admin_port(service).get("/metrics").await.text();
        assert!(page.contains("mainstay_redis_away 0"), "{page}");
        let log = platform.logs(service);
        assert!(!log.contains("correct-horse"), "the password is in the log of {service}");
    }
    let page = platform.admin_port("gateway").get("/metrics").await.text();
    assert!(page.contains("mainstay_redis_fallbacks_total{purpose=\"limit\"}"), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_asks_redis_where_limits_are_compared_afterwards() {
    let server = PrivateRedis::start().await;
    let platform = Platform::start_with(&[
        ("MAINSTAY_REDIS__URL", &server.url()),
        ("MAINSTAY_GATEWAY__RATES__READ__DEFAULT", "1000000/1m"),
        ("MAINSTAY_GATEWAY__IP_RATE", "1000000/1m"),
        ("MAINSTAY_GATEWAY__IP_BURST", "1000000"),
    ])
    .await;
    let ada = platform.sign_up("ada@example.com").await;
    // What is asked once, about the user's plan and session, is known from here on.
    ada.rest.get("/api/v1/users/me").await.expect(200);

    let before = server.reads();
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let rest = ada.rest.clone();
            tokio::spawn(async move {
                for _ in 0..100 {
                    rest.get("/api/v1/users/me").await.expect(200);
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    let asked = server.reads() - before;
    assert!(asked > 0, "the limits are compared");
    assert!(asked < 200, "redis was asked {asked} times in 800 calls");
}
