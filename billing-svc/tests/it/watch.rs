//! Those who keep what users' plans include are told who changed plans.

use std::time::Duration;

use billing_svc::config::Config;
use futures::{Stream, StreamExt as _};
use mainstay::contract::billing::proto::{WatchPlansRequest, WatchPlansResponse};
use mainstay::contract::billing::{GrpcBillingClient, RemoteEntitlements, SERVICE};
use mainstay::contract::identity::UserId;
use mainstay::kernel::Result;
use mainstay::kernel::call::User;
use mainstay::kernel::lifecycle::Drained;
use mainstay::kernel::policy::Entitlements as _;
use mainstay::kernel::settings::Transport;
use mainstay::kernel::telemetry::Metrics;
use mainstay_testing::within;

use crate::harness::{Billing, TRANSPORTS};

/// The next message of a stream; one comes every half second.
async fn next(
    stream: &mut (impl Stream<Item = Result<WatchPlansResponse>> + Unpin),
) -> WatchPlansResponse {
    let next = tokio::time::timeout(Duration::from_secs(30), stream.next()).await;
    next.expect("a message every half second").expect("the stream goes on").unwrap()
}

/// Hears until so many changes were told, and says which: user and plan.
async fn told(
    stream: &mut (impl Stream<Item = Result<WatchPlansResponse>> + Unpin),
    count: usize,
) -> Vec<(String, String)> {
    let mut told = Vec::new();
    while told.len() < count {
        let message = next(stream).await;
        assert!(!message.incomplete, "{message:?}");
        told.extend(message.changes.into_iter().map(|change| (change.user_id, change.plan)));
    }
    told
}

#[tokio::test]
async fn each_change_of_a_plan_is_told_once_in_order_and_from_where_one_was() {
    for transport in TRANSPORTS {
        let billing = Billing::start(Config::default(), transport).await;
        let (ada, bob) = (UserId::new(), UserId::new());
        let watch = async |after_revision| {
            billing.client.watch_plans(WatchPlansRequest { after_revision }).await.unwrap()
        };
        let mut stream = watch(0).await;
        let first = next(&mut stream).await;
        assert!(first.changes.is_empty() && first.revision > 0, "{first:?}");
        billing.subscribe(ada, "paid").await.unwrap();
        billing.change(ada, "ai").await.unwrap();
        billing.subscribe(bob, "paid").await.unwrap();
        billing.subscription(UserId::new()).await; // whoever begins on `free` has changed nothing
        let of = |user: UserId, plan: &str| (user.to_string(), plan.to_owned());
        let expected = [of(ada, "paid"), of(ada, "ai"), of(bob, "paid")];
        assert_eq!(told(&mut stream, 3).await, expected);

        let beat = next(&mut stream).await;
        assert!(beat.changes.is_empty(), "{beat:?}");
        assert_eq!(beat.revision, first.revision + 3);
        assert_eq!(told(&mut watch(beat.revision - 1).await, 1).await, expected[2..]);
        assert_eq!(told(&mut watch(0).await, 3).await, expected, "to one who knows nothing");

        let restarted = billing.restart(Config::default()).await;
        let request = WatchPlansRequest { after_revision: first.revision };
        let mut stream = restarted.client.watch_plans(request).await.unwrap();
        assert_eq!(told(&mut stream, 3).await, expected, "it is in the database");
        assert_eq!(restarted.running.drain().await, Drained::InTime, "streams end by themselves");
    }
}

#[tokio::test]
async fn a_process_knows_a_change_at_once_and_one_that_starts_those_of_before() {
    let billing = Billing::start(Config::default(), Transport::Grpc).await;
    let start = || {
        let channel = billing.mesh.channel("audit-svc", SERVICE);
        let metrics = Metrics::new("test", "0");
        RemoteEntitlements::new(GrpcBillingClient::new(channel), None, &metrics)
    };
    let id = UserId::new();
    // The token is of before any change.
    let user = User { id: id.to_string(), plan: "free".into(), session_id: None };
    let running = start();
    assert_eq!(running.plan_of(&user).await.unwrap().id, "free");
    billing.subscribe(id, "paid").await.unwrap();
    within(Duration::from_secs(2), "the change is told", async || {
        (running.plan_of(&user).await.unwrap().id == "paid").then_some(())
    })
    .await;
    assert_eq!(running.plans_with("activity.history").await, ["paid", "ai"]);

    let started = start();
    within(Duration::from_secs(10), "billing was heard of", async || {
        started.plan_since(&user.id, 0).await
    })
    .await;
    let plan = started.plan_of(&user).await.unwrap();
    assert_eq!(plan.id, "paid", "a token that is out of date is known to be");
    assert_eq!(plan.features, ["activity.history"]);
}
