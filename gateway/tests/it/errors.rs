//! Every refusal has the same shape.

use bytes::Bytes;
use http::Method;
use mainstay_testing::Reply;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::feed::Feed;
use crate::world::{USER, World};

/// Checks the shape that every refusal has, and gives its code.
pub(crate) fn refusal(reply: &Reply, status: u16) -> String {
    let body = reply.expect(status);
    assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
    let error = body["error"].as_object().unwrap();
    let keys: Vec<&String> = error.keys().collect();
    assert_eq!(keys, ["code", "details", "message", "request_id"], "{body}");
    assert!(error["details"].is_array());
    assert!(!error["message"].as_str().unwrap().is_empty());
    assert_eq!(error["request_id"], reply.header("x-request-id"));
    assert_eq!(reply.header("content-type"), "application/json");
    assert_eq!(reply.header("x-content-type-options"), "nosniff");
    error["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn every_refusal_at_the_edge_has_the_one_shape() {
    let world = World::new().await;
    let large = "x".repeat(5000);
    let long = format!("/api/v1/books/{}", "x".repeat(9000));
    let rows: [(Method, &str, &str, &str, u16, &str); 14] = [
        (Method::GET, "/api/v1/nothing", "", "", 404, "NOT_FOUND"),
        (Method::GET, "/", "", "", 404, "NOT_FOUND"),
        (Method::GET, "/api/v1/books/", "", "", 404, "NOT_FOUND"),
        (Method::GET, "//api/v1/books", "", "", 404, "NOT_FOUND"),
        (Method::PUT, "/api/v1/books/b1", "", "", 405, "METHOD_NOT_ALLOWED"),
        (Method::POST, "/docs", "", "", 405, "METHOD_NOT_ALLOWED"),
        (Method::POST, "/api/v1/echo", "text/plain", "{}", 415, "UNSUPPORTED_MEDIA_TYPE"),
        (Method::POST, "/api/v1/echo", "", "{}", 415, "UNSUPPORTED_MEDIA_TYPE"),
        (Method::POST, "/api/v1/echo", "application/json", &large, 413, "PAYLOAD_TOO_LARGE"),
        (Method::POST, "/api/v1/echo", "application/json", "{", 400, "MALFORMED_JSON"),
        (Method::GET, &long, "", "", 414, "URI_TOO_LONG"),
        (Method::GET, "/api/v1/inspect", "", "", 401, "UNAUTHENTICATED"),
        (Method::GET, "/api/v1/books/none", "", "", 404, "NOT_FOUND"),
        (Method::GET, "/api/v1/dawdle", "", "", 504, "DEADLINE_EXCEEDED"),
    ];
    for (method, path, content_type, body, status, code) in rows {
        let headers: Vec<(&str, &str)> = match content_type {
            "" => Vec::new(),
            content_type => vec![("content-type", content_type)],
        };
        let body = Bytes::copy_from_slice(body.as_bytes());
        let reply = world.rest().send(method.clone(), path, &headers, body).await;
        assert_eq!(refusal(&reply, status), code, "{method} {path}");
    }
}

#[tokio::test]
async fn who_sends_to_the_end_before_it_listens_finds_the_refusal() {
    let world = World::new().await;
    let _feed = Feed::start(&world).await;
    // More than the system keeps between the two.
    let body = vec![b' '; 7 << 20];
    let announced = format!("content-length: {}\r\n\r\n", body.len());
    let in_pieces = format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n", body.len());
    for (path, length, end, status) in [
        ("/api/v1/echo", &announced, "", 413),
        ("/api/v1/nothing", &announced, "", 404),
        ("/api/v1/books/b1:borrow", &announced, "", 401),
        // By a page of the gateway's own, and while it is handed on.
        ("/openapi.json", &announced, "", 405),
        ("/api/v1/files/x", &in_pieces, "\r\n0\r\n\r\n", 413),
    ] {
        let mut connection = TcpStream::connect(world.gateway.local_addr()).await.unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-type: application/json\r\n{length}"
        );
        for part in [head.as_bytes(), &body, end.as_bytes()] {
            let sent = connection.write_all(part).await;
            sent.unwrap_or_else(|error| panic!("{path}: {error}"));
        }
        let mut reply = String::new();
        connection.read_to_string(&mut reply).await.unwrap();
        assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {reply}");
    }
}

#[tokio::test]
async fn who_asks_for_problem_details_gets_them_of_every_refusal() {
    let world = World::new().await;
    let accept = [("accept", "application/json, application/problem+json")];
    let rows = [
        (Method::GET, "/api/v1/nothing", 404, "Not Found", "NOT_FOUND"),
        (Method::PUT, "/api/v1/books/b1", 405, "Method Not Allowed", "METHOD_NOT_ALLOWED"),
        (Method::GET, "/api/v1/inspect", 401, "Unauthorized", "UNAUTHENTICATED"),
        (Method::GET, "/api/v1/books?page_size=x", 400, "Bad Request", "INVALID_ARGUMENT"),
        (Method::GET, "/api/v1/books/none", 404, "Not Found", "NOT_FOUND"),
    ];
    for (method, path, status, title, code) in rows {
        let reply = world.rest().send(method, path, &accept, Bytes::new()).await;
        let problem = reply.expect(status);
        assert_eq!(reply.header("content-type"), "application/problem+json", "{path}");
        assert!(reply.header("vary").contains("accept"), "{path}");
        assert_eq!(problem["type"], "about:blank");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["title"], title);
        assert_eq!(problem["code"], code);
        assert!(!problem["detail"].as_str().unwrap().is_empty(), "{problem}");
        assert_eq!(problem["request_id"], reply.header("x-request-id"));
        assert!(problem["details"].is_array(), "{problem}");
    }
    let book = world.rest().send(Method::GET, "/api/v1/books/b1", &accept, Bytes::new()).await;
    assert_eq!(book.header("content-type"), "application/json", "what succeeds is no problem");
    let head = world.rest().send(Method::HEAD, "/api/v1/books/none", &accept, Bytes::new()).await;
    assert_eq!((head.status, head.body.len()), (404, 0));
}

#[tokio::test]
async fn a_wrong_method_hears_which_are_right() {
    let world = World::new().await;
    let none = Bytes::new();
    let reply = world.rest().send(Method::PUT, "/api/v1/books/b1", &[], none.clone()).await;
    assert_eq!(reply.header("allow"), "GET, HEAD, OPTIONS, PATCH");
    let reply = world.rest().send(Method::OPTIONS, "/api/v1/books/b1", &[], none.clone()).await;
    assert_eq!((reply.status, reply.header("allow")), (204, "GET, HEAD, OPTIONS, PATCH"));
    let reply = world.rest().send(Method::HEAD, "/api/v1/books/b1", &[], none).await;
    assert_eq!((reply.status, reply.body.len()), (200, 0));
}

#[tokio::test]
async fn a_service_says_what_is_wrong_in_its_own_words() {
    let world = World::new().await;
    let fail = async |how: &str| world.rest().post("/api/v1/fail", json!({ "how": how })).await;

    let reply = fail("conflict").await;
    assert_eq!(refusal(&reply, 409), "BOOK_LENT");
    assert_eq!(reply.json()["error"]["message"], "the book is lent");
    assert_eq!(reply.json()["error"]["details"][0]["until"], "tomorrow");

    let reply = fail("quota").await;
    assert_eq!(refusal(&reply, 429), "RATE_LIMITED");
    assert_eq!(reply.header("retry-after"), "60");
    let quota = json!({ "subject": "shelf:poetry", "description": "3 books a day" });
    assert_eq!(reply.json()["error"]["details"][0], quota);

    let reply = fail("field").await;
    assert_eq!(refusal(&reply, 400), "INVALID_ARGUMENT");
    assert_eq!(reply.json()["error"]["details"][0]["field"], "how");

    let reply = fail("limited").await;
    assert_eq!(refusal(&reply, 429), "RATE_LIMITED");
    assert_eq!(reply.header("retry-after"), "3");

    let reply = fail("serve").await;
    assert_eq!(refusal(&reply, 503), "UNAVAILABLE");
    assert!(!reply.header("retry-after").is_empty());
}

#[tokio::test]
async fn our_own_faults_are_not_told() {
    let world = World::new().await;
    for how in ["internal", "panic"] {
        let reply = world.rest().post("/api/v1/fail", json!({ "how": how })).await;
        assert_eq!(refusal(&reply, 500), "INTERNAL");
        assert!(!reply.text().contains("hunter2"));
        assert_eq!(reply.json()["error"]["message"], "internal error");
    }
}

#[tokio::test]
async fn a_call_without_body_takes_no_fields() {
    let world = World::new().await;
    let json = [("content-type", "application/json")];
    let rest = world.as_user(USER);
    let send = async |body: &'static str| {
        rest.send(Method::GET, "/api/v1/inspect", &json, Bytes::from_static(body.as_bytes())).await
    };
    send("{}").await.expect(200);
    let reply = send(r#"{"colour": 1}"#).await;
    assert_eq!(refusal(&reply, 400), "INVALID_ARGUMENT");
    assert_eq!(reply.json()["error"]["details"][0]["field"], "colour");
    world.rest().send(Method::POST, "/api/v1/echo", &[], Bytes::new()).await.expect(200);
}

#[tokio::test]
async fn browsers_of_named_origins_may_call() {
    let settings = gateway::GatewaySettings {
        cors_origins: vec!["https://app.example.com".into()],
        ..Default::default()
    };
    let world = World::with(settings).await;
    let preflight = async |origin: &str| {
        let headers = [("origin", origin), ("access-control-request-method", "POST")];
        world.rest().send(Method::OPTIONS, "/api/v1/echo", &headers, Bytes::new()).await
    };
    let reply = preflight("https://app.example.com").await;
    assert_eq!(reply.status, 204);
    assert_eq!(reply.header("access-control-allow-origin"), "https://app.example.com");
    assert!(reply.header("access-control-allow-headers").contains("authorization"));
    assert_eq!(preflight("https://evil.example").await.header("access-control-allow-origin"), "");
    let headers = [("origin", "https://app.example.com")];
    let reply = world.rest().send(Method::GET, "/nothing", &headers, Bytes::new()).await;
    assert_eq!(reply.header("access-control-allow-origin"), "https://app.example.com");
    assert_eq!(refusal(&reply, 404), "NOT_FOUND");
}
