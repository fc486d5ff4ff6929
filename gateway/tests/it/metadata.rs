//! What travels beside the messages, and how long a call may take.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, request};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use mainstay::kernel::channel::framed;
use mainstay_testing::Reply;
use prost::Message as _;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tonic::{Code, Request};

use crate::connect::{json_frames, streamed};
use crate::errors::refusal;
use crate::feed::{Feed, Item};
use crate::grpc::{GrpcClient, about};
use crate::grpc_web::{frames, web};
use crate::world::World;

async fn send(world: &World, path: &str, headers: &[(&str, &str)]) -> Reply {
    world.rest().send(Method::GET, path, headers, Bytes::new()).await
}

#[tokio::test]
async fn what_the_contract_declares_travels_and_nothing_else() {
    let world = World::new().await;
    let (feed, _running) = Feed::start(&world).await;
    let asked = [("x-feed-hint", "short"), ("x-feed-other", "1")];
    let reply = send(&world, "/api/v1/items/x", &asked).await;
    reply.expect(200);
    let arrived = feed.metadata.lock().unwrap().clone();
    assert_eq!(arrived["x-feed-hint"], "short");
    assert!(arrived.get("x-feed-other").is_none());
    assert_eq!((reply.header("x-feed-version"), reply.header("x-feed-cost")), ("7", "3"));
    let stream = send(&world, "/api/v1/feeds/fine", &[]).await;
    assert_eq!(stream.header("x-feed-version"), "7");

    let path = "/feed.v1.FeedService/GetItem?connect=v1&encoding=json&message=%7B%7D";
    let connect = send(&world, path, &[]).await;
    let trailer = connect.header("trailer-x-feed-cost");
    assert_eq!((connect.header("x-feed-version"), trailer), ("7", "3"));
    for reply in [reply, stream, connect] {
        for name in ["x-feed-secret", "x-feed-debt", "trailer-x-feed-debt", "grpc-status"] {
            assert_eq!(reply.header(name), "", "{name} is not declared");
        }
    }
}

#[tokio::test]
async fn what_the_contract_declares_travels_with_failures_too() {
    let world = World::new().await;
    let _feed = Feed::start(&world).await;
    let rest = send(&world, "/api/v1/items/sold", &[]).await;
    assert_eq!(refusal(&rest, 404), "NOT_FOUND");
    let path = "/feed.v1.FeedService/GetItem?connect=v1&encoding=json&message=%7B%22topic%22%3A%22sold%22%7D";
    let connect = send(&world, path, &[]).await;
    // Its headers came before it failed, its cost with the status.
    let stream = send(&world, "/api/v1/feeds/early-error", &[]).await;
    assert_eq!((refusal(&stream, 409).as_str(), stream.header("x-feed-cost")), ("BOOK_LENT", "3"));
    for reply in [rest, connect, stream] {
        let told = (reply.header("x-feed-version"), reply.header("x-feed-secret"));
        assert_eq!(told, ("7", ""));
    }
    let body = json_frames(&[json!({ "topic": "late-error" })]);
    let headers = [("content-type", "application/connect+json")];
    let path = "/feed.v1.FeedService/Watch";
    let reply = world.rest().send(Method::POST, path, &headers, body).await;
    assert_eq!(streamed(&reply).1["metadata"], json!({ "x-feed-cost": ["3"] }));

    let mut client = GrpcClient::new(&world);
    let path = "/feed.v1.FeedService/GetItem";
    let failed = client.unary::<_, Item>(path, Request::new(about("sold"))).await.unwrap_err();
    assert_eq!(failed.code(), Code::NotFound);
    let told = failed.metadata().as_ref();
    assert!(told["x-feed-version"] == "7" && !told.contains_key("x-feed-secret"), "{told:?}");
    let mut items = client.watch("late-error").await.unwrap().into_inner();
    let failed = loop {
        if let Err(status) = items.message().await {
            break status;
        }
    };
    let told = failed.metadata().as_ref();
    assert!(told["x-feed-cost"] == "3" && !told.contains_key("x-feed-debt"), "{told:?}");
    let request = framed(&about("sold").encode_to_vec());
    let reply = web(&world, "application/grpc-web+proto", "GetItem", request).await;
    let trailers = String::from_utf8_lossy(&frames(reply.body)[0].1).into_owned();
    assert!(trailers.contains("x-feed-version:7\r\n"), "{trailers}");
}

/// The headers of a stream in one of its forms, its text, and its trailers.
async fn stream(
    world: &World,
    form: [&str; 2],
    te: &str,
    http2: bool,
) -> (HeaderMap, String, String) {
    let [path, accept] = form;
    let client = Client::builder(TokioExecutor::new()).http2_only(http2).build_http();
    let uri = format!("http://{}{path}", world.gateway.local_addr());
    let request = request::Builder::new().uri(uri).header("accept", accept).header("te", te);
    let reply = client.request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
    assert_eq!(reply.status(), 200, "{path}");
    let (head, body) = reply.into_parts();
    let body = body.collect().await.unwrap();
    let trailers = body.trailers().cloned().unwrap_or_default();
    let mut trailers: Vec<_> = trailers
        .iter()
        .map(|(name, value)| format!("{name}={}", value.to_str().unwrap()))
        .collect();
    trailers.sort();
    (head.headers, String::from_utf8_lossy(&body.to_bytes()).into_owned(), trailers.join(" "))
}

#[tokio::test]
async fn what_is_told_at_the_end_of_a_stream_comes_in_trailers_for_who_takes_them() {
    let world = World::with_heartbeats().await;
    let _feed = Feed::start(&world).await;
    let events = "text/event-stream";
    let rows = [
        (["/api/v1/feeds/fine", "*/*"], "item 3", "x-feed-cost=3"),
        (["/api/v1/feeds/fine", "application/x-ndjson"], "item 3", "x-feed-cost=3"),
        (["/api/v1/feeds/fine", events], "item 3", "x-feed-cost=3"),
        (["/api/v1/feeds/empty", "*/*"], "[]", "x-feed-cost=3"),
        (["/api/v1/feeds/late-error", "*/*"], "BOOK_LENT", "x-feed-cost=3"),
        (["/api/v1/files/table", "*/*"], "1,2", "x-feed-cost=3"),
        // It began when its events had begun already.
        (["/api/v1/feeds/slow-fine", events], "item 3", "x-feed-cost=3 x-feed-version=7"),
        (["/api/v1/feeds/slow-none", events], "NOT_FOUND", ""),
    ];
    for (form, text, told) in rows {
        for http2 in [false, true] {
            // Over HTTP/2 it can say nothing else (RFC 9113, section 8.2.2).
            let te = if http2 { "trailers" } else { "deflate, Trailers" };
            let (headers, body, trailers) = stream(&world, form, te, http2).await;
            assert!(body.contains(text), "{form:?}: {body}");
            assert_eq!(trailers, told, "{form:?}, over HTTP/2: {http2}");
            let announced = headers["trailer"].to_str().unwrap();
            assert!(
                announced.contains("x-feed-cost") && !announced.contains("debt"),
                "{announced}"
            );
            let (headers, body, trailers) = stream(&world, form, "deflate", http2).await;
            assert!(body.contains(text), "{form:?}: {body}");
            assert_eq!((trailers.as_str(), headers.get("trailer")), ("", None), "{form:?}");
        }
    }
    let none_declared = ["/plain/feeds/fine", "*/*"];
    let (headers, _, trailers) = stream(&world, none_declared, "trailers", true).await;
    assert_eq!((trailers.as_str(), headers.get("trailer")), ("", None));
}

#[tokio::test]
async fn a_name_among_headers_and_trailers_is_told_with_the_values_of_both() {
    let world = World::new().await;
    let _feed = Feed::start(&world).await;
    let reply = send(&world, "/api/v1/items/dear", &[]).await;
    let costs: Vec<_> = reply.headers.get_all("x-feed-cost").iter().collect();
    assert_eq!(costs, ["2", "3"], "{}", reply.status);
}

#[tokio::test]
async fn a_caller_says_how_long_it_waits_and_the_contract_how_long_at_most() {
    let world = World::new().await;
    let (feed, _running) = Feed::start(&world).await;
    let left = || {
        let metadata = feed.metadata.lock().unwrap();
        let text = metadata["grpc-timeout"].to_str().unwrap();
        let micros: u64 = text.trim_end_matches('u').parse().unwrap();
        Duration::from_micros(micros)
    };
    for (name, value, most) in [
        ("x-request-timeout", "3", 3),
        ("x-request-timeout", "2500ms", 3),
        ("x-request-timeout", "300s", 30),
        ("grpc-timeout", "2S", 2),
    ] {
        send(&world, "/api/v1/items/x", &[(name, value)]).await.expect(200);
        assert!(left() <= Duration::from_secs(most), "{name}: {value}");
        assert!(left() > Duration::from_secs(most) / 2, "{name}: {value}");
    }
    let reply = send(&world, "/api/v1/items/slow", &[("x-request-timeout", "50ms")]).await;
    assert_eq!(refusal(&reply, 504), "DEADLINE_EXCEEDED");
    let reply = send(&world, "/api/v1/items/x", &[("x-request-timeout", "soon")]).await;
    assert_eq!(refusal(&reply, 400), "INVALID_ARGUMENT");
    let path = "/feed.v1.FeedService/GetItem?connect=v1&encoding=json&message=%7B%7D";
    send(&world, path, &[("connect-timeout-ms", "1500")]).await.expect(200);
    assert!(left() <= Duration::from_millis(1500));
}

#[tokio::test]
async fn a_caller_that_goes_ends_its_unary_call() {
    let world = World::new().await;
    let (feed, _running) = Feed::start(&world).await;
    let rest = world.rest();
    let call = tokio::spawn(async move { rest.get("/api/v1/items/slow").await });
    feed.calls_under_way(1).await;
    call.abort();
    feed.calls_under_way(0).await;
}

#[tokio::test]
async fn a_caller_that_goes_ends_its_call_though_it_has_sent_the_next() {
    let world = World::new().await;
    let (feed, _running) = Feed::start(&world).await;
    let next = b"GET /api/v1/items/x HTTP/1.1\r\nhost: a\r\n\r\n";
    // The second is more than hyper reads ahead, so that some of it stays in the system's buffer.
    for count in [1, 1_000] {
        let mut caller = TcpStream::connect(world.gateway.local_addr()).await.unwrap();
        let call = b"GET /api/v1/items/slow HTTP/1.1\r\nhost: a\r\n\r\n";
        caller.write_all(call).await.unwrap();
        feed.calls_under_way(1).await;
        caller.write_all(&next.repeat(count)).await.unwrap();
        drop(caller);
        feed.calls_under_way(0).await;
    }
}
