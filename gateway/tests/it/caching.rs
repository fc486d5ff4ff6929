//! What replies may be kept for, and how they are asked for again.

use bytes::Bytes;
use http::Method;
use mainstay_testing::{Reply, Rest};

use crate::errors::refusal;
use crate::world::{USER, World};

async fn ask(rest: &Rest, method: Method, path: &str, tag: &str) -> Reply {
    rest.send(method, path, &[("if-none-match", tag)], Bytes::new()).await
}

#[tokio::test]
async fn what_the_caller_has_already_is_not_sent_again() {
    let world = World::new().await;
    let rest = world.rest();
    let first = rest.get("/api/v1/books/b1").await;
    assert_eq!(
        first.header("etag"),
        "W/\"v1\"",
        "the resource's own, for whatever bytes it comes in"
    );
    for tag in ["\"v1\"", "W/\"v1\"", "\"v0\", \"v1\"", "*"] {
        for method in [Method::GET, Method::HEAD] {
            let reply = ask(&rest, method, "/api/v1/books/b1", tag).await;
            assert_eq!((reply.status, reply.body.len()), (304, 0), "{tag}");
            assert_eq!(reply.header("etag"), "W/\"v1\"");
            assert_eq!(reply.header("content-type"), "");
            assert_eq!(reply.header("cache-control"), "no-cache");
            assert_eq!(reply.header("vary"), "", "it is too small to be compressed");
            assert!(!reply.header("ratelimit").is_empty(), "it counts as a call");
        }
    }
    for tag in ["\"v2\"", "v1", ""] {
        ask(&rest, Method::GET, "/api/v1/books/b1", tag).await.expect(200);
    }
    let none = ask(&rest, Method::GET, "/api/v1/books/none", "*").await;
    assert_eq!(refusal(&none, 404), "NOT_FOUND", "a refusal is never what one has already");
    assert_eq!(none.header("etag"), "");
}

#[tokio::test]
async fn a_reply_without_an_etag_of_its_own_has_a_weak_one_of_its_content() {
    let world = World::new().await;
    let rest = world.rest();
    for path in ["/api/v1/books", "/api/v1/books/b1/words", "/api/v1/books/b1/picture"] {
        let [first, second] = [rest.get(path).await, rest.get(path).await];
        let tag = first.header("etag");
        assert!(tag.starts_with("W/\""), "{path}: {tag}");
        assert_eq!(second.header("etag"), tag, "{path}: whatever the id of the request");
        assert_eq!(ask(&rest, Method::GET, path, tag).await.status, 304, "{path}");
        let other = rest.get("/api/v1/books?page_size=1").await;
        assert_ne!(other.header("etag"), tag, "{path}");
        ask(&rest, Method::GET, "/api/v1/books?page_size=1", tag).await.expect(200);
    }
    let echo = rest.post("/api/v1/echo", serde_json::json!({})).await;
    assert_eq!(echo.header("etag"), "");
    let headers = [("content-type", "application/json"), ("if-none-match", "*")];
    let patch = world.as_user(USER);
    let patch = patch.send(Method::PATCH, "/api/v1/books/b1", &headers, "{\"title\":\"T\"}".into());
    assert_eq!(patch.await.header("etag"), "W/\"v1\"", "what changes something is always answered");
}

#[tokio::test]
async fn a_reply_is_kept_as_long_as_its_contract_says() {
    let world = World::new().await;
    let ada = world.as_user(USER);
    let rows = [
        ("/api/v1/books/b1", "no-cache", ""),
        ("/api/v1/inspect", "no-store", "authorization"),
        ("/api/v1/books/b1/signed", "public, max-age=60", ""),
        ("/api/v1/my-books", "private, max-age=10", "authorization"),
        ("/api/v1/books/none", "no-store", ""),
    ];
    for (path, rule, vary) in rows {
        let reply = ada.get(path).await;
        assert_eq!(reply.header("cache-control"), rule, "{path}");
        assert!(reply.header("vary").contains(vary), "{path}");
    }
    let echo = world.rest().post("/api/v1/echo", serde_json::json!({})).await;
    assert_eq!(echo.header("cache-control"), "no-store");
    let refused = world.rest().get("/api/v1/my-books").await;
    assert_eq!((refused.status, refused.header("cache-control")), (401, "no-store"));
}

#[tokio::test]
async fn the_document_tells_of_validators_where_there_are_some() {
    let world = World::new().await;
    let document = world.rest().get("/openapi.json").await.expect(200);
    let book = &document["paths"]["/api/v1/books/{book_id}"];
    let get = &book["get"];
    assert_eq!(get["responses"]["304"]["$ref"], "#/components/responses/NotModified");
    assert!(get["responses"]["200"]["headers"]["ETag"].is_object(), "{get}");
    let parameters = get["parameters"].as_array().unwrap();
    assert!(parameters.iter().any(|parameter| parameter["name"] == "If-None-Match"));
    assert!(document["components"]["responses"]["NotModified"].is_object());
    assert!(book["patch"]["responses"].get("304").is_none());

    let tag = world.rest().get("/openapi.json").await;
    let again = ask(&world.rest(), Method::GET, "/openapi.json", tag.header("etag")).await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    assert_eq!(again.header("vary"), tag.header("vary"));
}
