//! Bad input gets a clear 4xx in one shape, never a 500, and nothing is half written.

use bytes::Bytes;
use http::Method;
use mainstay_testing::{Platform, Reply, Rest};
use serde_json::{Value, json};

use crate::people::{PASSWORD, Person};

#[tokio::test]
async fn every_rejection_has_one_shape_and_names_what_is_wrong() {
    let platform = Platform::start().await;
    let rest = platform.rest();
    let user = Person::register(&platform, "ivy").await.rest;
    let register = "/api/v1/auth/register";
    let long = "x".repeat(300);
    let cases: Vec<(&str, Reply, u16, &str)> = vec![
        ("not JSON", raw(&rest, "application/json", &b"{\"email\": "[..]).await, 400, ""),
        ("not an object", raw(&rest, "application/json", &b"[]"[..]).await, 400, ""),
        (
            "bad UTF-8",
            raw(&rest, "application/json", &b"{\"email\": \"\xff\xfe\"}"[..]).await,
            400,
            "",
        ),
        ("a number for a string", rest.post(register, json!({"email": 7})).await, 400, "email"),
        ("an unknown field", rest.post(register, json!({"mail": "a@b.c"})).await, 400, "mail"),
        (
            "no e-mail",
            rest.post(register, json!({"email": "nobody", "password": PASSWORD})).await,
            400,
            "email",
        ),
        (
            "a short password",
            rest.post(register, json!({"email": "a@example.com", "password": "short"})).await,
            400,
            "password",
        ),
        (
            "an over-long name",
            rest.post(
                register,
                json!({"email": "a@example.com", "password": PASSWORD, "display_name": long}),
            )
            .await,
            400,
            "display_name",
        ),
        ("another content type", raw(&rest, "text/plain", &b"hello"[..]).await, 415, "text/plain"),
        ("a huge body", raw(&rest, "application/json", vec![b' '; 3 << 20]).await, 413, ""),
        ("no such path", rest.get("/api/v1/nothing").await, 404, ""),
        ("no such method", rest.delete("/api/v1/auth/login").await, 405, ""),
        ("an unknown query parameter", user.get("/api/v1/users/me?x=1").await, 400, "x"),
        ("an id that is none", user.get("/api/v1/users/7").await, 400, "user_id"),
        (
            "a page size out of range",
            user.get("/api/v1/auth/sessions?page_size=9999").await,
            400,
            "page_size",
        ),
        (
            "a page size that is no number",
            user.get("/api/v1/auth/sessions?page_size=many").await,
            400,
            "page_size",
        ),
        (
            "a field that may not be changed",
            user.patch("/api/v1/users/me", json!({"email": "other@example.com"})).await,
            400,
            "email",
        ),
        (
            "an unknown session",
            user.delete(&format!("/api/v1/auth/sessions/{}", uuid::Uuid::now_v7())).await,
            404,
            "",
        ),
        (
            "an unknown plan",
            user.post("/api/v1/billing/subscription", json!({"plan": "gold"})).await,
            400,
            "plan",
        ),
        (
            "an unsigned webhook",
            rest.post("/api/v1/billing/webhook", json!({"id": "evt_1"})).await,
            400,
            "signature",
        ),
    ];
    for (what, reply, status, named) in cases {
        assert_eq!(reply.status, status, "{what}: {reply:?}");
        let body = reply.json();
        let error = &body["error"];
        let code = error["code"].as_str().unwrap_or_else(|| panic!("{what}: {reply:?}"));
        assert!(code.chars().all(|c| c.is_ascii_uppercase() || c == '_'), "{what}: {code}");
        assert!(!error["message"].as_str().unwrap().is_empty(), "{what}: {reply:?}");
        assert!(error["request_id"].is_string(), "{what}: {reply:?}");
        assert!(error.get("details").is_some(), "{what}: {reply:?}");
        assert!(reply.text().contains(named), "{what} must name {named}: {reply:?}");
        assert_eq!(reply.headers["x-request-id"], error["request_id"].as_str().unwrap(), "{what}");
        if status == 405 {
            assert_eq!(reply.headers["allow"], "OPTIONS, POST", "{what}");
        }
        if status == 413 {
            assert_eq!(reply.headers["connection"], "close", "{what}");
        }
    }
}

#[tokio::test]
async fn a_refused_registration_leaves_nothing_behind() {
    let platform = Platform::start().await;
    let ann = Person::register(&platform, "ann").await;
    let admin = Person::admin(&platform).await;
    let count = async || -> Value {
        admin.rest.get("/api/v1/users?include_total=true").await.json()["meta"]["total"].clone()
    };
    let before = count().await;
    let upper = ann.email.to_uppercase();
    let again = json!({"email": upper, "password": PASSWORD, "display_name": "Ann"});
    let taken = platform.rest().post("/api/v1/auth/register", again).await;
    assert_eq!((taken.status, &taken.json()["error"]["code"]), (409, &json!("EMAIL_TAKEN")));
    let wrong = json!({"email": ann.email, "password": "wrong password"});
    let wrong = platform.rest().post("/api/v1/auth/login", wrong).await;
    let unknown = json!({"email": "nobody@example.com", "password": "wrong password"});
    let unknown = platform.rest().post("/api/v1/auth/login", unknown).await;
    assert_eq!((wrong.status, unknown.status), (401, 401));
    assert_eq!(wrong.json()["error"]["message"], unknown.json()["error"]["message"]);
    assert_eq!(count().await, before);
}

/// Sends bytes to the registration as they are.
async fn raw(rest: &Rest, content_type: &str, body: impl Into<Vec<u8>>) -> Reply {
    let headers = [("content-type", content_type)];
    let body = Bytes::from(body.into());
    rest.send(Method::POST, "/api/v1/auth/register", &headers, body).await
}
