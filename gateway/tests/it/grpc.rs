//! gRPC and gRPC-Web on the gateway's port, through the same policies.

use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::{StreamExt as _, stream};
use gateway::GatewaySettings;
use gateway::config::Rate;
use http::Method;
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use mainstay::kernel::channel::framed;
use mainstay::kernel::error::Error;
use prost::Message;
use tonic::client::Grpc;
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::feed::{Feed, Item, Note, Summary, WatchRequest, item};
use crate::grpc_web::frames;
use crate::world::{OTHER, USER, World};

/// tonic's client of the gateway's own port.
pub(crate) struct GrpcClient(Grpc<Client<HttpConnector, tonic::body::Body>>);

#[derive(Clone, PartialEq, Message)]
struct CreateBookRequest {
    #[prost(string, tag = "1")]
    shelf: String,
    #[prost(string, tag = "2")]
    title: String,
}

/// A book of the library.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Book {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, tag = "2")]
    title: String,
}

#[derive(Clone, PartialEq, Message)]
struct Nothing {}

macro_rules! call {
    ($client:expr, $kind:ident, $request:expr, $path:expr) => {{
        let client = &mut $client.0;
        client.ready().await.unwrap();
        client.$kind($request, $path.parse().unwrap(), ProstCodec::default()).await
    }};
}

impl GrpcClient {
    pub(crate) fn new(world: &World) -> Self {
        let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
        let origin = format!("http://{}", world.gateway.local_addr()).parse().unwrap();
        Self(Grpc::with_origin(client, origin))
    }

    pub(crate) async fn unary<Q, R>(&mut self, path: &str, request: Request<Q>) -> Result<R, Status>
    where
        Q: Message + 'static,
        R: Message + Default + 'static,
    {
        call!(self, unary, request, path).map(tonic::Response::into_inner)
    }

    pub(crate) async fn watch(
        &mut self,
        topic: &str,
    ) -> Result<tonic::Response<Streaming<Item>>, Status> {
        call!(self, server_streaming, Request::new(about(topic)), "/feed.v1.FeedService/Watch")
    }
}

pub(crate) fn about(topic: &str) -> WatchRequest {
    WatchRequest { topic: topic.into(), ..WatchRequest::default() }
}

fn as_user<T>(world: &World, user: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let bearer = format!("Bearer {}", world.auth.token(user, "free"));
    request.metadata_mut().insert("authorization", bearer.parse().unwrap());
    request
}

fn reason(status: &Status) -> String {
    Error::from_status(status).code().reason.to_string()
}

#[tokio::test]
async fn a_unary_call_passes_every_policy() {
    let mut settings = GatewaySettings::default();
    settings.rates.insert("seldom".into(), [("default".into(), Rate::per_minute(1))].into());
    let world = World::with(settings).await;
    let mut client = GrpcClient::new(&world);
    let create = "/library.v1.LibraryService/CreateBook";
    let book =
        |shelf: &str, title: &str| CreateBookRequest { shelf: shelf.into(), title: title.into() };

    let made: Book = client.unary(create, as_user(&world, USER, book("s1", "T"))).await.unwrap();
    assert_eq!(made.title, "T");
    assert_eq!(world.last_call().user.unwrap().id, USER);

    let refused = client.unary::<_, Book>(create, Request::new(book("s1", "T"))).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::Unauthenticated, "UNAUTHENTICATED")
    );
    let refused = client.unary::<_, Book>(create, as_user(&world, OTHER, book("s1", "T"))).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(Error::from_status(&refused).details()["permission"], "library.books.create");
    let refused = client.unary::<_, Book>(create, as_user(&world, USER, book("s1", ""))).await;
    let refused = Error::from_status(&refused.unwrap_err());
    assert_eq!(refused.violations()[0].field, "title");
    let large = book("s1", &"x".repeat(5000));
    let refused = client.unary::<_, Book>(create, as_user(&world, USER, large)).await.unwrap_err();
    assert_eq!(reason(&refused), "PAYLOAD_TOO_LARGE");
    let recommend = "/library.v1.LibraryService/Recommend";
    let refused = client.unary::<_, Nothing>(recommend, as_user(&world, USER, Nothing {})).await;
    assert_eq!(reason(&refused.unwrap_err()), "FEATURE_NOT_INCLUDED");
    assert_eq!(world.call_count(), 1, "what is refused is not called");

    let seldom = "/library.v1.LibraryService/Seldom";
    client.unary::<_, Nothing>(seldom, Request::new(Nothing {})).await.unwrap();
    let refused = client.unary::<_, Nothing>(seldom, Request::new(Nothing {})).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::ResourceExhausted, "RATE_LIMITED")
    );
    assert!(Error::from_status(&refused).retry_after_hint().is_some());
}

#[tokio::test]
async fn only_what_is_for_the_gateway_is_there() {
    let world = World::new().await;
    let _feed = Feed::start(&world).await;
    let mut client = GrpcClient::new(&world);
    let request = || as_user(&world, USER, about("x"));
    let peeked: Item = client.unary("/feed.v1.FeedService/Peek", request()).await.unwrap();
    assert_eq!(peeked, item(1));
    let shown = world.admin().get("/admin/routes").await.expect(200)["rpcs"].clone();
    let paths: Vec<&str> =
        shown.as_array().unwrap().iter().map(|rpc| rpc["path"].as_str().unwrap()).collect();
    assert!(paths.contains(&"/feed.v1.FeedService/Peek"), "operators see it: {paths:?}");
    assert!(!paths.contains(&"/feed.v1.FeedService/Foreign"), "and nothing else: {paths:?}");
    for method in [
        "/feed.v1.FeedService/Foreign",
        "/feed.v1.FeedService/Hidden",
        "/feed.v1.FeedService/Nothing",
        "/feed.v1.Nothing/Watch",
        "/mainstay.operations.v1.OperationsService/Describe",
        "/grpc.health.v1.Health/Check",
    ] {
        let refused = client.unary::<_, Item>(method, request()).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unimplemented, "{method}");
    }
}

#[tokio::test]
async fn what_a_service_answers_is_handed_on_without_its_secrets() {
    let world = World::new().await;
    let mut client = GrpcClient::new(&world);
    #[derive(Clone, PartialEq, Message)]
    struct Fail {
        #[prost(string, tag = "1")]
        how: String,
    }
    let mut fail = async |how: &str| {
        let request = Request::new(Fail { how: how.into() });
        client.unary::<_, Book>("/library.v1.LibraryService/Fail", request).await.unwrap_err()
    };
    let lent = fail("conflict").await;
    assert_eq!((lent.code(), reason(&lent).as_str()), (Code::FailedPrecondition, "BOOK_LENT"));
    let internal = fail("internal").await;
    assert_eq!((internal.code(), internal.message()), (Code::Internal, "internal error"));
    let dawdle = "/library.v1.LibraryService/Dawdle";
    let late = client.unary::<_, Nothing>(dawdle, Request::new(Nothing {})).await.unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn streams_of_every_kind_pass() {
    let world = World::new().await;
    let _feed = Feed::start(&world).await;
    let mut client = GrpcClient::new(&world);

    let mut items = client.watch("fine").await.unwrap().into_inner();
    for id in 1..=3 {
        assert_eq!(items.message().await.unwrap(), Some(item(id)));
    }
    assert_eq!(items.message().await.unwrap(), None);
    let many = client.watch("many").await.unwrap().into_inner();
    assert_eq!(many.filter(|item| std::future::ready(item.is_ok())).count().await, 1000);
    assert_eq!(client.watch("none").await.unwrap_err().code(), Code::NotFound);
    let mut items = client.watch("late-error").await.unwrap().into_inner();
    assert!(items.message().await.is_ok() && items.message().await.is_ok());
    assert_eq!(reason(&items.message().await.unwrap_err()), "BOOK_LENT");

    let notes = [1, 2, 3].map(|weight| Note { shelf: "s1".into(), weight, ..Note::default() });
    let request = as_user(&world, USER, stream::iter(notes));
    let summary = call!(client, client_streaming, request, "/feed.v1.FeedService/Collect");
    let summary: Summary = summary.unwrap().into_inner();
    assert_eq!((summary.count, summary.total), (3, 6));

    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let notes = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let say = async |text: &str| {
        sender.send(Note { text: text.into(), ..Note::default() }).await.unwrap();
    };
    say("one").await;
    let request = as_user(&world, USER, notes);
    let answers = call!(client, streaming, request, "/feed.v1.FeedService/Chat");
    let mut answers: Streaming<Note> = answers.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap().text, "ONE");
    say("two").await;
    assert_eq!(answers.message().await.unwrap().unwrap().text, "TWO", "each when it is said");
    drop(sender);
    assert_eq!(answers.message().await.unwrap(), None);
}

#[tokio::test]
async fn every_message_of_a_stream_is_judged() {
    let world = World::new().await;
    let (feed, _running) = Feed::start(&world).await;
    let mut client = GrpcClient::new(&world);
    let mut collect = async |user: Option<&str>, notes: &[(&str, i32)]| {
        let notes: Vec<Note> = notes
            .iter()
            .map(|(shelf, weight)| Note {
                shelf: (*shelf).into(),
                weight: *weight,
                ..Note::default()
            })
            .collect();
        // The stream stays open, as that of a caller who waits for a reply.
        let notes = stream::iter(notes).chain(stream::pending());
        let request = match user {
            Some(user) => as_user(&world, user, notes),
            None => Request::new(notes),
        };
        let reply = call!(client, client_streaming, request, "/feed.v1.FeedService/Collect");
        reason(&reply.map(tonic::Response::<Summary>::into_inner).unwrap_err())
    };
    assert_eq!(collect(None, &[("s1", 1)]).await, "UNAUTHENTICATED");
    assert_eq!(collect(Some(OTHER), &[("s1", 1)]).await, "PERMISSION_DENIED");
    assert_eq!(collect(Some(USER), &[("s2", 1)]).await, "PERMISSION_DENIED");
    assert_eq!(collect(Some(USER), &[("s1", -1)]).await, "INVALID_ARGUMENT");
    assert_eq!(collect(Some(USER), &[("s1", 1), ("s1", -1)]).await, "INVALID_ARGUMENT");
    let other_shelf = collect(Some(USER), &[("s1", 1), ("s2", 1)]).await;
    assert_eq!(other_shelf, "INVALID_ARGUMENT", "a door is opened for one shelf alone");
    feed.calls_under_way(0).await;
}

#[tokio::test]
async fn a_caller_that_goes_ends_the_call_and_so_does_its_deadline() {
    let world = World::new().await;
    let (feed, _running) = Feed::start(&world).await;
    let mut client = GrpcClient::new(&world);
    for topic in ["silent", "endless"] {
        let items = client.watch(topic).await.unwrap();
        feed.calls_under_way(1).await;
        drop(items);
        feed.calls_under_way(0).await;
    }
    let mut request = Request::new(about("silent"));
    request.set_timeout(Duration::from_secs(1));
    let items = call!(client, server_streaming, request, "/feed.v1.FeedService/Watch");
    let mut items: Streaming<Item> = items.unwrap().into_inner();
    assert_eq!(items.message().await.unwrap_err().code(), Code::DeadlineExceeded);
    feed.calls_under_way(0).await;
}

#[tokio::test]
async fn a_stream_ends_with_the_session_in_whose_name_it_began() {
    let world = World::new().await;
    let (feed, _running) = Feed::start(&world).await;
    let mut client = GrpcClient::new(&world);
    // A WatchShelfRequest has the same fields.
    let shelf = WatchRequest { topic: "s1".into(), after: "wait".into() };
    let request = as_user(&world, USER, shelf);
    let items = call!(client, server_streaming, request, "/feed.v1.FeedService/WatchShelf");
    let mut items: Streaming<Item> = items.unwrap().into_inner();
    items.message().await.unwrap().expect("an item comes first");
    feed.calls_under_way(1).await;
    world.auth.end_session(USER);
    let ended = loop {
        match items.message().await {
            Ok(item) => assert!(item.is_some(), "it is told why it ends"),
            Err(status) => break status,
        }
    };
    assert_eq!((ended.code(), reason(&ended).as_str()), (Code::Unauthenticated, "UNAUTHENTICATED"));
    feed.calls_under_way(0).await;
}

#[tokio::test]
async fn what_is_compressed_or_no_protobuf_is_refused_by_the_protocols_rule() {
    let world = World::new().await;
    let _feed = Feed::start(&world).await;
    let body = framed(&about("fine").encode_to_vec());
    let rows = [
        ("application/grpc", Some("deflate"), "12"),
        ("application/grpc+json", None, "3"),
        ("application/grpc", None, "12"),
    ];
    for (media_type, encoding, status) in rows {
        let mut headers = vec![("content-type", media_type), ("te", "trailers")];
        headers.extend(encoding.map(|encoding| ("grpc-encoding", encoding)));
        let path = "/feed.v1.FeedService/GetItem";
        let reply = world.rest().send(Method::POST, path, &headers, body.clone()).await;
        assert_eq!((reply.status, reply.header("grpc-status")), (200, status), "{media_type}");
        assert_eq!(reply.header("grpc-accept-encoding"), "identity,gzip");
        if (media_type, encoding) == ("application/grpc", None) {
            assert!(reply.header("grpc-message").contains("HTTP/2"), "trailers would be lost");
        }
    }
}

#[tokio::test]
async fn messages_may_come_in_gzip() {
    let world = World::new().await;
    let (feed, _running) = Feed::start(&world).await;
    let packed = |message: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(message).unwrap();
        let mut framed = framed(&encoder.finish().unwrap()).to_vec();
        framed[0] = 1;
        framed
    };
    let send = async |media_type: &str, path: &str, body: Vec<u8>| {
        let bearer = format!("Bearer {}", world.auth.token(USER, "free"));
        let request = http::Request::post(format!("http://{}{path}", world.gateway.local_addr()))
            .header("content-type", media_type)
            .header("grpc-encoding", "gzip")
            .header("authorization", bearer)
            .body(http_body_util::Full::new(Bytes::from(body)))
            .unwrap();
        let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
        let reply = client.request(request).await.unwrap();
        assert_eq!(reply.headers()["grpc-accept-encoding"], "identity,gzip");
        let (head, body) = reply.into_parts();
        let body = body.collect().await.unwrap();
        let trailers = body.trailers().cloned().unwrap_or_default();
        let status = head.headers.get("grpc-status").or(trailers.get("grpc-status")).cloned();
        let status = status.map(|status| status.to_str().unwrap().to_owned());
        (status.unwrap_or_default(), body.to_bytes())
    };
    let get = "/feed.v1.FeedService/GetItem";
    let request = about("fine").encode_to_vec();
    let (status, body) = send("application/grpc", get, packed(&request)).await;
    assert_eq!((status.as_str(), body), ("0", framed(&item(1).encode_to_vec())));
    let (_, body) = send("application/grpc-web+proto", get, packed(&request)).await;
    assert_eq!(frames(body)[0].1, item(1).encode_to_vec());

    let notes = [2, 3].map(|weight| Note { shelf: "s1".into(), weight, ..Note::default() });
    let [first, second] = notes.map(|note| note.encode_to_vec());
    // A message that is not worth it stays as it is.
    let both = [packed(&first), framed(&second).to_vec()].concat();
    let (status, body) = send("application/grpc", "/feed.v1.FeedService/Collect", both).await;
    let summary = Summary::decode(frames(body)[0].1.clone()).unwrap();
    assert_eq!((status.as_str(), summary.count, summary.total), ("0", 2, 5));

    // A few bytes on the way, a thousand times the limit when they are unpacked.
    let bomb = packed(&vec![0; 4 << 20]);
    assert!(bomb.len() < 8192);
    let (status, _) = send("application/grpc", get, packed(&vec![0; 5000])).await;
    assert_eq!(status, "8", "the limit is for what they are unpacked");
    let (status, _) = send("application/grpc", "/feed.v1.FeedService/Collect", bomb).await;
    assert_eq!(status, "8");
    let mut torn = packed(&request);
    torn.truncate(torn.len() - 4);
    torn[4] -= 4;
    let (status, _) = send("application/grpc", get, torn).await;
    assert_eq!(status, "3");
    feed.calls_under_way(0).await;
}

#[tokio::test]
async fn metadata_passes_as_the_contract_declares_it() {
    let world = World::new().await;
    let (feed, _running) = Feed::start(&world).await;
    let mut client = GrpcClient::new(&world);
    let mut request = Request::new(about("x"));
    for name in ["x-feed-hint", "x-feed-other", "x-user-id"] {
        request.metadata_mut().insert(name, "1".parse().unwrap());
    }
    let reply = call!(client, unary, request, "/feed.v1.FeedService/GetItem");
    let reply: tonic::Response<Item> = reply.unwrap();
    let arrived = feed.metadata.lock().unwrap().clone();
    assert!(arrived.contains_key("x-feed-hint"));
    assert!(!arrived.contains_key("x-feed-other") && !arrived.contains_key("x-user-id"));
    // tonic adds the trailers of a unary reply to its metadata.
    let check = |metadata: &tonic::metadata::MetadataMap, there: &[&str]| {
        for name in ["x-feed-version", "x-feed-cost", "x-feed-secret", "x-feed-debt"] {
            assert_eq!(metadata.contains_key(name), there.contains(&name), "{name}");
        }
    };
    check(reply.metadata(), &["x-feed-version", "x-feed-cost"]);
    let stream = client.watch("fine").await.unwrap();
    check(stream.metadata(), &["x-feed-version"]);
    let mut items = stream.into_inner();
    while items.message().await.unwrap().is_some() {}
    check(&items.trailers().await.unwrap().unwrap(), &["x-feed-cost"]);
}

#[tokio::test]
async fn the_limit_by_address_is_told_in_the_protocol_of_the_caller() {
    let settings =
        GatewaySettings { ip_burst: 3, ip_rate: Rate::per_minute(1), ..GatewaySettings::default() };
    let world = World::with(settings).await;
    for _ in 0..3 {
        world.rest().get("/nothing").await;
    }
    let send = async |media_type: &str, path: &str| {
        let headers = [("content-type", media_type), ("connect-protocol-version", "1")];
        world.rest().send(Method::POST, path, &headers, Bytes::new()).await
    };
    let path = "/library.v1.LibraryService/Inspect";
    for media_type in ["application/grpc", "application/grpc-web+proto"] {
        let reply = send(media_type, path).await;
        assert_eq!((reply.status, reply.header("grpc-status")), (200, "8"), "{media_type}");
        assert_eq!(reply.header("content-type"), media_type);
    }
    let reply = send("application/json", path).await;
    assert_eq!((reply.status, &reply.json()["code"]), (429, &"resource_exhausted".into()));
    assert!(!reply.header("retry-after").is_empty());
    assert_eq!(world.rest().get("/nothing").await.error_code(429), "RATE_LIMITED");
}
