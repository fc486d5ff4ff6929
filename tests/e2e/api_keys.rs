//! A program calls with an API key, from its making to its end.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use mainstay_testing::{Platform, Reply, eventually};
use serde_json::json;

use crate::people::Person;

async fn call(platform: &Platform, method: Method, path: &str, key: &str, body: Bytes) -> Reply {
    let headers = [("x-api-key", key), ("content-type", "application/json")];
    platform.rest().send(method, path, &headers, body).await
}

#[tokio::test]
async fn a_program_calls_by_a_key_until_its_owner_revokes_it() {
    let platform = Platform::start().await;
    let owner = Person::register(&platform, "grace").await;
    let made = owner.rest.post("/api/v1/auth/api-keys", json!({"display_name": "backup"})).await;
    let made = made.data().clone();
    let key = made["key"].as_str().unwrap().to_owned();

    let me = call(&platform, Method::GET, "/api/v1/users/me", &key, Bytes::new()).await;
    assert_eq!(me.data()["id"], owner.id);
    let rename = Bytes::from(json!({"display_name": "Rear Admiral"}).to_string());
    let renamed = call(&platform, Method::PATCH, "/api/v1/users/me", &key, rename).await;
    assert_eq!(renamed.data()["display_name"], "Rear Admiral");
    let users = call(&platform, Method::GET, "/api/v1/users", &key, Bytes::new()).await;
    assert_eq!(users.status, 403, "a key may do what its owner may: {users:?}");

    let another = Bytes::from(json!({"display_name": "another"}).to_string());
    let refused = call(&platform, Method::POST, "/api/v1/auth/api-keys", &key, another).await;
    assert_eq!(refused.error_code(403), "LOGIN_NEEDED");

    let listed = owner.rest.get("/api/v1/auth/api-keys").await;
    let listed = listed.data()[0].clone();
    assert_eq!(listed["id"], made["api_key"]["id"]);
    assert!(listed["use_time"].is_string(), "{listed}");
    assert!(!listed.to_string().contains(&key), "it is told once");

    let path = format!("/api/v1/auth/api-keys/{}", listed["id"].as_str().unwrap());
    let stranger = Person::register(&platform, "mallory").await;
    assert_eq!(stranger.rest.delete(&path).await.error_code(404), "API_KEY_NOT_FOUND");
    assert_eq!(owner.rest.delete(&path).await.status, 200);
    let begun = Instant::now();
    let refusal = eventually("the revoked key is refused", async || {
        let reply = call(&platform, Method::GET, "/api/v1/users/me", &key, Bytes::new()).await;
        (reply.status == 401).then_some(reply)
    })
    .await;
    assert!(begun.elapsed() < Duration::from_secs(2), "promised: {:?}", begun.elapsed());
    assert_eq!(refusal.error_code(401), "API_KEY_INVALID");
    assert_eq!(owner.rest.get("/api/v1/users/me").await.status, 200, "its owner goes on");
}
