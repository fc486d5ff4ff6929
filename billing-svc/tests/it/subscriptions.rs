//! Subscribing without a payment provider.

use billing_svc::config::Config;
use mainstay::contract::billing::proto::SubscriptionState;
use mainstay::contract::billing::{ALREADY_SUBSCRIBED, NOT_SUBSCRIBED, PLAN_UNKNOWN};
use mainstay::contract::identity::UserId;
use mainstay::contract::proto::mainstay::billing::v1::SubscriptionChanged;
use mainstay::contract::proto::mainstay::identity::v1::UserDeleted;
use mainstay::kernel::settings::Transport;
use mainstay_testing::eventually;

use crate::harness::{Billing, TRANSPORTS};

#[tokio::test]
async fn a_user_subscribes_changes_and_cancels() {
    for transport in TRANSPORTS {
        let billing = Billing::start(Config::default(), transport).await;
        let user = UserId::new();

        let begun = billing.subscription(user).await;
        assert_eq!((begun.plan.as_str(), begun.state()), ("free", SubscriptionState::Active));

        let paid = billing.subscribe(user, "paid").await.unwrap();
        assert_eq!((paid.plan.as_str(), paid.state()), ("paid", SubscriptionState::Active));
        assert_eq!(paid.id, begun.id, "each user has one subscription");
        assert_eq!(billing.entitlements(user).await.features, ["activity.history"]);

        let again = billing.subscribe(user, "ai").await.unwrap_err();
        assert!(again.is(&ALREADY_SUBSCRIBED), "{again}");

        let ai = billing.change(user, "ai").await.unwrap();
        assert_eq!(ai.plan, "ai");
        assert!(billing.entitlements(user).await.features.contains(&"ai.assistant".into()));

        let over = billing.cancel(user).await.unwrap();
        assert_eq!((over.plan.as_str(), over.state()), ("free", SubscriptionState::Canceled));
        assert!(billing.entitlements(user).await.features.is_empty());
        assert_eq!(billing.cancel(user).await.unwrap().state(), SubscriptionState::Canceled);

        assert_eq!(billing.subscribe(user, "paid").await.unwrap().plan, "paid");
    }
}

#[tokio::test]
async fn every_change_is_told_in_order() {
    let billing = Billing::start(Config::default(), Transport::Grpc).await;
    let user = UserId::new();
    billing.subscribe(user, "paid").await.unwrap();
    billing.change(user, "ai").await.unwrap();
    billing.cancel(user).await.unwrap();
    let told = eventually("three changes are told", async || {
        let told = billing.mesh.events::<SubscriptionChanged>().await;
        (told.len() == 3).then_some(told)
    })
    .await;
    let plans: Vec<_> =
        told.iter().map(|it| (it.previous_plan.as_str(), it.plan.as_str())).collect();
    assert_eq!(plans, [("free", "paid"), ("paid", "ai"), ("ai", "free")]);
    assert!(told.is_sorted_by_key(|it| it.version));
}

#[tokio::test]
async fn what_cannot_be_is_refused() {
    let billing = Billing::start(Config::default(), Transport::Grpc).await;
    let user = UserId::new();
    let unknown = billing.subscribe(user, "gold").await.unwrap_err();
    assert!(unknown.is(&PLAN_UNKNOWN), "{unknown}");
    assert_eq!(unknown.violations()[0].field, "plan");
    let empty = billing.subscribe(user, "").await.unwrap_err();
    assert_eq!((empty.code().http, empty.violations()[0].field.as_str()), (400, "plan"));
    assert!(billing.change(user, "paid").await.unwrap_err().is(&NOT_SUBSCRIBED));
    assert!(billing.cancel(user).await.unwrap_err().is(&NOT_SUBSCRIBED));
    assert_eq!(billing.subscribe(user, "free").await.unwrap().plan, "free");
}

#[tokio::test]
async fn subscriptions_survive_a_restart() {
    let billing = Billing::start(Config::default(), Transport::Grpc).await;
    let user = UserId::new();
    billing.subscribe(user, "ai").await.unwrap();
    let before = billing.subscription(user).await;
    let billing = billing.restart(Config::default()).await;
    assert_eq!(billing.subscription(user).await, before);
}

#[tokio::test]
async fn two_subscribe_at_once_and_one_wins() {
    let billing = Billing::start(Config::default(), Transport::Grpc).await;
    let user = UserId::new();
    let (first, second) =
        tokio::join!(billing.subscribe(user, "paid"), billing.subscribe(user, "ai"));
    let won = usize::from(first.is_ok()) + usize::from(second.is_ok());
    assert_eq!(won, 1, "{first:?} {second:?}");
    let plan = first.or(second).unwrap().plan;
    assert_eq!(billing.subscription(user).await.plan, plan);
}

#[tokio::test]
async fn the_subscription_of_a_deleted_user_ends_though_billing_was_down() {
    let billing = Billing::start(Config::default(), Transport::Grpc).await;
    let user = UserId::new();
    billing.subscribe(user, "paid").await.unwrap();
    let Billing { mesh, running, .. } = billing;
    running.drain().await;
    mesh.publish(&UserDeleted { user_id: user.to_string() }).await;
    let billing = Billing::start_in(mesh, Config::default(), Transport::Grpc).await;
    eventually("the subscription ends", async || {
        let found = billing.subscription(user).await;
        (found.state() == SubscriptionState::Canceled).then_some(())
    })
    .await;
}
