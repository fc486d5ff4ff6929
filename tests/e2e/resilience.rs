//! Services die, restart and drain; nothing acknowledged is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::Method;
use mainstay_testing::{Platform, eventually};
use serde_json::json;

use crate::people::{PASSWORD, Person};

/// Limits that no story of many calls reaches.
pub(crate) const UNLIMITED: [(&str, &str); 3] = [
    ("MAINSTAY_GATEWAY__RATES__READ__DEFAULT", "1000000/1m"),
    ("MAINSTAY_GATEWAY__IP_RATE", "1000000/1m"),
    ("MAINSTAY_GATEWAY__IP_BURST", "1000000"),
];

/// Every process of the platform.
const SERVICES: [&str; 6] =
    ["gateway", "auth-svc", "identity-svc", "billing-svc", "audit-svc", "authz-svc"];

#[tokio::test]
async fn data_survives_a_restart_of_everything() {
    let mut platform = Platform::start().await;
    let ada = Person::register(&platform, "ada").await;
    let admin = Person::admin(&platform).await;
    let bio = json!({"bio": "counts engines"});
    assert_eq!(ada.rest.patch("/api/v1/users/me", bio).await.status, 200);
    let subscription = json!({"plan": "ai"});
    ada.rest.post("/api/v1/billing/subscription", subscription).await;
    let before = eventually("audit has it all", async || {
        let all =
            admin.rest.get("/api/v1/audit/events?action=billing.v1.SubscriptionChanged").await;
        (all.json()["data"].as_array()?.len() == 1).then_some(all.json()["data"].clone())
    })
    .await;

    for service in SERVICES {
        platform.stop(service).await;
    }
    for service in SERVICES {
        platform.revive(service).await;
    }
    let me = ada.rest.get("/api/v1/users/me").await;
    assert_eq!(me.json()["data"]["bio"], "counts engines", "tokens outlive a restart: {me:?}");
    let plan = ada.rest.get("/api/v1/billing/subscription").await;
    assert_eq!(plan.json()["data"]["plan"], "ai");
    let after = admin.rest.get("/api/v1/audit/events?action=billing.v1.SubscriptionChanged").await;
    assert_eq!(after.json()["data"], before);
    let verdict = admin.rest.post("/api/v1/audit/verify", json!({})).await;
    assert_eq!(verdict.json()["data"]["intact"], true, "{verdict:?}");
}

#[tokio::test]
async fn a_killed_service_answers_503_and_is_back_when_it_is() {
    let mut platform = Platform::start().await;
    let ada = Person::register(&platform, "ada").await;
    platform.kill("identity-svc");
    let away = eventually("the gateway notices", async || {
        let reply = ada.rest.get("/api/v1/users/me").await;
        (reply.status == 503).then_some(reply)
    })
    .await;
    assert!(away.headers.contains_key("retry-after"), "{away:?}");
    assert_eq!(away.json()["error"]["code"], "UNAVAILABLE");
    let plans = ada.rest.get("/api/v1/billing/plans").await;
    assert_eq!(plans.status, 200, "the others go on");
    platform.revive("identity-svc").await;
    eventually("identity is routed again", async || {
        (ada.rest.get("/api/v1/users/me").await.status == 200).then_some(())
    })
    .await;
}

/// Half of what the chart lets the process have.
const MOST_MEMORY_KIB: u64 = 256 * 1024;

#[tokio::test]
async fn a_flood_of_logins_takes_the_memory_of_the_few_that_are_hashed_at_once() {
    let hashes = [
        ("MAINSTAY_GATEWAY__RATES__AUTH__DEFAULT", "1000000/1m"),
        ("MAINSTAY_AUTH__PASSWORD_CONCURRENCY", "2"),
    ];
    let mut platform = Platform::start_with(&[&UNLIMITED[..], &hashes].concat()).await;
    let rest = platform.rest();
    let logins = stream::iter(0..150).map(|number| {
        let email = format!("nobody-{number}@example.com");
        let credentials = json!({ "email": email, "password": PASSWORD });
        async { rest.post("/api/v1/auth/login", credentials).await.status }
    });
    let answers: Vec<u16> = logins.buffer_unordered(16).collect().await;
    assert!(answers.iter().all(|status| *status == 401), "{answers:?}");
    let process = platform.process_ids()["auth-svc"].unwrap();
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < MOST_MEMORY_KIB, "auth took {peak} KiB at most");
}

#[tokio::test]
async fn registration_completes_though_the_others_were_down() {
    let mut platform = Platform::start().await;
    for service in ["identity-svc", "authz-svc", "audit-svc"] {
        platform.stop(service).await;
    }
    let request =
        json!({"email": "late@example.com", "password": PASSWORD, "display_name": "Late"});
    let registered = platform.rest().post("/api/v1/auth/register", request).await;
    assert_eq!(registered.status, 200, "{registered:?}");
    let late = Person::login(&platform, "late@example.com", PASSWORD).await;
    assert_eq!(registered.json()["data"]["id"], late.id);
    assert_eq!(late.rest.get("/api/v1/users/me").await.status, 503);

    for service in ["identity-svc", "authz-svc", "audit-svc"] {
        platform.revive(service).await;
    }
    let me = eventually("the user is there", async || {
        let me = late.rest.get("/api/v1/users/me").await;
        (me.status == 200).then_some(me)
    })
    .await;
    assert_eq!(me.json()["data"]["display_name"], "Late");
    let admin = Person::admin(&platform).await;
    eventually("the role is bound", async || {
        let path = format!("/api/v1/role-bindings?subject=user:{}", late.id);
        let bindings = admin.rest.get(&path).await;
        (bindings.json()["data"][0]["role_name"] == "member").then_some(())
    })
    .await;
    eventually("audit has the registration", async || {
        let path = format!("/api/v1/audit/events?resource=users/{}", late.id);
        let events = admin.rest.get(&path).await;
        let events = events.json()["data"].as_array()?.clone();
        events.iter().any(|event| event["action"] == "auth.v1.AccountRegistered").then_some(())
    })
    .await;
}

#[tokio::test]
async fn draining_a_service_loses_no_call() {
    let mut platform = Platform::start_with(&UNLIMITED).await;
    let ada = Arc::new(Person::register(&platform, "ada").await);
    let stop = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (ada, stop) = (Arc::clone(&ada), Arc::clone(&stop));
            let answered = Arc::clone(&answered);
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    // Every call made before the service left must be answered; those made while
                    // nobody is there are told so, with a time to come back.
                    let reply = ada.rest.get("/api/v1/users/me").await;
                    let told = reply.status == 503 && reply.headers.contains_key("retry-after");
                    assert!(reply.status == 200 || told, "{reply:?}");
                    answered.fetch_add(usize::from(reply.status == 200), Ordering::SeqCst);
                }
            })
        })
        .collect();
    for _ in 0..2 {
        platform.stop("identity-svc").await;
        platform.revive("identity-svc").await;
    }
    stop.store(true, Ordering::SeqCst);
    for caller in callers {
        caller.await.unwrap();
    }
    assert!(answered.load(Ordering::SeqCst) > 0);
}

#[tokio::test]
async fn draining_the_gateway_loses_no_call() {
    let mut platform = Platform::start_with(&UNLIMITED).await;
    let ada = Arc::new(Person::register(&platform, "ada").await);
    let answered = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (ada, answered) = (Arc::clone(&ada), Arc::clone(&answered));
            tokio::spawn(async move {
                loop {
                    match ada
                        .rest
                        .try_send(Method::GET, "/api/v1/users/me", &[], Bytes::new())
                        .await
                    {
                        Ok(reply) => assert_eq!(reply.status, 200, "{reply:?}"),
                        // Nobody listens any more: the call was never made, so none was lost.
                        Err(error) if format!("{error:?}").contains("ConnectError") => return,
                        Err(error) => panic!("a call was cut off: {error:?}"),
                    }
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    eventually("calls are in flight", async || {
        (answered.load(Ordering::SeqCst) > 20).then_some(())
    })
    .await;
    platform.stop("gateway").await;
    for caller in callers {
        caller.await.unwrap();
    }
}
