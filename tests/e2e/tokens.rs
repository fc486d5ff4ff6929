//! Sessions, tokens and what is refused.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::Method;
use mainstay_testing::{Platform, Rest, eventually};
use serde_json::{Value, json};

use crate::people::{Person, claims};

#[tokio::test]
async fn a_refresh_token_works_once_and_its_theft_ends_the_session() {
    let platform = Platform::start().await;
    let bob = Person::register(&platform, "bob").await;
    let refresh = async |token: &Value| {
        let request = json!({"refresh_token": token});
        platform.rest().post("/api/v1/auth/refresh", request).await
    };
    let second = refresh(&bob.tokens["refresh_token"]).await;
    assert_eq!(second.status, 200, "{second:?}");
    let stolen = refresh(&bob.tokens["refresh_token"]).await;
    assert_eq!(stolen.status, 401, "{stolen:?}");
    let family = refresh(&second.json()["data"]["refresh_token"]).await;
    assert_eq!(family.status, 401, "the whole family is revoked: {family:?}");
    eventually("the session's access token is refused", async || {
        (bob.rest.get("/api/v1/users/me").await.status == 401).then_some(())
    })
    .await;
}

#[tokio::test]
async fn sessions_are_listed_and_revoked() {
    let platform = Platform::start().await;
    let first = Person::register(&platform, "carol").await;
    let second = first.again(&platform).await;
    let sessions = second.rest.get("/api/v1/auth/sessions").await;
    let sessions = sessions.json()["data"].as_array().unwrap().clone();
    assert_eq!(sessions.len(), 2, "{sessions:?}");
    let current: Vec<_> = sessions.iter().filter(|session| session["current"] == true).collect();
    assert_eq!(current.len(), 1);
    assert_eq!(current[0]["id"], claims(&second.tokens)["sid"]);

    let path = format!("/api/v1/auth/sessions/{}", claims(&first.tokens)["sid"].as_str().unwrap());
    let stranger = Person::register(&platform, "mallory").await;
    assert_eq!(stranger.rest.delete(&path).await.status, 404);
    assert_eq!(second.rest.delete(&path).await.status, 200);
    let begun = std::time::Instant::now();
    eventually("the revoked session is refused", async || {
        (first.rest.get("/api/v1/users/me").await.status == 401).then_some(())
    })
    .await;
    assert!(begun.elapsed().as_secs_f32() < 2.0, "promised within 2 s: {:?}", begun.elapsed());
    assert_eq!(second.rest.get("/api/v1/users/me").await.status, 200);

    let logout = json!({"refresh_token": second.tokens["refresh_token"]});
    assert_eq!(platform.rest().post("/api/v1/auth/logout", logout.clone()).await.status, 200);
    assert_eq!(platform.rest().post("/api/v1/auth/refresh", logout).await.status, 401);
}

#[tokio::test]
async fn tokens_that_nobody_issued_are_refused() {
    let platform = Platform::start().await;
    let dan = Person::register(&platform, "dan").await;
    let token = dan.tokens["access_token"].as_str().unwrap().to_owned();
    let [header, payload, signature] = token.split('.').collect::<Vec<_>>()[..] else {
        panic!("a token has three parts");
    };
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let none = encode(&json!({"alg": "none", "typ": "at+jwt"}));
    let hmac = encode(&json!({"alg": "HS256", "typ": "at+jwt"}));
    let mut later = claims(&dan.tokens);
    later["exp"] = json!(later["exp"].as_i64().unwrap() + 3600);
    let forged = [
        ("none", format!("{none}.{payload}.")),
        ("none with a signature", format!("{none}.{payload}.{signature}")),
        ("another algorithm", format!("{hmac}.{payload}.{signature}")),
        ("changed claims", format!("{header}.{}.{signature}", encode(&later))),
        ("cut short", token[..token.len() - 4].to_owned()),
        ("garbage", "garbage".into()),
        ("empty parts", "..".into()),
    ];
    for (what, token) in forged {
        let reply = platform.rest().with_bearer(&token).get("/api/v1/users/me").await;
        assert_eq!(reply.status, 401, "{what}: {reply:?}");
        assert!(reply.json()["error"]["request_id"].is_string(), "{what}: {reply:?}");
    }
    let nothing = platform.rest().get("/api/v1/users/me").await;
    assert_eq!(nothing.status, 401);
    assert!(nothing.headers.contains_key("www-authenticate"), "{nothing:?}");
}

#[tokio::test]
async fn identity_from_outside_is_not_believed() {
    let platform = Platform::start().await;
    let eve = Person::register(&platform, "eve").await;
    let admin = Person::admin(&platform).await;
    let names = [
        "x-user-id",
        "X-User-Id",
        "x_user_id",
        "grpc-metadata-x-user-id",
        "Grpc-Metadata-X-User-Id",
    ];
    for name in names {
        let disguise = [(name, admin.id.as_str())];
        let get = async |rest: &Rest, path: &str| {
            rest.send(Method::GET, path, &disguise, Bytes::new()).await
        };
        let me = get(&eve.rest, "/api/v1/users/me").await;
        assert_eq!(me.json()["data"]["id"], eve.id, "{name}: {me:?}");
        assert_eq!(get(&eve.rest, "/api/v1/users").await.status, 403, "{name}");
        let anonymous = platform.rest();
        assert_eq!(get(&anonymous, "/api/v1/users/me").await.status, 401, "{name}");
    }
}
