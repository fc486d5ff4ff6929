//! Streams of callers over WebSockets.

use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use gateway::GatewaySettings;
use gateway::config::{CorsGroup, Rate};
use http::{HeaderValue, Request};
use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper::ext::Protocol;
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mainstay::kernel::lifecycle::Running;
use prost::Message as _;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::feed::{Feed, HttpBody, Note};
use crate::world::{OTHER, USER, World};

const CHAT: &str = "/api/v1/chat";
const NOTES: &str = "/api/v1/shelves/s1/notes";

struct Socket<S = TcpStream>(WebSocketStream<S>);

fn request(world: &World, path: &str, headers: &[(&'static str, &str)]) -> Request<()> {
    let address = world.gateway.local_addr();
    let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().append(*name, HeaderValue::from_str(value).unwrap());
    }
    request
}

impl Socket {
    async fn open(
        world: &World,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, Error> {
        let tcp = TcpStream::connect(world.gateway.local_addr()).await.unwrap();
        Ok(Self(client_async(request(world, path, headers), tcp).await?.0))
    }

    async fn of(world: &World, user: &str, path: &str) -> Self {
        let bearer = format!("Bearer {}", world.auth.token(user, "free"));
        Self::open(world, path, &[("authorization", &bearer)]).await.unwrap()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    async fn say(&mut self, message: &Json) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    async fn end(&mut self) {
        self.0.send(Message::text("")).await.unwrap();
    }

    /// The next frame that is no ping.
    async fn next(&mut self) -> Message {
        loop {
            let next = tokio::time::timeout(Duration::from_secs(10), self.0.next()).await;
            match next.expect("a frame comes in time").expect("it is open").unwrap() {
                Message::Ping(_) | Message::Pong(_) => {}
                frame => return frame,
            }
        }
    }

    async fn hear(&mut self) -> Json {
        match self.next().await {
            Message::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("{other:?} is no text"),
        }
    }

    /// The code of the close frame, which must be next.
    async fn closed(&mut self) -> u16 {
        match self.next().await {
            Message::Close(Some(frame)) => frame.code.into(),
            other => panic!("{other:?} is no close with a code"),
        }
    }

    /// The code of the error that must come next, and of the close after it.
    async fn refused(&mut self) -> (String, u16) {
        let last = self.hear().await;
        let code = last["error"]["code"].as_str().unwrap_or_else(|| panic!("{last}")).to_owned();
        assert!(!last["error"]["request_id"].as_str().unwrap().is_empty());
        (code, self.closed().await)
    }
}

/// The HTTP status of a handshake that is refused.
async fn status(world: &World, path: &str, headers: &[(&'static str, &str)]) -> u16 {
    match Socket::open(world, path, headers).await {
        Err(Error::Http(response)) => response.status().as_u16(),
        Err(other) => panic!("{other}"),
        Ok(_) => 101,
    }
}

async fn world() -> (World, Feed, Running) {
    with(GatewaySettings::default()).await
}

async fn with(settings: GatewaySettings) -> (World, Feed, Running) {
    let world = World::with(settings).await;
    let (feed, running) = Feed::start(&world).await;
    (world, feed, running)
}

#[tokio::test]
async fn each_frame_is_a_message_and_an_empty_one_the_end() {
    let (world, feed, _running) = world().await;
    let mut chat = Socket::of(&world, USER, CHAT).await;
    for text in ["one", "two"] {
        chat.say(&json!({ "text": text })).await;
        let said = chat.hear().await;
        assert_eq!(said["data"]["text"], text.to_uppercase(), "each when it is said");
    }
    chat.end().await;
    assert_eq!(chat.closed().await, 1000);
    feed.calls_under_way(0).await;

    let mut notes = Socket::of(&world, USER, NOTES).await;
    notes.say(&json!({ "weight": 2 })).await;
    let binary = Note { shelf: "s9".into(), weight: 3, ..Note::default() }.encode_to_vec();
    notes.0.send(Message::Binary(binary.into())).await.unwrap();
    notes.end().await;
    let summary = notes.hear().await;
    assert_eq!((&summary["data"]["count"], &summary["data"]["total"]), (&json!(2), &json!("5")));
    assert_eq!(summary["data"]["name"], "s1", "what the path says counts, in both forms");
    assert_eq!(notes.closed().await, 1000);
}

#[tokio::test]
async fn path_and_query_say_their_part_of_each_message_before_the_first() {
    let (world, _feed, _running) = world().await;
    let mut chat = Socket::of(&world, USER, "/api/v1/shelves/s1/chat/0?text=hi").await;
    let said = json!({ "shelf": "s1", "text": "HI", "weight": 0 });
    chat.say(&json!({})).await;
    assert_eq!(chat.hear().await["data"], said);
    let other = Note { shelf: "s9".into(), text: "ho".into(), weight: 9 }.encode_to_vec();
    chat.0.send(Message::Binary(other.into())).await.unwrap();
    assert_eq!(chat.hear().await["data"], said, "a frame says nothing of it");
    chat.say(&json!({ "text": "ho" })).await;
    assert_eq!(chat.refused().await, ("INVALID_ARGUMENT".to_owned(), 4003));

    let bearer = format!("Bearer {}", world.auth.token(USER, "free"));
    for (path, expected) in [
        ("/api/v1/shelves/s1/chat/0", 101),
        ("/api/v1/shelves/s1/chat/heavy", 400),
        ("/api/v1/shelves/s1/chat/0?colour=1", 400),
        ("/api/v1/shelves/s1/notes?text=hi", 400),
    ] {
        assert_eq!(status(&world, path, &[("authorization", &bearer)]).await, expected, "{path}");
    }
}

#[tokio::test]
async fn bytes_with_their_type_are_messages_like_others() {
    let (world, _feed, _running) = world().await;
    let mut mirror = Socket::open(&world, "/api/v1/mirror", &[]).await.unwrap();
    let picture = json!({ "content_type": "image/png", "data": "iVBORw==" });
    mirror.say(&picture).await;
    let seen = mirror.hear().await;
    let binary = HttpBody { content_type: "image/png".into(), data: b"\x89PNG".into() };
    mirror.0.send(Message::Binary(binary.encode_to_vec().into())).await.unwrap();
    assert_eq!(seen, mirror.hear().await);
    for (name, said) in picture.as_object().unwrap() {
        assert_eq!(seen["data"][name], *said, "{name}");
    }
}

#[tokio::test]
async fn a_path_may_have_a_websocket_and_a_get_beside_it() {
    let (world, _feed, _running) = world().await;
    let item = world.rest().get(NOTES).await.expect(200);
    assert_eq!(item["data"]["id"], "1");
    let mut notes = Socket::of(&world, USER, NOTES).await;
    notes.say(&json!({ "weight": 2 })).await;
    notes.end().await;
    assert_eq!(notes.hear().await["data"]["total"], "2");
    let bearer = format!("Bearer {}", world.auth.token(USER, "free"));
    let books = status(&world, "/api/v1/books/b1", &[("authorization", &bearer)]).await;
    assert_eq!(books, 200, "who asks for a WebSocket where there is none gets what there is");
}

/// A connection over HTTP/2 on which CONNECT may open WebSockets.
struct Shared {
    sender: http2::SendRequest<Empty<Bytes>>,
    origin: String,
}

impl Shared {
    async fn connect(world: &World) -> Self {
        let address = world.gateway.local_addr();
        let tcp = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let (sender, connection) = http2::handshake(TokioExecutor::new(), tcp).await.unwrap();
        tokio::spawn(connection);
        let mut shared = Self { sender, origin: format!("http://{address}") };
        // The server's settings, which say that it takes CONNECT, come before its first reply.
        assert_eq!(shared.get("/nothing").await, 404);
        shared
    }

    async fn get(&mut self, path: &str) -> u16 {
        let request = Request::get(format!("{}{path}", self.origin)).body(Empty::new()).unwrap();
        self.sender.send_request(request).await.unwrap().status().as_u16()
    }

    async fn open(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Socket<TokioIo<Upgraded>>, u16> {
        let mut request = Request::connect(format!("{}{path}", self.origin))
            .extension(Protocol::from_static("websocket"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Empty::new()).unwrap();
        let reply = self.sender.send_request(request).await.unwrap();
        if reply.status() != 200 {
            return Err(reply.status().as_u16());
        }
        let io = TokioIo::new(hyper::upgrade::on(reply).await.unwrap());
        Ok(Socket(WebSocketStream::from_raw_socket(io, Role::Client, None).await))
    }
}

#[tokio::test]
async fn websockets_share_a_connection_over_http_2() {
    let (world, feed, _running) = world().await;
    let mut shared = Shared::connect(&world).await;
    let bearer = format!("Bearer {}", world.auth.token(USER, "free"));
    let bearer = ("authorization", bearer.as_str());
    let version = ("sec-websocket-version", "13");
    let mut chat = shared.open(CHAT, &[bearer, version]).await.ok().unwrap();
    let mut notes = shared.open(NOTES, &[bearer, version]).await.ok().unwrap();
    chat.say(&json!({ "text": "one" })).await;
    notes.say(&json!({ "weight": 2 })).await;
    assert_eq!(chat.hear().await["data"]["text"], "ONE");
    assert_eq!(shared.get("/api/v1/books/b1").await, 200, "requests go on beside them");
    chat.say(&json!({ "text": "two" })).await;
    assert_eq!(chat.hear().await["data"]["text"], "TWO");
    notes.end().await;
    assert_eq!(notes.hear().await["data"]["total"], "2");
    assert_eq!(notes.closed().await, 1000);
    chat.say(&json!({ "text": "fail" })).await;
    assert_eq!(chat.refused().await, ("BOOK_LENT".to_owned(), 4009));
    feed.calls_under_way(0).await;

    let foreign = ("origin", "https://evil.com");
    for (path, headers, expected) in [
        (CHAT, &[version][..], 401),
        (CHAT, &[bearer], 426),
        (CHAT, &[bearer, version, foreign], 403),
        ("/api/v1/books/b1", &[version], 405),
        ("/nothing", &[version], 404),
    ] {
        let refused = shared.open(path, headers).await.err();
        assert_eq!(refused, Some(expected), "{path} {headers:?}");
    }
    let mut chat = shared.open(CHAT, &[bearer, version]).await.ok().unwrap();
    chat.say(&json!({ "text": "a" })).await;
    chat.hear().await;
    let World { gateway, .. } = world;
    let (code, _) = tokio::join!(chat.closed(), gateway.drain());
    assert_eq!(code, 1012);
}

#[tokio::test]
async fn who_wants_protobuf_gets_it() {
    let (world, _feed, _running) = world().await;
    let protocols = format!("mainstay.proto, mainstay.bearer.{}", world.auth.token(USER, "free"));
    let headers = [("sec-websocket-protocol", protocols.as_str())];
    let mut chat = Socket::open(&world, CHAT, &headers).await.unwrap();
    chat.say(&json!({ "text": "a" })).await;
    let Message::Binary(reply) = chat.next().await else { panic!("no binary frame") };
    assert_eq!(Note::decode(reply).unwrap().text, "A");
}

#[tokio::test]
async fn a_handshake_passes_the_policies_that_need_no_message() {
    let mut settings = GatewaySettings::default();
    settings.rates.insert("write".into(), [("default".into(), Rate::per_minute(4))].into());
    settings.cors_origins = vec!["https://app.example.com".into()];
    let (world, _feed, _running) = with(settings).await;
    let bearer = format!("Bearer {}", world.auth.token(USER, "free"));
    let bearer = ("authorization", bearer.as_str());
    let offered = format!("mainstay.json, mainstay.bearer.{}", world.auth.token(USER, "free"));
    let forged = "mainstay.json, mainstay.bearer.forged";
    assert_eq!(status(&world, CHAT, &[]).await, 401);
    assert_eq!(status(&world, CHAT, &[("sec-websocket-protocol", forged)]).await, 401);
    assert_eq!(status(&world, CHAT, &[("sec-websocket-protocol", &offered)]).await, 101);
    assert_eq!(status(&world, CHAT, &[bearer, ("origin", "https://evil.com")]).await, 403);
    assert_eq!(status(&world, CHAT, &[bearer, ("origin", "https://app.example.com")]).await, 101);
    let plain = world.as_user(USER).get(CHAT).await;
    assert_eq!(plain.error_code(426), "UPGRADE_REQUIRED");
    assert_eq!(plain.header("upgrade"), "websocket");
    assert_eq!(status(&world, CHAT, &[bearer]).await, 429);
}

#[tokio::test]
async fn a_page_connects_where_the_group_of_the_route_lets_it() {
    let chat = CorsGroup {
        prefix: CHAT.into(),
        origins: vec!["https://chat.example.com".into()],
        ..CorsGroup::default()
    };
    let settings = GatewaySettings {
        cors_origins: vec!["https://app.example.com".into()],
        cors_groups: vec![chat],
        ..GatewaySettings::default()
    };
    let (world, _feed, _running) = with(settings).await;
    let bearer = format!("Bearer {}", world.auth.token(USER, "free"));
    for (path, origin, expected) in [
        (CHAT, "https://chat.example.com", 101),
        (CHAT, "https://app.example.com", 403),
        (NOTES, "https://app.example.com", 101),
        (NOTES, "https://chat.example.com", 403),
    ] {
        let headers = [("authorization", bearer.as_str()), ("origin", origin)];
        assert_eq!(status(&world, path, &headers).await, expected, "{path} {origin}");
    }
}

#[tokio::test]
async fn a_conversation_ends_with_the_session_in_whose_name_it_began() {
    let (world, feed, _running) = world().await;
    let mut chat = Socket::of(&world, USER, CHAT).await;
    let mut other = Socket::of(&world, OTHER, CHAT).await;
    for socket in [&mut chat, &mut other] {
        socket.say(&json!({ "text": "a" })).await;
        socket.hear().await;
    }
    world.auth.end_session(USER);
    assert_eq!(chat.refused().await, ("UNAUTHENTICATED".to_owned(), 4016));
    feed.calls_under_way(1).await;
    other.say(&json!({ "text": "b" })).await;
    assert_eq!(other.hear().await["data"]["text"], "B", "the other goes on");
}

#[tokio::test]
async fn what_goes_wrong_is_the_last_frame_and_the_code_of_the_close() {
    let (world, feed, _running) = world().await;
    let rows = [
        (USER, CHAT, json!({ "text": "fail" }), "BOOK_LENT", 4009),
        (USER, CHAT, json!({ "weight": -1 }), "INVALID_ARGUMENT", 4003),
        (USER, CHAT, json!({ "colour": 1 }), "INVALID_ARGUMENT", 4003),
        (USER, CHAT, json!({ "text": "x".repeat(5000) }), "PAYLOAD_TOO_LARGE", 4008),
        (OTHER, NOTES, json!({ "weight": 1 }), "PERMISSION_DENIED", 4007),
        (USER, "/api/v1/shelves/s2/notes", json!({}), "PERMISSION_DENIED", 4007),
        (USER, NOTES, json!({ "shelf": "s2" }), "INVALID_ARGUMENT", 4003),
    ];
    for (user, path, message, code, close) in rows {
        let mut socket = Socket::of(&world, user, path).await;
        socket.say(&message).await;
        assert_eq!(socket.refused().await, (code.to_owned(), close), "{path} {message:.40}");
    }
    let mut chat = Socket::of(&world, USER, CHAT).await;
    chat.0.send(Message::text("{")).await.unwrap();
    assert_eq!(chat.refused().await, ("MALFORMED_JSON".to_owned(), 4003));
    feed.calls_under_way(0).await;
}

#[tokio::test]
async fn a_connection_has_a_rate_of_its_own() {
    let socket_rate = Rate::per_minute(2);
    let (world, _feed, _running) =
        with(GatewaySettings { socket_rate, ..GatewaySettings::default() }).await;
    let mut chat = Socket::of(&world, USER, CHAT).await;
    for _ in 0..2 {
        chat.say(&json!({ "text": "a" })).await;
        assert_eq!(chat.hear().await["data"]["text"], "A");
    }
    chat.say(&json!({ "text": "a" })).await;
    assert_eq!(chat.refused().await, ("RATE_LIMITED".to_owned(), 4008));
}

#[tokio::test]
async fn who_goes_or_is_silent_ends_the_call() {
    let socket_ping = Duration::from_millis(100);
    let (world, feed, _running) =
        with(GatewaySettings { socket_ping, ..GatewaySettings::default() }).await;
    let mut chat = Socket::of(&world, USER, CHAT).await;
    chat.say(&json!({ "text": "a" })).await;
    chat.hear().await;
    feed.calls_under_way(1).await;
    drop(chat);
    feed.calls_under_way(0).await;

    let mut chat = Socket::of(&world, USER, CHAT).await;
    chat.say(&json!({ "text": "a" })).await;
    chat.hear().await;
    assert!(
        matches!(chat.0.next().await, Some(Ok(Message::Ping(_)))),
        "it is asked for a sign of life"
    );
    // It is never read from again, so nobody answers the pings.
    feed.calls_under_way(0).await;
}

#[tokio::test]
async fn a_gateway_that_ends_says_so() {
    let (world, feed, _running) = world().await;
    let mut chat = Socket::of(&world, USER, CHAT).await;
    chat.say(&json!({ "text": "a" })).await;
    chat.hear().await;
    let World { gateway, .. } = world;
    let (code, _) = tokio::join!(chat.closed(), gateway.drain());
    assert_eq!(code, 1012);
    feed.calls_under_way(0).await;
}
