//! What plans include is known to processes that have just started, and is never guessed.

use std::time::Duration;

use mainstay::contract::billing::{GrpcBillingClient, RemoteEntitlements, SERVICE};
use mainstay::kernel::call::User;
use mainstay::kernel::error::UNAVAILABLE;
use mainstay::kernel::policy::Entitlements as _;
use mainstay::kernel::redis::Redis;
use mainstay::kernel::telemetry::Metrics;
use mainstay_testing::{FakeBilling, PrivateRedis, TestMesh, within};

use super::connect;

const USER: &str = "01900000-0000-7000-8000-000000000001";
const CATALOGUE: [(&str, &[&str]); 2] = [("free", &[]), ("ai", &["library.recommendations"])];
const KEPT: Duration = Duration::from_secs(300);

/// What another process knows.
fn entitlements(mesh: &TestMesh, fresh: Duration, redis: &Redis) -> RemoteEntitlements {
    let billing = GrpcBillingClient::new(mesh.channel("gateway", SERVICE));
    let metrics = Metrics::new("test", "0");
    RemoteEntitlements::with_times(billing, Some(redis.clone()), &metrics, fresh, KEPT)
}

/// A user whose token says nothing of a plan.
fn user(id: &str) -> User {
    User { id: id.to_owned(), plan: String::new(), session_id: None }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_answer_is_everybodys_and_without_one_nothing_is_said() {
    let (mut server, mesh) = (PrivateRedis::start().await, TestMesh::new());
    let billing = FakeBilling::new(&CATALOGUE);
    let running = billing.start(&mesh).await;
    let (redis, _) = connect(&server).await;
    let old = entitlements(&mesh, Duration::from_millis(1), &redis);
    assert_eq!(old.plan_of(&user(USER)).await.unwrap().id, "free");
    assert_eq!(old.plans_with("library.recommendations").await, ["ai"]);

    running.drain().await;
    let started = within(Duration::from_secs(5), "the answer is shared", async || {
        let started = entitlements(&mesh, Duration::from_millis(1), &redis);
        (started.plan_of(&user(USER)).await.ok()?.id == "free").then_some(started)
    });
    let started = started.await;
    assert_eq!(started.plans_with("library.recommendations").await, ["ai"], "so are the plans");
    let unknown = started.plan_of(&user("01900000-0000-7000-8000-000000000009")).await.unwrap_err();
    assert!(unknown.is(&UNAVAILABLE), "{unknown:?}");

    for outage in ["stalled", "killed"] {
        match outage {
            "killed" => server.kill(),
            _ => server.stall(),
        }
        assert_eq!(
            old.plan_of(&user(USER)).await.unwrap().id,
            "free",
            "{outage}: its own last answer"
        );
        let started = entitlements(&mesh, Duration::from_millis(1), &redis);
        let unknown = started.plan_of(&user(USER)).await.unwrap_err();
        assert!(unknown.is(&UNAVAILABLE), "{outage}: {unknown:?}");
        if outage == "stalled" {
            server.resume();
            super::back(&redis).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_process_knows_is_used_before_billing_is_asked() {
    let (server, mesh) = (PrivateRedis::start().await, TestMesh::new());
    let billing = FakeBilling::new(&CATALOGUE);
    let _running = billing.start(&mesh).await;
    let (redis, _) = connect(&server).await;
    let old = entitlements(&mesh, KEPT, &redis);
    let ada = user(USER);
    assert_eq!(old.plan_of(&ada).await.unwrap().id, "free");
    assert_eq!(old.plans_with("library.recommendations").await, ["ai"]);
    billing.leave_questions(true);
    within(Duration::from_secs(5), "the answer is shared", async || {
        let started = entitlements(&mesh, KEPT, &redis);
        let at_once = Duration::from_secs(1);
        let plan = tokio::time::timeout(at_once, started.plan_of(&ada)).await.ok()?.unwrap();
        assert_eq!(plan.id, "free");
        let plans = started.plans_with("library.recommendations");
        assert_eq!(tokio::time::timeout(at_once, plans).await.ok()?, ["ai"]);
        Some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_plan_shows_at_once_with_redis_or_without() {
    let (mut server, mesh) = (PrivateRedis::start().await, TestMesh::new());
    let billing = FakeBilling::new(&CATALOGUE);
    let _running = billing.start(&mesh).await;
    let (redis, _) = connect(&server).await;
    // So long that only what billing tells can make it show.
    let gateway = entitlements(&mesh, Duration::from_secs(60), &redis);
    assert_eq!(gateway.plan_of(&user(USER)).await.unwrap().id, "free");
    for (plan, other) in [("ai", "free"), ("free", "ai")] {
        billing.subscribe(USER, plan);
        within(Duration::from_secs(5), "the new plan shows", async || {
            let known = gateway.plan_of(&user(USER)).await.unwrap();
            assert!(known.id == plan || known.id == other, "{known:?}");
            (known.id == plan).then_some(())
        })
        .await;
        server.kill();
    }
}
