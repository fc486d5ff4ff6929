//! Keys of calls by gRPC, gRPC-Web and Connect.

use bytes::Bytes;
use http::Method;
use mainstay::kernel::channel::framed;
use mainstay::kernel::error::Error;
use mainstay_testing::Reply;
use prost::Message;
use serde_json::json;
use tonic::{Code, Request, Status};

use super::{JSON, borrow};
use crate::errors::refusal;
use crate::feed::Feed;
use crate::grpc::{Book, GrpcClient};
use crate::world::{USER, World};

const BORROW: &str = "/library.v1.LibraryService/Borrow";

#[derive(Clone, PartialEq, Message)]
struct GetBookRequest {
    #[prost(string, tag = "1")]
    book_id: String,
}

/// A request for a book, written for a media type.
fn written(media_type: &str, book: &str) -> Bytes {
    let message = GetBookRequest { book_id: book.into() }.encode_to_vec();
    match media_type {
        "application/json" => json!({ "bookId": book }).to_string().into(),
        "application/proto" => message.into(),
        _ => framed(&message),
    }
}

#[tokio::test]
async fn what_is_sent_again_by_connect_or_grpc_web_happens_once() {
    let world = World::new().await;
    let ada = world.as_user(USER);
    for media_type in ["application/json", "application/proto", "application/grpc-web+proto"] {
        let before = world.call_count();
        let send = async |book: &str, key: &str| {
            let key = format!("{key} by {media_type}");
            let headers = [("content-type", media_type), ("idempotency-key", &key)];
            ada.send(Method::POST, BORROW, &headers, written(media_type, book)).await
        };
        let twice = async |book: &str, key: &str| -> Reply {
            let [first, again] = [send(book, key).await, send(book, key).await];
            assert_eq!(first.header("idempotency-replayed"), "", "{media_type}");
            assert_eq!(again.header("idempotency-replayed"), "true", "{media_type}");
            assert_eq!(again.status, first.status);
            assert_eq!(again.header("content-type"), first.header("content-type"));
            assert_eq!(again.body.len(), first.body.len());
            // The details of a refusal are a map, which is written in any order.
            if first.text().contains("Copy ") {
                assert_eq!(again.body, first.body);
            }
            again
        };
        let lent = twice("b1", "k").await;
        assert!(lent.text().contains("Copy "), "{media_type}: {}", lent.text());
        let reused = send("b2", "k").await;
        assert_eq!(reused.header("idempotency-replayed"), "");
        let refused = twice("conflict", "c").await;
        match media_type {
            "application/grpc-web+proto" => {
                assert!(reused.text().contains("grpc-status:3"), "{}", reused.text());
                assert!(refused.text().contains("grpc-status:9"), "{}", refused.text());
            }
            _ => {
                assert_eq!(reused.expect(400)["code"], "invalid_argument");
                assert_eq!(refused.expect(400)["code"], "failed_precondition");
            }
        }
        assert_eq!(world.call_count() - before, 2, "{media_type}");
    }
}

#[tokio::test]
async fn what_is_sent_again_by_grpc_happens_once_and_a_key_is_of_one_protocol() {
    let world = World::new().await;
    let mut client = GrpcClient::new(&world);
    let bearer = format!("Bearer {}", world.auth.token(USER, "free"));
    let mut lend = async |book: &str, key: &str| -> Result<Book, Status> {
        let mut request = Request::new(GetBookRequest { book_id: book.into() });
        request.metadata_mut().insert("authorization", bearer.parse().unwrap());
        request.metadata_mut().insert("idempotency-key", key.parse().unwrap());
        client.unary(BORROW, request).await
    };
    let first = lend("b1", "\"k\"").await.unwrap();
    assert_eq!(lend("b1", "k").await.unwrap(), first);
    for _ in 0..2 {
        let lent = lend("conflict", "c").await.unwrap_err();
        assert_eq!(lent.code(), Code::FailedPrecondition);
        assert_eq!(Error::from_status(&lent).details()["until"], "tomorrow");
    }
    assert_eq!(world.call_count(), 2);
    let reused = lend("b2", "k").await.unwrap_err();
    assert_eq!(Error::from_status(&reused).code().reason, "IDEMPOTENCY_KEY_REUSED");
    let by_rest = borrow(&world.as_user(USER), "b1", "k").await;
    assert_eq!(refusal(&by_rest, 422), "IDEMPOTENCY_KEY_REUSED", "not a second effect");
    let wrong = lend("b1", "a, b").await.unwrap_err();
    assert_eq!(Error::from_status(&wrong).violations()[0].field, "idempotency-key");
    assert_eq!(world.call_count(), 2);
}

#[tokio::test]
async fn a_key_that_nobody_would_keep_is_refused() {
    let world = World::new().await;
    let _feed = Feed::start(&world).await;
    let send = async |method: Method, path: &str, headers: &[(&str, &str)], body: Bytes| {
        world.rest().send(method, path, headers, body).await
    };
    let key = ("idempotency-key", "k");
    let file = "/api/v1/files/x";
    let reply = send(Method::POST, file, &[JSON, key], Bytes::from_static(b"{}")).await;
    assert_eq!(refusal(&reply, 400), "INVALID_ARGUMENT");
    assert_eq!(reply.json()["error"]["details"][0]["field"], "idempotency-key");
    let pieces = ("content-type", "application/connect+json");
    let upload = "/feed.v1.FeedService/Upload";
    let reply = send(Method::POST, upload, &[pieces, key], framed(b"{}")).await;
    assert!(reply.text().contains("idempotency-key"), "{}", reply.text());
    let reply = send(Method::GET, "/api/v1/feeds/fine", &[key], Bytes::new()).await;
    assert_eq!(reply.status, 200, "what has no effect needs none");
}
