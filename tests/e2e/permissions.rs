//! Roles are taken away and given while calls run, and authz goes away: over real processes.

use std::time::{Duration, Instant};

use mainstay_testing::{Platform, Rest, eventually, within};
use serde_json::json;

use crate::people::Person;
use crate::resilience::UNLIMITED;

/// How long a role that was taken away may still be used.
const BOUND: Duration = Duration::from_secs(2);

async fn list(rest: &Rest) -> u16 {
    rest.get("/api/v1/users").await.status
}

/// Calls until the reply is another one than 200; none that was asked for after the bound is 200.
async fn call_until(rest: Rest, status: u16, since: Instant) {
    loop {
        let begun = since.elapsed();
        match list(&rest).await {
            200 => assert!(begun < BOUND, "let through {begun:?} after"),
            other => return assert_eq!(other, status),
        }
    }
}

async fn grant(admin: &Person, user: &Person) -> String {
    let binding = json!({"role_id": "lister", "subject": format!("user:{}", user.id)});
    let reply = admin.rest.post("/api/v1/role-bindings", binding).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()["data"]["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_counts_at_once_ends_within_two_seconds_and_an_outage_opens_no_door() {
    let mut platform = Platform::start_with(&UNLIMITED).await;
    let (admin, ada) = (Person::admin(&platform).await, Person::register(&platform, "ada").await);
    let role = json!({"name": "lister", "permissions": ["identity.users.list"]});
    assert_eq!(admin.rest.post("/api/v1/roles", role).await.status, 200);

    assert_eq!(list(&ada.rest).await, 403);
    let binding = grant(&admin, &ada).await;
    within(BOUND, "the grant is told", async || (list(&ada.rest).await == 200).then_some(())).await;

    let calls: Vec<_> = (0..3).map(|_| ada.rest.clone()).collect();
    let path = format!("/api/v1/role-bindings/{binding}");
    assert_eq!(admin.rest.delete(&path).await.status, 200);
    let taken = Instant::now();
    let calls = calls.into_iter().map(|rest| tokio::spawn(call_until(rest, 403, taken)));
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }

    grant(&admin, &ada).await;
    eventually("ada may again", async || (list(&ada.rest).await == 200).then_some(())).await;
    platform.kill("authz-svc");
    let killed = Instant::now();
    call_until(ada.rest.clone(), 503, killed).await;
    let me = ada.rest.get("/api/v1/users/me").await;
    assert_eq!(me.status, 200, "what is one's own needs no decision: {me:?}");
    platform.revive("authz-svc").await;
    eventually("decisions are made again", async || (list(&ada.rest).await == 200).then_some(()))
        .await;
}
