//! Requests that are sent again with their `Idempotency-Key`.

mod killed;
mod protocols;

use bytes::Bytes;
use gateway::GatewaySettings;
use http::Method;
use mainstay_testing::{Reply, Rest, eventually};
use serde_json::json;

use crate::errors::refusal;
use crate::library::LENDING;
use crate::world::{OTHER, USER, World, start_library};

const JSON: (&str, &str) = ("content-type", "application/json");

pub(super) async fn borrow(rest: &Rest, book: &str, key: &str) -> Reply {
    let path = format!("/api/v1/books/{book}:borrow");
    let headers = [JSON, ("idempotency-key", key)];
    rest.send(Method::POST, &path, &headers, Bytes::from_static(b"{}")).await
}

#[tokio::test]
async fn what_is_sent_again_is_answered_again_and_happens_once() {
    let world = World::new().await;
    let ada = world.as_user(USER);
    let first = borrow(&ada, "b1", "\"key-1\"").await;
    let lent = first.data();
    assert_eq!(first.header("idempotency-replayed"), "");
    for key in ["\"key-1\"", "key-1"] {
        let again = borrow(&ada, "b1", key).await;
        assert_eq!((again.status, &again.body), (200, &first.body));
        assert_eq!(again.header("idempotency-replayed"), "true");
        assert_eq!(again.header("etag"), "W/\"v1\"");
        assert_eq!(again.header("content-type"), "application/json");
        assert_ne!(again.header("x-request-id"), first.header("x-request-id"));
    }
    assert_eq!(world.call_count(), 1);

    assert_ne!(borrow(&ada, "b1", "\"key-2\"").await.data(), lent, "another key is another loan");
    let bob = world.as_user(OTHER);
    assert_ne!(borrow(&bob, "b1", "\"key-1\"").await.data(), lent, "each has keys of their own");
    assert_eq!(world.call_count(), 3);

    let folder = world.mesh.path().join("data/idempotency");
    for entry in std::fs::read_dir(folder).unwrap() {
        let kept = std::fs::read(entry.unwrap().path()).unwrap();
        let kept = String::from_utf8_lossy(&kept);
        assert!(!kept.contains("key-") && !kept.contains("Copy"), "in clear: {kept}");
    }
}

#[tokio::test]
async fn a_key_is_of_one_request() {
    let world = World::new().await;
    let ada = world.as_user(USER);
    borrow(&ada, "b1", "k").await.expect(200);
    assert_eq!(refusal(&borrow(&ada, "b2", "k").await, 422), "IDEMPOTENCY_KEY_REUSED");
    let headers = [JSON, ("idempotency-key", "k")];
    let send = async |path: &str, body: &'static str| {
        world.rest().send(Method::POST, path, &headers, Bytes::from_static(body.as_bytes())).await
    };
    send("/api/v1/echo", r#"{"text":"a"}"#).await.expect(200);
    let other = send("/api/v1/echo", r#"{"text":"b"}"#).await;
    assert_eq!(refusal(&other, 422), "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(world.call_count(), 2, "a route has keys of its own, an anonymous caller too");
}

#[tokio::test]
async fn a_service_that_keeps_keys_itself_gets_each_request_with_its_key() {
    let world = World::new().await;
    let ada = world.as_user(USER);
    for body in ["{}", "{ }", "{}"] {
        let headers = [JSON, ("idempotency-key", "\"key-1\"")];
        let reply = ada.send(Method::POST, "/api/v1/stamps", &headers, body.into()).await;
        assert_eq!(reply.data()["metadata"]["idempotency-key"], "\"key-1\"");
        assert_eq!(
            reply.header("idempotency-replayed"),
            "",
            "whether it is one is not ours to say"
        );
    }
    assert_eq!(world.call_count(), 3);
    // The gateway has claimed nothing, so that the key is as new to it.
    let lent = borrow(&ada, "b1", "\"key-1\"").await;
    assert_eq!((lent.status, lent.header("idempotency-replayed")), (200, ""));
    let document = world.rest().get("/openapi.json").await.expect(200);
    let parameters = document["paths"]["/api/v1/stamps"]["post"]["parameters"].clone();
    let taken = |name: &str| parameters.as_array().unwrap().iter().any(|one| one["name"] == name);
    assert!(taken("idempotency-key") && !taken("Idempotency-Key"), "{parameters}");
}

#[tokio::test]
async fn a_header_that_is_no_key_is_refused_and_one_that_is_not_needed_is_passed_over() {
    let world = World::new().await;
    let ada = world.as_user(USER);
    for key in ["", "\"\"", "\"open", "a, b", &"k".repeat(256)] {
        let reply = borrow(&ada, "b1", key).await;
        assert_eq!(refusal(&reply, 400), "INVALID_ARGUMENT", "{key}");
        assert_eq!(reply.json()["error"]["details"][0]["field"], "idempotency-key");
    }
    for _ in 0..2 {
        let headers = [JSON, ("idempotency-key", "k")];
        let reply =
            ada.send(Method::PATCH, "/api/v1/books/b1", &headers, r#"{"title":"T"}"#.into()).await;
        reply.expect(200);
        assert_eq!(reply.header("idempotency-replayed"), "");
    }
    assert_eq!(world.call_count(), 2, "what is idempotent may happen again");
}

#[tokio::test]
async fn a_refusal_is_kept_where_it_is_settled_and_a_fault_is_never_tried_again() {
    let world = World::new().await;
    let ada = world.as_user(USER);
    let first = borrow(&ada, "conflict", "k").await;
    assert_eq!(refusal(&first, 409), "BOOK_LENT");
    let again = borrow(&ada, "conflict", "k").await;
    assert_eq!((again.status, &again.body), (409, &first.body));
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(world.call_count(), 1);

    for _ in 0..2 {
        assert_eq!(refusal(&borrow(&ada, "limited", "l").await, 429), "RATE_LIMITED");
    }
    assert_eq!(world.call_count(), 3, "nothing happened, so the key is free");

    assert_eq!(refusal(&borrow(&ada, "internal", "i").await, 500), "INTERNAL");
    let again = borrow(&ada, "internal", "i").await;
    assert_eq!(refusal(&again, 409), "IDEMPOTENCY_OUTCOME_UNKNOWN");
    assert_eq!(world.call_count(), 4, "it may have happened, so it does not happen again");
}

#[tokio::test]
async fn a_refusal_is_repeated_in_the_words_that_its_caller_asks_for() {
    let world = World::new().await;
    let ada = world.as_user(USER);
    let lend = async |accept: &str| {
        let headers = [JSON, ("idempotency-key", "k"), ("accept", accept)];
        let path = "/api/v1/books/conflict:borrow";
        ada.send(Method::POST, path, &headers, Bytes::from_static(b"{}")).await
    };
    let first = lend("application/problem+json").await;
    let again = lend("application/problem+json").await;
    assert_eq!(again.header("idempotency-replayed"), "true");
    for reply in [&first, &again] {
        assert_eq!(reply.header("content-type"), "application/problem+json");
        assert_eq!(reply.expect(409)["code"], "BOOK_LENT");
    }
    assert_eq!(again.body, first.body);
    let plainly = lend("application/json").await;
    assert_eq!(plainly.expect(409)["error"]["code"], "BOOK_LENT");
    assert_eq!(world.call_count(), 1);
}

#[tokio::test]
async fn a_call_whose_time_was_over_before_it_was_made_leaves_its_key_free() {
    let world = World::new().await;
    let ada = world.as_user(USER);
    borrow(&ada, "b1", "another").await.expect(200);
    let headers = [JSON, ("idempotency-key", "k"), ("x-request-timeout", "0")];
    let path = "/api/v1/books/b1:borrow";
    let late = ada.send(Method::POST, path, &headers, Bytes::from_static(b"{}")).await;
    assert_eq!(refusal(&late, 504), "DEADLINE_EXCEEDED");
    let reply = borrow(&ada, "b1", "k").await;
    assert_eq!((reply.status, reply.header("idempotency-replayed")), (200, ""));
    assert_eq!(world.call_count(), 2);
}

#[tokio::test]
async fn a_call_that_never_left_leaves_its_key_free() {
    let mut world = World::new().await;
    let ada = world.as_user(USER);
    drop(world.library.take());
    assert_eq!(refusal(&borrow(&ada, "b1", "k").await, 503), "UNAVAILABLE");
    world.library = Some(start_library(&world.mesh, &world.calls).await);
    eventually("the same request succeeds", async || {
        let reply = borrow(&ada, "b1", "k").await;
        assert_ne!(reply.status, 409, "{}", reply.text());
        (reply.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_reply_that_is_too_large_is_not_kept_and_nothing_happens_twice() {
    let settings = GatewaySettings { idempotency_max_bytes: 10, ..GatewaySettings::default() };
    let world = World::with(settings).await;
    let ada = world.as_user(USER);
    borrow(&ada, "b1", "k").await.expect(200);
    assert_eq!(refusal(&borrow(&ada, "b1", "k").await, 409), "IDEMPOTENCY_REPLY_NOT_KEPT");
    assert_eq!(world.call_count(), 1);
}

#[tokio::test]
async fn the_document_tells_of_keys_where_they_are_taken() {
    let world = World::new().await;
    let document = world.rest().get("/openapi.json").await.expect(200);
    let keyed = &document["paths"]["/api/v1/books/{book_id}:borrow"]["post"];
    let has_key = |operation: &serde_json::Value| {
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        parameters.iter().any(|parameter| parameter["name"] == "Idempotency-Key")
    };
    assert!(has_key(keyed), "{keyed}");
    for status in ["409", "422"] {
        let reference = json!(format!("#/components/responses/Error{status}"));
        assert_eq!(keyed["responses"][status]["$ref"], reference);
        let component = &document["components"]["responses"][format!("Error{status}")];
        assert!(component.is_object(), "{status}");
    }
    assert!(!has_key(&document["paths"]["/api/v1/books/{book_id}"]["get"]));
    assert!(!has_key(&document["paths"]["/api/v1/books/{book_id}"]["patch"]));
}

/// What is in flight, and what becomes of it when its caller goes away. One story, since the book that
/// waits is one.
#[tokio::test]
async fn what_is_in_flight_is_not_sent_again_and_ends_without_its_caller() {
    let world = World::new().await;
    let ada = world.as_user(USER);
    let caller = ada.clone();
    let request = tokio::spawn(async move { borrow(&caller, "slow", "k").await });
    eventually("the request arrives", async || (world.call_count() == 1).then_some(())).await;
    let reply = borrow(&ada, "slow", "k").await;
    assert_eq!(refusal(&reply, 409), "IDEMPOTENCY_IN_FLIGHT");
    assert_eq!(reply.header("retry-after"), "1");

    request.abort();
    assert!(request.await.unwrap_err().is_cancelled());
    LENDING.add_permits(1);
    eventually("what came of it is kept", async || {
        let reply = borrow(&ada, "slow", "k").await;
        (reply.status == 200 && reply.header("idempotency-replayed") == "true").then_some(())
    })
    .await;
    assert_eq!(world.call_count(), 1);
}
