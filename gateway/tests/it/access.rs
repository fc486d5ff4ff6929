//! Tokens, permissions and entitlements.

use std::time::Duration;

use gateway::GatewaySettings;
use mainstay_testing::{Rest, eventually, within};
use serde_json::json;

use crate::errors::refusal;
use crate::world::{OTHER, USER, World};

#[tokio::test]
async fn only_sound_tokens_are_let_in() {
    let world = World::new().await;
    let auth = &world.auth;
    world.as_user(USER).get("/api/v1/inspect").await.expect(200);
    let past = 1_700_000_000;
    let forged = crate::fakes::FakeAuth::new().token(USER, "free");
    let unsigned = "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.eyJzdWIiOiJ4In0.";
    let tokens = [
        ("expired", auth.token_with(USER, "free", |_, claims| claims["exp"] = past.into())),
        ("issuer", auth.token_with(USER, "free", |_, claims| claims["iss"] = "evil".into())),
        ("audience", auth.token_with(USER, "free", |_, claims| claims["aud"] = "other".into())),
        ("future", auth.token_with(USER, "free", |_, c| c["nbf"] = 4_000_000_000_u64.into())),
        (
            "no exp",
            auth.token_with(USER, "free", |_, c| drop(c.as_object_mut().unwrap().remove("exp"))),
        ),
        ("text exp", auth.token_with(USER, "free", |_, c| c["exp"] = "4000000000".into())),
        ("id token", auth.token_with(USER, "free", |header, _| header.typ = Some("JWT".into()))),
        ("no kid", auth.token_with(USER, "free", |header, _| header.kid = None)),
        ("other kid", auth.token_with(USER, "free", |header, _| header.kid = Some("k9".into()))),
        ("forged", forged),
        ("none", unsigned.to_owned()),
        ("garbage", "garbage".to_owned()),
    ];
    for (what, token) in tokens {
        let reply = world.rest().with_bearer(&token).get("/api/v1/inspect").await;
        assert_eq!(refusal(&reply, 401), "UNAUTHENTICATED", "{what}");
        assert_eq!(reply.header("www-authenticate"), "Bearer", "{what}");
    }
    assert_eq!(world.call_count(), 1, "only the sound one arrived");
}

#[tokio::test]
async fn one_authorization_header_of_the_right_form_is_needed() {
    let world = World::new().await;
    let token = world.auth.token(USER, "free");
    let (right, basic) = (format!("bearer {token}"), format!("Basic {token}"));
    let send = async |headers: &[(&str, &str)]| {
        let none = bytes::Bytes::new();
        world.rest().send(http::Method::GET, "/api/v1/inspect", headers, none).await
    };
    send(&[("authorization", &right)]).await.expect(200);
    for headers in [
        &[("authorization", basic.as_str())][..],
        &[("authorization", token.as_str())],
        &[("authorization", "Bearer ")],
        &[("authorization", right.as_str()), ("authorization", right.as_str())],
    ] {
        assert_eq!(refusal(&send(headers).await, 401), "UNAUTHENTICATED");
    }
}

#[tokio::test]
async fn a_session_that_ended_is_refused_within_two_seconds() {
    let world = World::new().await;
    let rest = world.as_user(USER);
    rest.get("/api/v1/inspect").await.expect(200);
    world.auth.ended.lock().unwrap().push(format!("session-{USER}"));
    within(Duration::from_secs(2), "the session is refused", async || {
        (rest.get("/api/v1/inspect").await.status == 401).then_some(())
    })
    .await;
    world.as_user(OTHER).get("/api/v1/inspect").await.expect(200);
}

#[tokio::test]
async fn a_permission_is_checked_on_the_resource_that_the_request_names() {
    let world = World::new().await;
    let create = async |user: &str, shelf: &str| {
        let path = format!("/api/v1/shelves/{shelf}/books");
        world.as_user(user).post(&path, json!({ "title": "T" })).await
    };
    create(USER, "s1").await.expect(200);
    assert_eq!(refusal(&create(USER, "s2").await, 403), "PERMISSION_DENIED");
    let reply = create(OTHER, "s1").await;
    assert_eq!(refusal(&reply, 403), "PERMISSION_DENIED");
    assert_eq!(reply.json()["error"]["details"][0]["permission"], "library.books.create");
    assert_eq!(world.call_count(), 1);
}

#[tokio::test]
async fn a_feature_is_for_the_plans_that_include_it() {
    let world = World::new().await;
    let rest = world.as_user(USER);
    let reply = rest.get("/api/v1/recommendations").await;
    assert_eq!(refusal(&reply, 403), "FEATURE_NOT_INCLUDED");
    let details = reply.json()["error"]["details"][0].clone();
    assert_eq!(details["feature"], "library.recommendations");
    assert_eq!((&details["plan"], &details["plans"]), (&json!("free"), &json!("ai")));

    world.billing.subscribe(USER, "ai");
    within(Duration::from_secs(2), "the new plan counts", async || {
        (rest.get("/api/v1/recommendations").await.status == 200).then_some(())
    })
    .await;
    let user = world.last_call().user.unwrap();
    assert_eq!((user.id.as_str(), user.plan.as_str()), (USER, "ai"), "billing knows best");
}

#[tokio::test]
async fn a_plan_is_known_and_its_change_seen_without_asking_billing() {
    let world = World::new().await;
    world.billing.refuse_questions(true);
    let rest = world.as_user(USER);
    let denied = eventually("the plan of the token counts", async || {
        let reply = rest.get("/api/v1/recommendations").await;
        (reply.status != 503).then_some(reply)
    })
    .await;
    assert_eq!(refusal(&denied, 403), "FEATURE_NOT_INCLUDED");
    assert_eq!(denied.json()["error"]["details"][0]["plans"], "ai");
    let payer = world.rest().with_bearer(&world.auth.token(OTHER, "ai"));
    payer.get("/api/v1/recommendations").await.expect(200);

    world.billing.subscribe(USER, "ai");
    within(Duration::from_secs(2), "the change is told", async || {
        (rest.get("/api/v1/recommendations").await.status == 200).then_some(())
    })
    .await;
    world.billing.subscribe(USER, "free");
    within(Duration::from_secs(2), "and the next one", async || {
        (rest.get("/api/v1/recommendations").await.status == 403).then_some(())
    })
    .await;
}

/// A user with a plan that the gateway and the service know of.
async fn subscriber(world: &World) -> Rest {
    world.billing.subscribe(USER, "ai");
    let rest = world.as_user(USER);
    eventually("the plan is known", async || {
        (rest.get("/api/v1/recommendations").await.status == 200).then_some(())
    })
    .await;
    rest
}

#[tokio::test]
async fn changes_that_billing_cannot_tell_make_everything_known_be_asked_again() {
    let world = World::new().await;
    let rest = subscriber(&world).await;
    world.billing.forget_changes(true);
    world.billing.subscribe(USER, "free");
    // What is known of a plan is fresh for a minute, and nobody says whose has changed.
    within(Duration::from_secs(10), "the change is found out", async || {
        (rest.get("/api/v1/recommendations").await.status == 403).then_some(())
    })
    .await;
}

#[tokio::test]
async fn billing_is_asked_in_the_background_and_seldom() {
    let world = World::new().await;
    let rest = subscriber(&world).await;
    let before = world.billing.asked();
    for _ in 0..50 {
        rest.get("/api/v1/recommendations").await.expect(200);
    }
    let asked = world.billing.asked() - before;
    assert!(asked < 10, "{asked} questions for 50 calls through two processes");
}

#[tokio::test]
async fn the_last_known_plan_holds_while_billing_is_away() {
    let mut world = World::new().await;
    let rest = subscriber(&world).await;
    world.billing_svc.take().unwrap().drain().await;
    for _ in 0..10 {
        rest.get("/api/v1/recommendations").await.expect(200);
    }
    let stranger = world.as_user(OTHER).get("/api/v1/recommendations").await;
    assert_eq!(refusal(&stranger, 403), "FEATURE_NOT_INCLUDED", "by the plan of the token");
}

#[tokio::test]
async fn what_is_known_of_plans_holds_for_as_long_as_stated_and_no_longer() {
    let kept = Duration::from_millis(1);
    let settings = GatewaySettings { entitlements_kept: kept, ..GatewaySettings::default() };
    let mut world = World::with(settings).await;
    world.billing.subscribe(USER, "ai");
    let rest = world.as_user(USER);
    rest.get("/api/v1/recommendations").await.expect(200);
    world.billing_svc.take().unwrap().drain().await;
    let reply = eventually("nothing can be said", async || {
        let reply = rest.get("/api/v1/recommendations").await;
        (reply.status == 503).then_some(reply)
    })
    .await;
    assert_eq!(refusal(&reply, 503), "UNAVAILABLE");
    assert!(!reply.header("retry-after").is_empty());
}
