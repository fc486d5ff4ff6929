//! Auth hears of roles, plans and deletions.

use mainstay::contract::auth::proto::{SessionEndReason, SessionEnded, TokenPair};
use mainstay::contract::auth::{INVALID_CREDENTIALS, TOKEN_INVALID, UserId};
use mainstay::contract::authz::proto::{RoleBound, RoleUnbound};
use mainstay::contract::billing::proto::SubscriptionChanged;
use mainstay::contract::identity::proto::UserDeleted;
use mainstay::kernel::settings::Transport;
use mainstay_testing::eventually;

use crate::harness::{Auth, PASSWORD, unverified};

fn bound(subject: &str, role: &str, resource: &str) -> RoleBound {
    RoleBound {
        subject: subject.into(),
        role_name: role.into(),
        resource: resource.into(),
        ..Default::default()
    }
}

fn plan(user_id: &str, plan: &str, version: i64) -> SubscriptionChanged {
    SubscriptionChanged {
        user_id: user_id.into(),
        subscription_id: "0190".into(),
        plan: plan.into(),
        version,
        ..Default::default()
    }
}

/// Refreshes until the claims are as expected; the last tokens.
async fn until(
    auth: &Auth,
    tokens: &mut TokenPair,
    what: &str,
    expected: impl Fn(&serde_json::Value) -> bool,
) {
    eventually(what, async || {
        *tokens = auth.refresh(&tokens.refresh_token).await.unwrap();
        expected(&unverified(tokens)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn roles_follow_authz() {
    let auth = Auth::start(Transport::Grpc).await;
    let (ada, mut tokens) = auth.logged_in("ada@example.com").await;
    let subject = format!("user:{}", ada.id);
    auth.mesh.publish(&bound(&subject, "member", "")).await;
    auth.mesh.publish(&bound(&subject, "owner", "users/42")).await;
    auth.mesh.publish(&bound("service:billing-svc", "robot", "")).await;
    auth.mesh.publish(&bound(&subject, "admin", "")).await;
    let both = serde_json::json!(["admin", "member"]);
    until(&auth, &mut tokens, "admin is in the token", |claims| claims["roles"] == both).await;

    let unbound = |role: &str, resource: &str| RoleUnbound {
        subject: subject.clone(),
        role_name: role.into(),
        resource: resource.into(),
        ..Default::default()
    };
    auth.mesh.publish(&unbound("admin", "users/42")).await;
    auth.mesh.publish(&unbound("member", "")).await;
    let rest = serde_json::json!(["admin"]);
    until(&auth, &mut tokens, "member is gone, admin is not", |claims| claims["roles"] == rest)
        .await;
}

#[tokio::test]
async fn the_plan_follows_billing() {
    let auth = Auth::start(Transport::Grpc).await;
    let (ada, mut tokens) = auth.logged_in("ada@example.com").await;
    auth.mesh.publish(&plan(&ada.id, "ai", 2)).await;
    until(&auth, &mut tokens, "ai is in the token", |claims| claims["plan"] == "ai").await;
    auth.mesh.publish(&plan(&ada.id, "paid", 1)).await;
    auth.mesh.publish(&plan(&ada.id, "free", 3)).await;
    until(&auth, &mut tokens, "free is in the token", |claims| {
        assert_ne!(claims["plan"], "paid", "an older version was taken");
        claims["plan"] == "free"
    })
    .await;
}

#[tokio::test]
async fn what_was_told_while_auth_was_away_is_made_up_for() {
    let mut auth = Auth::start(Transport::Grpc).await;
    let (ada, mut tokens) = auth.logged_in("ada@example.com").await;
    auth.end().await;
    auth.mesh.publish(&bound(&format!("user:{}", ada.id), "admin", "")).await;
    auth.mesh.publish(&plan(&ada.id, "paid", 1)).await;
    auth.begin().await;
    until(&auth, &mut tokens, "both have arrived", |claims| {
        claims["plan"] == "paid" && claims["roles"] == serde_json::json!(["admin", "member"])
    })
    .await;
}

#[tokio::test]
async fn a_deleted_user_is_out_and_the_address_is_free() {
    let auth = Auth::start(Transport::Grpc).await;
    let (ada, tokens) = auth.logged_in("ada@example.com").await;
    auth.mesh.publish(&UserDeleted { user_id: UserId::new().to_string() }).await;
    auth.mesh.publish(&UserDeleted { user_id: ada.id.clone() }).await;
    let told =
        eventually("the session is ended", async || auth.mesh.events::<SessionEnded>().await.pop())
            .await;
    assert_eq!(told.session_id, unverified(&tokens)["sid"]);
    assert_eq!(told.reason(), SessionEndReason::UserDeleted);

    let error = auth.refresh(&tokens.refresh_token).await.unwrap_err();
    assert!(error.is(&TOKEN_INVALID), "{error}");
    let error = auth.login("ada@example.com", PASSWORD).await.unwrap_err();
    assert!(error.is(&INVALID_CREDENTIALS), "{error}");
    let (next, tokens) = auth.logged_in("ada@example.com").await;
    assert_ne!(next.id, ada.id);
    assert_eq!(auth.claims(&tokens).await.unwrap().sub, next.id);
}
