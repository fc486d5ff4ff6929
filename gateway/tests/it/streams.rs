//! Streams of replies over plain HTTP.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use gateway::GatewaySettings;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use mainstay::kernel::lifecycle::Drained;
use mainstay_testing::Reply;
use serde_json::{Value as Json, json};
use tonic::Code;

use crate::errors::refusal;
use crate::feed::Feed;
use crate::grpc::GrpcClient;
use crate::world::{OTHER, USER, World};

const LINES: (&str, &str) = ("accept", "application/x-ndjson");
const EVENTS: (&str, &str) = ("accept", "text/event-stream");

async fn get(world: &World, path: &str, headers: &[(&str, &str)]) -> Reply {
    world.rest().send(Method::GET, path, headers, Bytes::new()).await
}

fn lines(reply: &Reply) -> Vec<Json> {
    reply.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn enveloped(id: usize) -> Json {
    json!({ "data": { "id": id.to_string(), "body_text": format!("item {id}") } })
}

fn plain(id: usize) -> Json {
    json!({ "id": id.to_string(), "bodyText": format!("item {id}") })
}

/// A reply that is read as it comes.
struct Coming {
    body: Incoming,
    read: BytesMut,
}

impl Coming {
    async fn begin(world: &World, path: &str, accept: &str) -> Self {
        Self::with(world, path, &[("accept", accept)]).await
    }

    async fn with(world: &World, path: &str, headers: &[(&str, &str)]) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        let uri = format!("http://{}{path}", world.gateway.local_addr());
        let mut request = Request::get(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let response = client.request(request).await.unwrap();
        assert_eq!(response.status(), 200);
        Self { body: response.into_body(), read: BytesMut::new() }
    }

    /// Reads until this has come.
    async fn until(&mut self, text: &str) {
        let come = async {
            while !String::from_utf8_lossy(&self.read).contains(text) {
                let frame = self.body.frame().await.expect("more comes").unwrap();
                self.read.extend_from_slice(frame.data_ref().unwrap());
            }
        };
        tokio::time::timeout(Duration::from_secs(10), come).await.expect(text);
    }

    /// The last line, once all has come.
    async fn last_line(mut self) -> Json {
        self.read.extend_from_slice(&self.body.collect().await.unwrap().to_bytes());
        let text = String::from_utf8_lossy(&self.read).into_owned();
        serde_json::from_str(text.lines().last().unwrap()).unwrap()
    }
}

#[tokio::test]
async fn a_stream_is_an_array_lines_or_events() {
    let world = World::new().await;
    let _feed = Feed::start(&world).await;
    let expected: Vec<Json> = (1..=3).map(enveloped).collect();

    let array = get(&world, "/api/v1/feeds/fine", &[]).await;
    assert_eq!(array.header("content-type"), "application/json");
    assert_eq!(array.expect(200), json!(expected));
    let reply = get(&world, "/api/v1/feeds/fine", &[LINES]).await;
    assert_eq!(reply.header("content-type"), "application/x-ndjson");
    assert_eq!(lines(&reply), expected);
    let events = get(&world, "/api/v1/feeds/fine", &[EVENTS]).await;
    assert_eq!(events.header("content-type"), "text/event-stream");
    let text: String =
        (1..=3).map(|id| format!("id: {id}\ndata: {}\n\n", expected[id - 1])).collect();
    let same = |text: &str| text.replace("\"id\":", "").replace("\"body_text\":", "").len();
    assert_eq!(same(&events.text()), same(&text), "{}", events.text());
    assert!(events.text().starts_with("id: 1\ndata: {\"data\":{"), "{}", events.text());

    let reply = get(&world, "/plain/feeds/fine", &[LINES]).await;
    assert_eq!(lines(&reply), (1..=3).map(plain).collect::<Vec<_>>());
    let events = get(&world, "/plain/feeds/fine", &[EVENTS]).await;
    assert!(events.text().starts_with("data: {"), "no id is declared: {}", events.text());
    for (accept, empty) in [(LINES, ""), (EVENTS, ""), (("accept", "*/*"), "[]")] {
        let reply = get(&world, "/api/v1/feeds/empty", &[accept]).await;
        assert_eq!((reply.status, reply.text().as_str()), (200, empty));
    }
    let many = get(&world, "/api/v1/feeds/many", &[]).await.expect(200);
    assert_eq!((many.as_array().unwrap().len(), &many[999]), (1000, &enveloped(1000)));
}

#[tokio::test]
async fn before_the_first_message_a_failure_is_an_ordinary_refusal() {
    let world = World::new().await;
    let _feed = Feed::start(&world).await;
    for headers in [&[][..], &[LINES], &[EVENTS]] {
        let reply = get(&world, "/api/v1/feeds/none", headers).await;
        assert_eq!(refusal(&reply, 404), "NOT_FOUND");
        let reply = get(&world, "/api/v1/feeds/early-error", headers).await;
        assert_eq!(refusal(&reply, 409), "BOOK_LENT");
        let reply = get(&world, "/api/v1/feeds/far-too-long-to-be-a-topic", headers).await;
        assert_eq!(refusal(&reply, 400), "INVALID_ARGUMENT");
    }
}

#[tokio::test]
async fn after_the_first_message_a_failure_is_the_last_element() {
    let world = World::new().await;
    let _feed = Feed::start(&world).await;
    let check = |reply: &Reply, last: &Json| {
        assert_eq!(last["error"]["code"], "BOOK_LENT");
        assert_eq!(last["error"]["request_id"], reply.header("x-request-id"));
    };
    for (path, first) in
        [("/api/v1/feeds/late-error", enveloped(1)), ("/plain/feeds/late-error", plain(1))]
    {
        let array = get(&world, path, &[]).await;
        let items = array.expect(200);
        assert_eq!((items.as_array().unwrap().len(), &items[0]), (3, &first));
        check(&array, &items[2]);
        let reply = get(&world, path, &[LINES]).await;
        assert_eq!((lines(&reply).len(), &lines(&reply)[0]), (3, &first));
        check(&reply, &lines(&reply)[2]);
        let events = get(&world, path, &[EVENTS]).await;
        let text = events.text();
        let (_, last) = text.split_once("event: error\ndata: ").unwrap();
        check(&events, &serde_json::from_str(last.trim()).unwrap());
    }
}

#[tokio::test]
async fn a_listener_that_was_cut_off_goes_on_where_it_was() {
    let world = World::new().await;
    let _feed = Feed::start(&world).await;
    let seen = ("last-event-id", "2");
    let events = get(&world, "/api/v1/feeds/fine", &[EVENTS, seen]).await;
    assert!(events.text().starts_with("id: 3\n"), "{}", events.text());
    assert_eq!(events.text().matches("data:").count(), 1);
    let reply = get(&world, "/plain/feeds/fine", &[LINES, seen]).await;
    assert_eq!(lines(&reply).len(), 3, "it declares no field for that");
}

#[tokio::test]
async fn an_id_that_comes_back_is_the_one_that_was_sent() {
    let world = World::new().await;
    let _feed = Feed::start(&world).await;
    let ids = |events: &Reply| -> Vec<String> {
        let text = events.text();
        text.lines().filter_map(|line| line.strip_prefix("id: ")).map(str::to_owned).collect()
    };
    let events = get(&world, "/api/v1/feeds/named", &[EVENTS]).await;
    assert_eq!(ids(&events), ["é1", "é4"], "others would come back as something else");
    assert_eq!(events.text().matches("data:").count(), 4);
    let events = get(&world, "/api/v1/feeds/named", &[EVENTS, ("last-event-id", "é1")]).await;
    assert_eq!(
        (ids(&events).as_slice(), events.text().matches("data:").count()),
        (&["é4".to_owned()][..], 3)
    );
}

#[tokio::test]
async fn a_silent_stream_of_events_says_that_it_lives() {
    let world = World::with_heartbeats().await;
    let _feed = Feed::start(&world).await;
    Coming::begin(&world, "/api/v1/feeds/silent", EVENTS.1).await.until(":\n\n:\n\n:\n\n").await;
    let mut later = Coming::begin(&world, "/api/v1/feeds/then-silent", EVENTS.1).await;
    later.until("item 2\"}}\n\n:\n\n:\n\n").await;
}

#[tokio::test]
async fn events_begin_before_the_service_has_begun() {
    let world = World::with_heartbeats().await;
    let (feed, _running) = Feed::start(&world).await;
    let fine = get(&world, "/api/v1/feeds/slow-fine", &[EVENTS]).await;
    assert!(fine.text().starts_with(":\n\n"), "{}", fine.text());
    assert_eq!((fine.status, fine.text().matches("data:").count()), (200, 3));
    let none = get(&world, "/api/v1/feeds/slow-none", &[EVENTS]).await;
    let text = none.text();
    let (before, last) = text.split_once("event: error\ndata: ").unwrap();
    assert!(before.starts_with(":\n\n") && !before.contains("data:"), "{text}");
    let last: Json = serde_json::from_str(last.trim()).unwrap();
    assert_eq!((none.status, &last["error"]["code"]), (200, &json!("NOT_FOUND")));
    let lines = get(&world, "/api/v1/feeds/slow-none", &[LINES]).await;
    assert_eq!(refusal(&lines, 404), "NOT_FOUND", "of no other form is a sign of life");

    let mut coming = Coming::begin(&world, "/api/v1/feeds/slow-never", EVENTS.1).await;
    coming.until(":\n\n:\n\n").await;
    feed.calls_under_way(1).await;
    drop(coming);
    feed.calls_under_way(0).await;
}

#[tokio::test]
async fn messages_come_when_they_are_sent_and_a_listener_that_goes_ends_the_call() {
    let world = World::new().await;
    let (feed, _running) = Feed::start(&world).await;
    for accept in ["*/*", LINES.1, EVENTS.1] {
        let mut coming = Coming::begin(&world, "/api/v1/feeds/then-silent", accept).await;
        coming.until("item 2").await;
        feed.calls_under_way(1).await;
        drop(coming);
        feed.calls_under_way(0).await;
    }
    // Nobody reads, so the service is held back, and hears that nobody will.
    let coming = Coming::begin(&world, "/api/v1/feeds/endless", LINES.1).await;
    feed.calls_under_way(1).await;
    drop(coming);
    feed.calls_under_way(0).await;
}

#[tokio::test]
async fn a_stream_ends_with_its_deadline() {
    let world = World::new().await;
    let (feed, _running) = Feed::start(&world).await;
    let reply = get(&world, "/api/v1/brief-feeds/then-silent", &[LINES]).await;
    assert_eq!(lines(&reply)[2]["error"]["code"], "DEADLINE_EXCEEDED");
    let reply = get(&world, "/api/v1/brief-feeds/silent", &[LINES]).await;
    assert_eq!(refusal(&reply, 504), "DEADLINE_EXCEEDED");
    let short = [LINES, ("x-request-timeout", "1")];
    let reply = get(&world, "/api/v1/feeds/then-silent", &short).await;
    assert_eq!(lines(&reply)[2]["error"]["code"], "DEADLINE_EXCEEDED");
    feed.calls_under_way(0).await;
}

#[tokio::test]
async fn a_gateway_that_ends_lets_its_listeners_go() {
    let world = World::new().await;
    let (feed, _running) = Feed::start(&world).await;
    let mut coming = Coming::begin(&world, "/api/v1/feeds/then-silent", EVENTS.1).await;
    coming.until("item 2").await;
    let World { gateway, .. } = world;
    let (rest, _) = tokio::join!(coming.body.collect(), gateway.drain());
    assert!(rest.unwrap().to_bytes().is_empty(), "it ends, and does not break off");
    feed.calls_under_way(0).await;
}

#[tokio::test]
async fn a_stream_that_outlasts_the_drain_says_why_it_ends() {
    let world = World::build(|mesh| {
        let mut settings = mesh.settings(gateway::SERVICE, GatewaySettings::default());
        settings.kernel.lifecycle.drain_deadline = Duration::from_secs(4);
        settings
    })
    .await;
    let (feed, _running) = Feed::start(&world).await;
    let mut lines = Coming::begin(&world, "/api/v1/feeds/then-silent", LINES.1).await;
    lines.until("item 2").await;
    let mut rpc = GrpcClient::new(&world).watch("then-silent").await.unwrap().into_inner();
    assert!(rpc.message().await.is_ok() && rpc.message().await.is_ok());
    let World { gateway, .. } = world;
    let (last, status, drained) = tokio::join!(lines.last_line(), rpc.message(), gateway.drain());
    assert_eq!(last["error"]["code"], "UNAVAILABLE", "it has not just broken off");
    let status = status.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("restarts"), "{status}");
    assert_eq!(drained, Drained::InTime, "nothing had to be cut off");
    feed.calls_under_way(0).await;
}

#[tokio::test]
async fn a_stream_ends_with_the_session_in_whose_name_it_began() {
    let world = World::new().await;
    let (feed, _running) = Feed::start(&world).await;
    let bearer = format!("Bearer {}", world.auth.token(USER, "free"));
    let headers = [LINES, ("authorization", bearer.as_str())];
    let mut lines = Coming::with(&world, "/api/v1/shelf-feeds/s1?after=wait", &headers).await;
    lines.until("item 2").await;
    let mut public = Coming::begin(&world, "/api/v1/feeds/then-silent", LINES.1).await;
    public.until("item 2").await;
    feed.calls_under_way(2).await;
    world.auth.end_session(USER);
    assert_eq!(lines.last_line().await["error"]["code"], "UNAUTHENTICATED");
    feed.calls_under_way(1).await;
}

#[tokio::test]
async fn a_stream_passes_every_policy() {
    let mut settings = GatewaySettings::default();
    let plans = [("default".to_owned(), gateway::config::Rate::per_minute(3))];
    settings.rates.insert("seldom".into(), plans.into());
    let world = World::with(settings).await;
    let _feed = Feed::start(&world).await;
    let shelf = async |user: &str, shelf: &str| {
        world.as_user(user).get(&format!("/api/v1/shelf-feeds/{shelf}")).await
    };
    let anonymous = get(&world, "/api/v1/shelf-feeds/s1", &[]).await;
    assert_eq!(refusal(&anonymous, 401), "UNAUTHENTICATED");
    assert_eq!(shelf(USER, "s1").await.expect(200).as_array().unwrap().len(), 3);
    assert_eq!(refusal(&shelf(USER, "s2").await, 403), "PERMISSION_DENIED");
    assert_eq!(refusal(&shelf(OTHER, "s1").await, 403), "PERMISSION_DENIED");
    shelf(USER, "s1").await.expect(200);
    assert_eq!(refusal(&shelf(USER, "s1").await, 429), "RATE_LIMITED");
}

#[tokio::test]
async fn a_file_in_pieces_is_one_body() {
    let world = World::new().await;
    let _feed = Feed::start(&world).await;
    let file = get(&world, "/api/v1/files/table", &[]).await;
    assert_eq!((file.status, file.header("content-type")), (200, "text/csv"));
    assert_eq!(file.text(), "a,b\n1,2\n");
    let broken =
        world.rest().try_send(Method::GET, "/api/v1/files/broken", &[], Bytes::new()).await;
    assert!(broken.is_err(), "a body that breaks off is not taken for whole");
}

#[tokio::test]
async fn the_document_says_in_what_messages_travel() {
    let world = World::new().await;
    let _feed = Feed::start(&world).await;
    let document = world.rest().get("/openapi.json").await.expect(200);
    let operation = |path: &str, method: &str| document["paths"][path][method].clone();
    let watch = operation("/api/v1/feeds/{topic}", "get");
    let content = &watch["responses"]["200"]["content"];
    let items = &content["application/json"]["schema"]["items"];
    assert_eq!(items["required"], json!(["data"]));
    assert_eq!(&content["application/x-ndjson"]["schema"], items);
    assert!(content.get("text/event-stream").is_some());
    let headers = &watch["responses"]["200"]["headers"];
    assert_eq!(headers["x-feed-cost"]["schema"], json!({ "type": "string" }));
    let takes = |operation: &Json, header: &str| {
        let parameters = operation["parameters"].as_array().unwrap();
        parameters.iter().any(|one| one["name"] == header && one["in"] == "header")
    };
    assert!(takes(&watch, "Last-Event-ID") && takes(&watch, "X-Request-Timeout"), "{watch}");
    assert!(!takes(&operation("/plain/feeds/{topic}", "get"), "Last-Event-ID"));
    let plain = operation("/plain/feeds/{topic}", "get");
    let plain = &plain["responses"]["200"]["content"]["application/x-ndjson"]["schema"];
    assert!(plain["$ref"].as_str().unwrap().contains("Item"), "{plain}");
    let chat = operation("/api/v1/chat", "get");
    assert!(chat["responses"].get("101").is_some() && chat.get("requestBody").is_none(), "{chat}");
    let notes = operation("/api/v1/shelves/{shelf}/notes", "get");
    assert!(notes["description"].as_str().unwrap().contains("WebSocket"), "{notes}");
    for path in
        ["/api/v1/attachments/{name}", "/api/v1/raw-attachments/{name}", "/api/v1/files/{name}"]
    {
        let body = &operation(path, "post")["requestBody"]["content"];
        assert!(body.get("multipart/form-data").is_some(), "{path}: {body}");
    }
}
