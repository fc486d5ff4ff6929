//! A service of streams by tonic, and the messages it speaks in.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt as _};
use http::HeaderMap;
use mainstay::contract::authz::{self, GrpcAuthzClient, RemoteAuthorizer};
use mainstay::kernel::error::{Error, NOT_FOUND};
use mainstay::kernel::lifecycle::{Module, Running};
use mainstay::kernel::telemetry::Metrics;
use mainstay_testing::{NoSettings, eventually};
use tokio::sync::watch;
use tonic::server::{Grpc, NamedService};
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;
use tonic_types::{ErrorDetails, HelpLink, StatusExt as _};
use tower::service_fn;

use crate::library::descriptors;
use crate::world::World;

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct WatchRequest {
    #[prost(string, tag = "1")]
    pub(crate) topic: String,
    #[prost(string, tag = "2")]
    pub(crate) after: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Item {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(string, tag = "2")]
    pub(crate) body_text: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Note {
    #[prost(string, tag = "1")]
    pub(crate) shelf: String,
    #[prost(string, tag = "2")]
    pub(crate) text: String,
    #[prost(int32, tag = "3")]
    pub(crate) weight: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Summary {
    #[prost(int32, tag = "1")]
    pub(crate) count: i32,
    #[prost(int64, tag = "2")]
    pub(crate) total: i64,
    #[prost(int64, tag = "3")]
    pub(crate) largest: i64,
    #[prost(string, tag = "4")]
    pub(crate) name: String,
    #[prost(string, tag = "5")]
    pub(crate) content_type: String,
    #[prost(string, tag = "6")]
    pub(crate) label: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct HttpBody {
    #[prost(string, tag = "1")]
    pub(crate) content_type: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) data: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Piece {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) content: Option<HttpBody>,
    #[prost(string, tag = "3")]
    pub(crate) label: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Attachment {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, repeated, tag = "2")]
    pub(crate) tags: Vec<String>,
    #[prost(int32, tag = "3")]
    pub(crate) readings: i32,
    #[prost(message, optional, tag = "4")]
    pub(crate) content: Option<HttpBody>,
    #[prost(bytes = "vec", tag = "5")]
    pub(crate) data: Vec<u8>,
    #[prost(bytes = "vec", optional, tag = "6")]
    pub(crate) picture: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Attached {
    #[prost(message, optional, tag = "1")]
    pub(crate) attachment: Option<Attachment>,
}

type Answer<T> = Result<tonic::Response<T>, Status>;
type Answers<T> = Answer<BoxStream<'static, Result<T, Status>>>;

/// The service. It knows how many calls are under way.
#[derive(Clone, Default)]
pub(crate) struct Feed {
    under_way: Arc<watch::Sender<usize>>,
    /// The metadata of the last call.
    pub(crate) metadata: Arc<std::sync::Mutex<HeaderMap>>,
}

/// Counts a call for as long as it is there.
struct UnderWay(Arc<watch::Sender<usize>>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// A stream that holds its call under way.
struct Held<S>(S, #[allow(dead_code)] UnderWay);

impl<S: Stream + Unpin> Stream for Held<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        self.0.poll_next_unpin(context)
    }
}

impl Feed {
    /// Starts the service in a world, and waits until its routes are there.
    pub(crate) async fn start(world: &World) -> (Self, Running) {
        let feed = Self::default();
        let channel = world.mesh.channel("feed-svc", authz::SERVICE);
        let metrics = Metrics::new("feed-svc", "0");
        let authorizer = Arc::new(RemoteAuthorizer::new(GrpcAuthzClient::new(channel), &metrics));
        let served = feed.clone();
        let module = async move |_| {
            Ok(Module::new(descriptors("feed/v1/feed.proto"))
                .grpc(served)
                .permission("library.books.create", "Add books.")
                .authorizer(authorizer))
        };
        let running = world.mesh.start("feed-svc", NoSettings {}, module).await;
        let admin = world.admin();
        eventually("the feed is routed", async || {
            admin.get("/admin/routes").await.text().contains("FeedService").then_some(())
        })
        .await;
        (feed, running)
    }

    /// Waits until so many calls are under way.
    pub(crate) async fn calls_under_way(&self, wanted: usize) {
        let mut under_way = self.under_way.subscribe();
        let reached = under_way.wait_for(|count| *count == wanted);
        let reached = tokio::time::timeout(Duration::from_secs(10), reached).await;
        reached.expect("the calls come or go in time").unwrap();
    }

    fn begin(&self) -> UnderWay {
        self.under_way.send_modify(|count| *count += 1);
        UnderWay(Arc::clone(&self.under_way))
    }

    async fn get(self, request: tonic::Request<WatchRequest>) -> Answer<Item> {
        let _under_way = self.begin();
        let topic = request.into_inner().topic;
        match topic.as_str() {
            "none" => return Err(Error::new(NOT_FOUND, "there is no such item").into()),
            "strange" => return Err(strange()),
            "sold" => {
                let mut status = Status::not_found("it is sold");
                with_version(status.metadata_mut());
                return Err(status);
            }
            "slow" => std::future::pending().await,
            _ => {}
        }
        let mut reply = tonic::Response::new(item(1));
        with_version(reply.metadata_mut());
        if topic == "dear" {
            reply.metadata_mut().insert("x-feed-cost", "2".parse().unwrap());
        }
        Ok(reply)
    }

    async fn watch(self, request: tonic::Request<WatchRequest>) -> Answers<Item> {
        let under_way = self.begin();
        let WatchRequest { topic, after } = request.into_inner();
        if topic.starts_with("slow-") {
            tokio::time::sleep(SLOW).await;
        }
        let first: usize = after.parse().map_or(1, |seen: usize| seen + 1);
        let items = move |until: usize| stream::iter((first..=until).map(|id| Ok(item(id))));
        let lent = || Err(crate::library::fail("conflict").into());
        let items: BoxStream<'static, Result<Item, Status>> = match topic.as_str() {
            "none" | "slow-none" => {
                return Err(Error::new(NOT_FOUND, "there is no such feed").into());
            }
            "strange" => return Err(strange()),
            "slow-never" => std::future::pending().await,
            "early-error" => stream::iter([lent()]).boxed(),
            "late-error" => items(2).chain(stream::iter([lent()])).boxed(),
            "silent" => stream::pending().boxed(),
            "then-silent" => items(2).chain(stream::pending()).boxed(),
            "many" => items(1000).boxed(),
            "endless" => items(usize::MAX).boxed(),
            "empty" => stream::empty().boxed(),
            "named" => named(&after),
            _ if after == "wait" => items(2).chain(stream::pending()).boxed(),
            _ => items(3).boxed(),
        };
        let mut reply = tonic::Response::new(Held(items, under_way).boxed());
        with_version(reply.metadata_mut());
        Ok(reply)
    }

    async fn download(self, request: tonic::Request<WatchRequest>) -> Answers<HttpBody> {
        let broken = request.into_inner().topic == "broken";
        let piece = |text: &str, content_type: &str| {
            Ok(HttpBody { content_type: content_type.into(), data: text.into() })
        };
        let pieces = [piece("a,b\n", "text/csv"), piece("1,2\n", "text/ignored")];
        let end = broken.then(|| Err(Status::internal("the disk is full")));
        Ok(tonic::Response::new(stream::iter(pieces).chain(stream::iter(end)).boxed()))
    }

    async fn collect(self, request: tonic::Request<Streaming<Note>>) -> Answer<Summary> {
        let _under_way = self.begin();
        let (mut notes, mut summary) = (request.into_inner(), Summary::default());
        while let Some(note) = notes.message().await? {
            summary.count += 1;
            summary.total += i64::from(note.weight);
            summary.name = note.shelf;
        }
        Ok(tonic::Response::new(summary))
    }

    async fn chat(self, request: tonic::Request<Streaming<Note>>) -> Answers<Note> {
        let under_way = self.begin();
        let notes = request.into_inner().map(|note| match note {
            Ok(note) if note.text == "fail" => Err(crate::library::fail("conflict").into()),
            Ok(note) => Ok(Note { text: note.text.to_uppercase(), ..note }),
            Err(status) => Err(status),
        });
        Ok(tonic::Response::new(Held(notes, under_way).boxed()))
    }

    async fn mirror(self, request: tonic::Request<Streaming<HttpBody>>) -> Answers<HttpBody> {
        Ok(tonic::Response::new(request.into_inner().boxed()))
    }

    async fn upload(self, request: tonic::Request<Streaming<Piece>>) -> Answer<Summary> {
        let _under_way = self.begin();
        let (mut pieces, mut summary) = (request.into_inner(), Summary::default());
        while let Some(piece) = pieces.message().await? {
            let content = piece.content.unwrap_or_default();
            let bytes = i64::try_from(content.data.len()).unwrap();
            summary.count += 1;
            summary.total += bytes;
            summary.largest = summary.largest.max(bytes);
            (summary.name, summary.label) = (piece.name, piece.label);
            summary.content_type = content.content_type;
        }
        Ok(tonic::Response::new(summary))
    }

    async fn attach(self, request: tonic::Request<Attachment>) -> Answer<Attached> {
        Ok(tonic::Response::new(Attached { attachment: Some(request.into_inner()) }))
    }

    async fn run(self, request: Request) -> Response {
        let method = request.uri().path().rsplit('/').next().unwrap().to_owned();
        *self.metadata.lock().unwrap() = request.headers().clone();
        // Serves a method by one of the four kinds that tonic has.
        macro_rules! serve {
            ($kind:ident, $handler:ident) => {
                Grpc::new(ProstCodec::default())
                    .$kind(service_fn(|request| self.clone().$handler(request)), request)
                    .await
            };
        }
        let response = match method.as_str() {
            "GetItem" | "Peek" => serve!(unary, get),
            "Watch" | "WatchPlain" | "WatchBriefly" | "WatchShelf" => {
                serve!(server_streaming, watch)
            }
            "Download" => serve!(server_streaming, download),
            "Collect" => serve!(client_streaming, collect),
            "Chat" => serve!(streaming, chat),
            "Mirror" => serve!(streaming, mirror),
            "Upload" => serve!(client_streaming, upload),
            "Attach" => serve!(unary, attach),
            other => Status::unimplemented(other).into_http(),
        };
        with_cost(response.map(Body::new))
    }
}

/// How long the service takes to begin a reply whose topic begins with `slow-`.
const SLOW: Duration = Duration::from_millis(100);

/// Items with names for ids, after one of them; before and after some of them are spaces.
fn named(after: &str) -> BoxStream<'static, Result<Item, Status>> {
    const NAMES: [&str; 4] = ["é1", " é2", "é3 ", "é4"];
    let seen = NAMES.iter().position(|name| *name == after).map_or(0, |seen| seen + 1);
    stream::iter(&NAMES[seen..]).map(|name| Ok(Item { id: (*name).into(), ..item(1) })).boxed()
}

/// Adds what is declared, and what is not, to metadata.
fn with_version(metadata: &mut tonic::metadata::MetadataMap) {
    metadata.insert("x-feed-version", "7".parse().unwrap());
    metadata.insert("x-feed-secret", "hidden".parse().unwrap());
}

/// Adds what is declared, and what is not, to the trailers.
fn with_cost(response: Response) -> Response {
    use http_body_util::BodyExt as _;
    response.map(|body| {
        Body::new(body.map_frame(|mut frame| {
            if let Some(trailers) = frame.trailers_mut() {
                trailers.insert("x-feed-cost", "3".parse().unwrap());
                trailers.insert("x-feed-debt", "9".parse().unwrap());
            }
            frame
        }))
    })
}

pub(crate) fn item(id: usize) -> Item {
    Item { id: id.to_string(), body_text: format!("item {id}") }
}

/// An error in the manner of another server, with details of which the platform has none.
fn strange() -> Status {
    let mut details = ErrorDetails::new();
    details
        .set_error_info("CLOSED", "feed.example", std::collections::HashMap::new())
        .set_help(vec![HelpLink::new("opening hours", "https://feed.example/hours")])
        .set_debug_info(vec!["at feed.rs:12".to_owned()], "lock of row 7");
    Status::with_error_details(tonic::Code::NotFound, "closed", details)
}

impl NamedService for Feed {
    const NAME: &'static str = "feed.v1.FeedService";
}

impl tower::Service<Request> for Feed {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let feed = self.clone();
        Box::pin(async move { Ok(feed.run(request).await) })
    }
}
