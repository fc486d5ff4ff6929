//! Replies in the encodings that callers accept, and requests in those that the gateway does not.

use std::io::Read as _;

use bytes::Bytes;
use gateway::GatewaySettings;
use http::Method;
use mainstay_testing::Reply;

use crate::errors::refusal;
use crate::world::World;

const LIST: &str = "/api/v1/books?page_size=5";

async fn small_floor() -> World {
    let settings = GatewaySettings { compression_min_bytes: 100, ..GatewaySettings::default() };
    World::with(settings).await
}

async fn get(world: &World, path: &str, accept: &str) -> Reply {
    world.rest().send(Method::GET, path, &[("accept-encoding", accept)], Bytes::new()).await
}

fn decoded(reply: &Reply) -> Vec<u8> {
    let mut text = Vec::new();
    match reply.header("content-encoding") {
        "gzip" => flate2::read::GzDecoder::new(&reply.body[..]).read_to_end(&mut text).unwrap(),
        "br" => brotli::Decompressor::new(&reply.body[..], 4096).read_to_end(&mut text).unwrap(),
        "zstd" => zstd::Decoder::new(&reply.body[..]).unwrap().read_to_end(&mut text).unwrap(),
        "" => return reply.body.to_vec(),
        other => panic!("{other}"),
    };
    text
}

#[tokio::test]
async fn replies_come_in_the_encoding_that_is_accepted() {
    let world = small_floor().await;
    let plain = world.rest().get(LIST).await;
    assert_eq!(plain.header("content-encoding"), "");
    let rows = [
        ("gzip", "gzip"),
        ("br", "br"),
        ("zstd", "zstd"),
        ("gzip;q=0.5, br;q=0.9, zstd;q=0.1", "br"),
        ("gzip;q=0", ""),
        ("identity", ""),
        ("compress", ""),
    ];
    for (accept, expected) in rows {
        let reply = get(&world, LIST, accept).await;
        assert_eq!((reply.status, reply.header("content-encoding")), (200, expected), "{accept}");
        assert_eq!(reply.header("vary"), "accept-encoding", "{accept}");
        assert_eq!(reply.header("etag"), plain.header("etag"), "{accept}");
        let body: serde_json::Value = serde_json::from_slice(&decoded(&reply)).unwrap();
        assert_eq!(body["data"], plain.json()["data"], "{accept}");
    }
    let again = [("accept-encoding", "gzip"), ("if-none-match", plain.header("etag"))];
    let again = world.rest().send(Method::GET, LIST, &again, Bytes::new()).await;
    assert_eq!((again.status, again.body.len(), again.header("content-encoding")), (304, 0, ""));
    assert_eq!(again.header("vary"), "accept-encoding", "as the reply that it stands for");
}

#[tokio::test]
async fn small_replies_and_those_that_change_something_stay_as_they_are() {
    let world = World::new().await;
    assert_eq!(get(&world, LIST, "gzip").await.header("content-encoding"), "", "below 1 KiB");
    let document = get(&world, "/openapi.json", "gzip").await;
    assert_eq!(document.header("content-encoding"), "gzip");
    let plain = world.rest().get("/openapi.json").await;
    assert_eq!(decoded(&document), plain.body);
    assert!(document.body.len() * 3 < plain.body.len(), "it is worth it");

    let world = small_floor().await;
    let text = "x".repeat(90);
    let headers = [("content-type", "application/json"), ("accept-encoding", "gzip")];
    let body = format!("{{\"text\":\"{text}\"}}");
    let echo = world.rest().send(Method::POST, "/api/v1/echo", &headers, body.into()).await;
    assert_eq!((echo.status, echo.header("content-encoding")), (200, ""), "tokens come this way");
    let refused = get(&world, "/api/v1/books/none", "gzip").await;
    assert_eq!((refused.status, refused.header("content-encoding")), (404, ""));
}

#[tokio::test]
async fn a_request_in_an_encoding_is_refused_with_what_is_accepted() {
    let world = World::new().await;
    for encoding in ["gzip", "br", "zstd", "identity, gzip", "deflate"] {
        let headers = [("content-type", "application/json"), ("content-encoding", encoding)];
        let reply = world.rest().send(Method::POST, "/api/v1/echo", &headers, "{}".into()).await;
        assert_eq!(refusal(&reply, 415), "UNSUPPORTED_MEDIA_TYPE", "{encoding}");
        assert_eq!(reply.header("accept-encoding"), "identity", "{encoding}");
    }
    let headers = [("content-type", "application/json"), ("content-encoding", "identity")];
    let reply = world.rest().send(Method::POST, "/api/v1/echo", &headers, "{}".into()).await;
    reply.expect(200);
}
