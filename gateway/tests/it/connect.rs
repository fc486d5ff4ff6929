//! The Connect protocol on the gateway's port, through the same policies.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use bytes::{BufMut as _, Bytes, BytesMut};
use gateway::GatewaySettings;
use gateway::config::Rate;
use http::Method;
use mainstay::kernel::channel::framed;
use mainstay_testing::Reply;
use prost::Message as _;
use serde_json::{Value as Json, json};
use tonic_types::StatusExt as _;

use crate::feed::{Feed, Item, Note, WatchRequest, item};
use crate::grpc::GrpcClient;
use crate::world::{OTHER, USER, World};

const LIBRARY: &str = "/library.v1.LibraryService";
const FEED: &str = "/feed.v1.FeedService";

async fn post(
    world: &World,
    user: Option<&str>,
    path: &str,
    media_type: &str,
    body: Bytes,
) -> Reply {
    let rest = user.map_or_else(|| world.rest(), |user| world.as_user(user));
    let headers = [("content-type", media_type), ("connect-protocol-version", "1")];
    rest.send(Method::POST, path, &headers, body).await
}

async fn unary(world: &World, user: Option<&str>, path: &str, body: Json) -> Reply {
    post(world, user, path, "application/json", body.to_string().into()).await
}

/// Checks the shape of an error, and gives its code.
fn refused(reply: &Reply, status: u16) -> String {
    let body = reply.expect(status);
    assert_eq!(reply.header("content-type"), "application/json");
    assert!(!body["message"].as_str().unwrap().is_empty(), "{body}");
    let details = body["details"].as_array().unwrap();
    let info = details.iter().find(|detail| detail["type"] == "google.rpc.ErrorInfo").unwrap();
    assert!(STANDARD_NO_PAD.decode(info["value"].as_str().unwrap()).is_ok());
    body["code"].as_str().unwrap().to_owned()
}

/// The messages of a stream, and what its last frame says.
pub(crate) fn streamed(reply: &Reply) -> (Vec<Bytes>, Json) {
    assert_eq!(reply.status, 200);
    let (mut body, mut messages) = (reply.body.clone(), Vec::new());
    loop {
        let length = u32::from_be_bytes(body[1..5].try_into().unwrap()) as usize;
        let content = body.slice(5..5 + length);
        match body[0] {
            0 => messages.push(content),
            flags => {
                assert_eq!((flags, body.len()), (2, 5 + length), "the end is last");
                return (messages, serde_json::from_slice(&content).unwrap());
            }
        }
        body = body.slice(5 + length..);
    }
}

pub(crate) fn json_frames(messages: &[Json]) -> Bytes {
    let mut body = BytesMut::new();
    messages.iter().for_each(|message| body.put(framed(message.to_string().as_bytes())));
    body.freeze()
}

#[tokio::test]
async fn a_unary_call_is_a_post_or_a_get() {
    let world = World::new().await;
    let _feed = Feed::start(&world).await;
    let get_item = format!("{FEED}/GetItem");
    let expected = json!({ "id": "1", "bodyText": "item 1" });
    let reply = unary(&world, None, &get_item, json!({ "topic": "x" })).await;
    assert_eq!(reply.expect(200), expected);
    assert_eq!(reply.header("content-type"), "application/json");

    let request = WatchRequest { topic: "x".into(), after: String::new() }.encode_to_vec();
    let reply = post(&world, None, &get_item, "application/proto", request.clone().into()).await;
    assert_eq!(reply.header("content-type"), "application/proto");
    assert_eq!(Item::decode(reply.body).unwrap(), item(1));

    let asked = format!("{get_item}?connect=v1&encoding=json&message=%7B%22topic%22%3A%22x%22%7D");
    assert_eq!(world.rest().get(&asked).await.expect(200), expected);
    let message = URL_SAFE_NO_PAD.encode(&request);
    let asked = format!("{get_item}?connect=v1&encoding=proto&base64=1&message={message}");
    assert_eq!(Item::decode(world.rest().get(&asked).await.body).unwrap(), item(1));

    let change = format!("{LIBRARY}/Echo?connect=v1&encoding=json&message=%7B%7D");
    let reply = world.rest().get(&change).await;
    assert_eq!((refused(&reply, 405).as_str(), reply.header("allow")), ("unimplemented", "POST"));
}

#[tokio::test]
async fn a_unary_call_passes_every_policy() {
    let mut settings = GatewaySettings::default();
    settings.rates.insert("seldom".into(), [("default".into(), Rate::per_minute(1))].into());
    let world = World::with(settings).await;
    let _feed = Feed::start(&world).await;
    let create = format!("{LIBRARY}/CreateBook");
    let book = |shelf: &str, title: &str| json!({ "shelf": shelf, "title": title });
    let made = unary(&world, Some(USER), &create, book("s1", "T")).await;
    assert_eq!(made.expect(200)["title"], "T");
    let rows = [
        (None, book("s1", "T"), 401, "unauthenticated"),
        (Some(OTHER), book("s1", "T"), 403, "permission_denied"),
        (Some(USER), book("s2", "T"), 403, "permission_denied"),
        (Some(USER), book("s1", ""), 400, "invalid_argument"),
        (Some(USER), json!({ "colour": 1 }), 400, "invalid_argument"),
        (Some(USER), book("s1", &"x".repeat(5000)), 429, "resource_exhausted"),
    ];
    for (user, body, status, code) in rows {
        assert_eq!(
            refused(&unary(&world, user, &create, body.clone()).await, status),
            code,
            "{body}"
        );
    }
    let seldom = format!("{LIBRARY}/Seldom");
    unary(&world, None, &seldom, json!({})).await.expect(200);
    let reply = unary(&world, None, &seldom, json!({})).await;
    assert_eq!(refused(&reply, 429), "resource_exhausted");
    assert!(!reply.header("retry-after").is_empty());
    for (path, user) in [("Foreign", Some(USER)), ("Hidden", Some(USER)), ("Nothing", None)] {
        let reply = unary(&world, user, &format!("{FEED}/{path}"), json!({})).await;
        assert_eq!(refused(&reply, 501), "unimplemented", "{path}");
    }
    let dawdle = unary(&world, None, &format!("{LIBRARY}/Dawdle"), json!({})).await;
    assert_eq!(refused(&dawdle, 504), "deadline_exceeded");
}

#[tokio::test]
async fn streams_are_frames_whose_last_says_how_it_ended() {
    let world = World::new().await;
    let _feed = Feed::start(&world).await;
    let watch = async |topic: &str, codec: &str| {
        let request = WatchRequest { topic: topic.into(), after: String::new() };
        let body = match codec {
            "proto" => framed(&request.encode_to_vec()),
            _ => json_frames(&[json!({ "topic": topic })]),
        };
        let media_type = format!("application/connect+{codec}");
        let reply = post(&world, None, &format!("{FEED}/Watch"), &media_type, body).await;
        assert_eq!(reply.header("content-type"), media_type);
        reply
    };
    let (items, end) = streamed(&watch("fine", "proto").await);
    let items: Vec<Item> = items.into_iter().map(|item| Item::decode(item).unwrap()).collect();
    assert_eq!(items, [item(1), item(2), item(3)]);
    assert_eq!(end, json!({ "metadata": { "x-feed-cost": ["3"] } }));
    let (items, end) = streamed(&watch("late-error", "json").await);
    let first: Json = serde_json::from_slice(&items[0]).unwrap();
    assert_eq!((items.len(), first), (2, json!({ "id": "1", "bodyText": "item 1" })));
    assert_eq!(end["error"]["code"], "failed_precondition");
    let (items, end) = streamed(&watch("none", "json").await);
    assert_eq!((items.len(), &end["error"]["code"]), (0, &json!("not_found")));

    let chat = |user: Option<&'static str>, notes: &[Json]| {
        let (body, path) = (json_frames(notes), format!("{FEED}/Chat"));
        let world = &world;
        async move { streamed(&post(world, user, &path, "application/connect+json", body).await) }
    };
    let (answers, end) = chat(Some(USER), &[json!({ "text": "a" }), json!({ "text": "b" })]).await;
    assert_eq!(answers, [r#"{"text":"A"}"#, r#"{"text":"B"}"#]);
    assert!(end.get("error").is_none());
    let (_, end) = chat(None, &[json!({ "text": "a" })]).await;
    assert_eq!(end["error"]["code"], "unauthenticated");
    for wrong in [json!({ "weight": -1 }), json!({ "colour": 1 })] {
        let (_, end) = chat(Some(USER), &[json!({ "text": "a" }), wrong]).await;
        assert_eq!(end["error"]["code"], "invalid_argument");
    }
    let notes = [1, 2].map(|weight| Note { shelf: "s1".into(), weight, ..Note::default() });
    let body: Vec<u8> = notes.iter().flat_map(|note| framed(&note.encode_to_vec())).collect();
    let collect = format!("{FEED}/Collect");
    let reply = post(&world, Some(USER), &collect, "application/connect+proto", body.into()).await;
    assert_eq!(streamed(&reply).0.len(), 1);
}

#[tokio::test]
async fn what_another_server_says_of_an_error_reaches_the_caller_but_for_what_is_its_own() {
    let world = World::new().await;
    let _feed = Feed::start(&world).await;
    let reply =
        unary(&world, None, &format!("{FEED}/GetItem"), json!({ "topic": "strange" })).await;
    assert_eq!(refused(&reply, 404), "not_found");
    let details = reply.expect(404)["details"].as_array().unwrap().clone();
    let kinds: Vec<&str> = details.iter().map(|detail| detail["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["google.rpc.ErrorInfo", "google.rpc.Help"]);

    let status = GrpcClient::new(&world).watch("strange").await.unwrap_err();
    let details = status.get_error_details();
    assert_eq!(details.error_info().unwrap().domain, "feed.example");
    assert_eq!(details.help().unwrap().links[0].url, "https://feed.example/hours");
    assert!(details.debug_info().is_none(), "{details:?}");
}

#[tokio::test]
async fn what_does_not_fit_is_refused_by_the_protocols_rule() {
    let world = World::new().await;
    let _feed = Feed::start(&world).await;
    let post = async |method: &str, headers: &[(&str, &str)]| {
        let path = format!("{FEED}/{method}");
        world.rest().send(Method::POST, &path, headers, Bytes::from_static(b"{}")).await
    };
    let json = ("content-type", "application/json");
    assert_eq!(refused(&post("Watch", &[json]).await, 415), "invalid_argument");
    let compressed = post("GetItem", &[json, ("content-encoding", "gzip")]).await;
    assert_eq!(refused(&compressed, 501), "unimplemented");
    assert!(compressed.text().contains("identity"), "{}", compressed.text());
    assert_eq!(compressed.header("accept-encoding"), "identity");
    let stream =
        [("content-type", "application/connect+json"), ("connect-content-encoding", "gzip")];
    let compressed = post("Watch", &stream).await;
    assert_eq!(streamed(&compressed).1["error"]["code"], "unimplemented");
    assert_eq!(compressed.header("connect-accept-encoding"), "identity");
    let late = post("GetItem", &[json, ("connect-timeout-ms", "soon")]).await;
    assert_eq!(refused(&late, 400), "invalid_argument");
    let reply = post("GetItem", &[("content-type", "application/connect+json")]).await;
    assert_eq!(streamed(&reply).1["error"]["code"], "invalid_argument");
    let reply = post("GetItem", &[("content-type", "text/plain")]).await;
    assert_eq!(reply.error_code(404), "NOT_FOUND", "that is no Connect");
    let xml = [("content-type", "application/xml"), ("connect-protocol-version", "1")];
    assert_eq!(refused(&post("GetItem", &xml).await, 415), "invalid_argument");
    let xml = [("content-type", "application/connect+xml")];
    assert_eq!(refused(&post("Watch", &xml).await, 415), "invalid_argument");
    let xml = format!("{FEED}/GetItem?connect=v1&encoding=xml&message=x");
    assert_eq!(refused(&world.rest().get(&xml).await, 415), "invalid_argument");
}

#[tokio::test]
async fn a_get_is_kept_and_asked_for_again_as_those_of_rest() {
    let world = World::new().await;
    let _feed = Feed::start(&world).await;
    let path = format!("{FEED}/GetItem?connect=v1&encoding=json&message=%7B%7D");
    let first = world.rest().get(&path).await;
    first.expect(200);
    let tag = first.header("etag");
    assert!(tag.starts_with("W/\""), "{tag}");
    assert_eq!(first.header("cache-control"), "no-cache", "anyone may read it");
    let again =
        world.rest().send(Method::GET, &path, &[("if-none-match", tag)], Bytes::new()).await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    let signed = format!(
        "{LIBRARY}/GetSigned?connect=v1&encoding=json&message=%7B%22bookId%22%3A%22b1%22%7D"
    );
    let signed = world.rest().get(&signed).await;
    assert_eq!(signed.header("cache-control"), "public, max-age=60");
    let post = unary(&world, None, &format!("{FEED}/GetItem"), json!({})).await;
    assert_eq!((post.header("etag"), post.header("cache-control")), ("", "no-store"));
}
