//! Programs call with API keys.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use gateway::GatewaySettings;
use gateway::config::Rate;
use http::Method;
use mainstay_testing::{Reply, Rest, eventually};

use crate::errors::refusal;
use crate::world::{OTHER, USER, World};

async fn call(rest: &Rest, headers: &[(&str, &str)]) -> Reply {
    rest.send(Method::GET, "/api/v1/inspect", headers, Bytes::new()).await
}

#[tokio::test]
async fn a_key_calls_in_its_owners_name_and_is_exchanged_once() {
    let world = World::new().await;
    let key = world.auth.api_key(USER);
    let (rest, headers) = (world.rest(), [("x-api-key", key.as_str())]);
    for reply in futures::future::join_all((0..8).map(|_| call(&rest, &headers))).await {
        reply.expect(200);
    }
    let user = world.last_call().user.unwrap();
    assert_eq!((user.id.as_str(), user.session_id), (USER, Some(format!("key-{USER}"))));
    assert_eq!(world.auth.exchanges.load(Ordering::SeqCst), 1);

    let me = world.rest().with_bearer(&world.auth.token(OTHER, "free"));
    let reply = call(&me, &headers).await;
    assert_eq!(refusal(&reply, 401), "UNAUTHENTICATED", "two callers in one request");
    let reply = call(&rest, &[headers[0], headers[0]]).await;
    assert_eq!(refusal(&reply, 401), "UNAUTHENTICATED", "twice");
}

#[tokio::test]
async fn what_is_no_key_is_refused_and_seldom_asked_about() {
    let world = World::new().await;
    for key in ["", "garbage", "Mainstay_x"] {
        let reply = call(&world.rest(), &[("x-api-key", key)]).await;
        assert_eq!(refusal(&reply, 401), "API_KEY_INVALID", "{key}");
    }
    assert_eq!(world.auth.exchanges.load(Ordering::SeqCst), 0, "they are none of ours");
    for _ in 0..5 {
        let reply = call(&world.rest(), &[("x-api-key", "mainstay_guessed")]).await;
        assert_eq!(refusal(&reply, 401), "API_KEY_INVALID");
    }
    assert_eq!(world.auth.exchanges.load(Ordering::SeqCst), 1);
    assert_eq!(world.call_count(), 0);
}

#[tokio::test]
async fn a_key_that_is_over_is_refused_as_such() {
    let world = World::new().await;
    let key = world.auth.api_key(USER);
    let headers = [("x-api-key", key.as_str())];
    call(&world.rest(), &headers).await.expect(200);
    world.auth.keys.lock().unwrap().clear();
    call(&world.rest(), &headers).await.expect(200);

    world.auth.ended.lock().unwrap().push(format!("key-{USER}"));
    let reply = eventually("the key is refused", async || {
        let reply = call(&world.rest(), &headers).await;
        (reply.status == 401).then_some(reply)
    })
    .await;
    assert_eq!(refusal(&reply, 401), "API_KEY_INVALID", "auth has said so");
}

#[tokio::test]
async fn keys_have_limits_of_their_own() {
    let mut settings = GatewaySettings::default();
    settings.rates.insert("read".into(), [("default".to_owned(), Rate::per_minute(3))].into());
    let world = World::with(settings).await;
    let key = world.auth.api_key(USER);
    let allowed = async |rest: Rest, headers: &[(&str, &str)]| {
        let mut allowed = 0;
        while call(&rest, headers).await.status == 200 {
            allowed += 1;
        }
        allowed
    };
    assert_eq!(allowed(world.rest(), &[("x-api-key", &key)]).await, 3);
    assert_eq!(allowed(world.as_user(USER), &[]).await, 3, "its owner has calls left");
    let other = world.auth.api_key(OTHER);
    assert_eq!(allowed(world.rest(), &[("x-api-key", &other)]).await, 3, "so has another key");
}
