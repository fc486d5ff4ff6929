//! gRPC-Web on the gateway's port.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Method;
use mainstay::kernel::channel::framed;
use mainstay_testing::Reply;
use prost::Message as _;

use crate::feed::{Feed, Item, item};
use crate::grpc::about;
use crate::world::World;

/// One message, or the trailers, by the flag of its frame.
pub(crate) fn frames(mut body: Bytes) -> Vec<(u8, Bytes)> {
    let mut frames = Vec::new();
    while !body.is_empty() {
        let length = u32::from_be_bytes(body[1..5].try_into().unwrap()) as usize;
        frames.push((body[0], body.slice(5..5 + length)));
        body = body.slice(5 + length..);
    }
    frames
}

pub(crate) async fn web(world: &World, media_type: &str, method: &str, body: Bytes) -> Reply {
    let headers = [("content-type", media_type), ("accept", media_type), ("x-grpc-web", "1")];
    let path = format!("/feed.v1.FeedService/{method}");
    world.rest().send(Method::POST, &path, &headers, body).await
}

/// The frames of a reply in text, of which each may have padding of its own.
fn decoded(reply: &Reply) -> Bytes {
    let text = reply.text();
    let quads = text.as_bytes().chunks(4);
    quads.flat_map(|quad| STANDARD.decode(quad).unwrap()).collect()
}

#[tokio::test]
async fn grpc_web_speaks_in_frames_and_in_text() {
    let world = World::new().await;
    let _feed = Feed::start(&world).await;
    let request = framed(&about("fine").encode_to_vec());
    let binary = web(&world, "application/grpc-web+proto", "Watch", request.clone()).await;
    assert_eq!(binary.header("content-type"), "application/grpc-web+proto");
    let text = Bytes::from(STANDARD.encode(&request));
    let text = web(&world, "application/grpc-web-text", "Watch", text).await;
    for body in [binary.body.clone(), decoded(&text)] {
        let frames = frames(body);
        let (last, items) = frames.split_last().unwrap();
        let items: Vec<Item> =
            items.iter().map(|(_, item)| Item::decode(item.clone()).unwrap()).collect();
        assert_eq!(items, [item(1), item(2), item(3)]);
        assert_eq!(last.0, 0x80);
        assert!(String::from_utf8_lossy(&last.1).contains("grpc-status:0"), "{last:?}");
    }
    let one = web(&world, "application/grpc-web", "GetItem", request).await;
    let frames = frames(one.body);
    assert_eq!((frames.len(), Item::decode(frames[0].1.clone()).unwrap()), (2, item(1)));
}

#[tokio::test]
async fn grpc_web_hears_refusals_in_its_trailers() {
    let world = World::new().await;
    let _feed = Feed::start(&world).await;
    let request = framed(&about("none").encode_to_vec());
    for (method, status) in [("Watch", 5), ("GetItem", 5), ("Peek", 16), ("Hidden", 12)] {
        let reply = web(&world, "application/grpc-web+proto", method, request.clone()).await;
        assert_eq!(reply.status, 200, "{method}");
        let frames = frames(reply.body.clone());
        let trailers = String::from_utf8_lossy(&frames[0].1).into_owned();
        assert_eq!((frames.len(), frames[0].0), (1, 0x80), "{method}");
        assert!(trailers.contains(&format!("grpc-status:{status}\r\n")), "{method}: {trailers}");
        assert!(trailers.contains("grpc-status-details-bin:"), "{method}: {trailers}");
    }
}

#[tokio::test]
async fn the_media_type_of_grpc_web_is_read_as_every_other() {
    let world = World::new().await;
    let _feed = Feed::start(&world).await;
    let request = framed(&about("fine").encode_to_vec());
    for (media_type, status) in [
        ("application/grpc-web; charset=utf-8", 0),
        ("Application/gRPC-Web+Proto", 0),
        ("application/grpc-web+json", 3),
        ("application/grpc-web-text; charset=utf-8", 0),
        ("application/grpc-web-text+thrift", 3),
    ] {
        let is_text = media_type.contains("-text");
        let body = if is_text { STANDARD.encode(&request).into() } else { request.clone() };
        let reply = web(&world, media_type, "GetItem", body).await;
        assert_eq!(reply.status, 200, "{media_type}");
        let frames = frames(if is_text { decoded(&reply) } else { reply.body });
        let (flag, trailers) = frames.last().unwrap();
        let trailers = String::from_utf8_lossy(trailers);
        assert_eq!(*flag, 0x80, "{media_type}");
        assert!(
            trailers.contains(&format!("grpc-status:{status}\r\n")),
            "{media_type}: {trailers}"
        );
    }
}
