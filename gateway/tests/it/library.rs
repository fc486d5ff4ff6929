//! A gRPC service made of descriptors and a function from JSON to JSON.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::{BufMut as _, Bytes, BytesMut};
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue};
use http_body_util::{BodyExt as _, Full};
use mainstay::kernel::call::{self, User};
use mainstay::kernel::error::{Error, Result};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use serde_json::Value as Json;
use tokio::sync::Semaphore;
use tonic::server::NamedService;

/// One call as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    pub(crate) method: String,
    pub(crate) request: Json,
    pub(crate) metadata: HeaderMap,
    /// On whose behalf the service is asked.
    pub(crate) user: Option<User>,
}

pub(crate) type Answer = Arc<dyn Fn(Arrived) -> BoxFuture<'static, Result<Json>> + Send + Sync>;

/// The service; `N` says which.
#[derive(Clone)]
pub(crate) struct Dynamic<N> {
    pool: DescriptorPool,
    answer: Answer,
    calls: Arc<Mutex<Vec<Arrived>>>,
    name: std::marker::PhantomData<N>,
}

/// Names a service.
pub(crate) trait Named: Clone + Send + Sync + 'static {
    const NAME: &'static str;
}

#[derive(Clone)]
pub(crate) struct Library;
impl Named for Library {
    const NAME: &'static str = "library.v1.LibraryService";
}

#[derive(Clone)]
pub(crate) struct Rival;
impl Named for Rival {
    const NAME: &'static str = "rival.v1.RivalService";
}

impl<N: Named> NamedService for Dynamic<N> {
    const NAME: &'static str = N::NAME;
}

impl<N: Named> Dynamic<N> {
    pub(crate) fn new(descriptors: &[u8], calls: Arc<Mutex<Vec<Arrived>>>, answer: Answer) -> Self {
        let pool = DescriptorPool::decode(descriptors).unwrap();
        Self { pool, answer, calls, name: std::marker::PhantomData }
    }

    async fn run(self, request: Request) -> Result<Bytes> {
        let method = request.uri().path().rsplit('/').next().unwrap().to_owned();
        let service = self.pool.get_service_by_name(N::NAME).unwrap();
        let descriptor = service.methods().find(|known| known.name() == method).unwrap();
        let metadata = request.headers().clone();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let message = DynamicMessage::decode(descriptor.input(), body.slice(5..)).unwrap();
        let options = SerializeOptions::new().use_proto_field_name(true);
        let request =
            message.serialize_with_options(serde_json::value::Serializer, &options).unwrap();
        let user = call::current().and_then(|call| call.user.clone());
        let arrived = Arrived { method, request, metadata, user };
        self.calls.lock().unwrap().push(arrived.clone());
        let answer = (self.answer)(arrived).await?;
        let reply = DynamicMessage::deserialize(descriptor.output(), answer).unwrap();
        Ok(reply.encode_to_vec().into())
    }
}

impl<N: Named> tower::Service<Request> for Dynamic<N> {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, std::result::Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::result::Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            Ok(match service.run(request).await {
                Ok(message) => framed(&message),
                Err(error) => error.to_status().into_http(),
            })
        })
    }
}

fn framed(message: &Bytes) -> Response {
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap());
    frame.put_slice(message);
    let trailers = HeaderMap::from_iter([(
        http::HeaderName::from_static("grpc-status"),
        HeaderValue::from_static("0"),
    )]);
    let body = Full::new(frame.freeze()).with_trailers(async { Some(Ok(trailers)) });
    let mut response = Response::new(Body::new(body));
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert("content-type", grpc);
    response
}

/// The descriptors of the contracts below `tests/proto`.
pub(crate) fn descriptors(file: &str) -> &'static [u8] {
    let tests = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/proto");
    let contracts = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto");
    let mut resolver = protox::file::ChainFileResolver::new();
    resolver.add(protox::file::IncludeFileResolver::new(tests));
    resolver.add(protox::file::IncludeFileResolver::new(contracts));
    resolver.add(protox::file::GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).include_source_info(true);
    // Every service publishes the platform's own events too.
    compiler.open_files([file, "mainstay/events/v1/platform_events.proto"]).unwrap();
    Vec::leak(compiler.encode_file_descriptor_set())
}

/// The library's behaviour.
pub(crate) fn librarian(arrived: Arrived) -> BoxFuture<'static, Result<Json>> {
    Box::pin(async move {
        let request = &arrived.request;
        let book = |title: &str| serde_json::json!({ "id": "b1", "title": title, "authorName": "Ada", "etag": "v1" });
        match arrived.method.as_str() {
            "Echo" => Ok(arrived.request),
            "GetBook" if request["book_id"] == "none" => Err(Error::not_found("book", "none")),
            "GetBook" => Ok(book(request["book_id"].as_str().unwrap())),
            "GetSigned" | "GetWords" | "GetPicture" if request["book_id"] == "none" => {
                Ok(serde_json::json!({}))
            }
            "GetSigned" | "GetWords" | "GetPicture" => Ok(serde_json::json!({
                "book": book("Signed"),
                "words": ["new", "here"],
                "picture": { "contentType": "image/png", "data": "iVBORw==" },
            })),
            "ListBooks" | "ListMyBooks" => Ok(list(request)),
            "CreateBook" => Ok(book(request["title"].as_str().unwrap())),
            "UpdateBook" | "ArchiveBook" => Ok(book("Changed")),
            "Borrow" => borrow(request["book_id"].as_str().unwrap()).await,
            "Upload" => Ok(serde_json::json!({
                "contentType": request["body"]["content_type"],
                "data": request["body"]["data"],
            })),
            "Describe" => Ok(serde_json::json!({ "libraryTitle": "L", "home_page": "h" })),
            "Fail" => Err(fail(request["how"].as_str().unwrap_or_default())),
            "Dawdle" => {
                tokio::time::sleep(std::time::Duration::from_secs(3)).await;
                Ok(serde_json::json!({}))
            }
            "Conflict" | "Own" => Ok(serde_json::json!({ "id": request["id"] })),
            _ => Ok(inspection(&arrived.metadata)),
        }
    })
}

/// Has a permit for each call that may lend the book `slow`.
pub(crate) static LENDING: Semaphore = Semaphore::const_new(0);

async fn borrow(book: &str) -> Result<Json> {
    match book {
        "slow" => LENDING.acquire().await.unwrap().forget(),
        "never" => std::future::pending().await,
        "conflict" | "limited" | "internal" => return Err(fail(book)),
        _ => {}
    }
    static NUMBER: AtomicUsize = AtomicUsize::new(1);
    let number = NUMBER.fetch_add(1, Ordering::SeqCst);
    Ok(serde_json::json!({ "id": book, "title": format!("Copy {number}"), "etag": "v1" }))
}

/// Five books, by pages of `page_size` (2 when not said).
fn list(request: &Json) -> Json {
    let from: usize = request["page_token"].as_str().map_or(0, |token| token.parse().unwrap());
    let size = request["page_size"].as_u64().map_or(2, |size| usize::try_from(size).unwrap());
    let until = (from + size).min(5);
    let books: Vec<Json> =
        (from..until).map(|index| serde_json::json!({ "id": format!("b{index}") })).collect();
    let mut page = serde_json::json!({ "books": books });
    if until < 5 {
        page["nextPageToken"] = until.to_string().into();
    }
    if request["include_total"] == true {
        page["totalSize"] = 5.into();
    }
    page
}

pub(crate) fn fail(how: &str) -> Error {
    use mainstay::kernel::error::*;
    match how {
        "conflict" => Error::new(
            ErrorCode::with_http("BOOK_LENT", tonic::Code::FailedPrecondition, 409),
            "the book is lent",
        )
        .detail("until", "tomorrow"),
        "field" => Error::invalid("how", "is not how it is done"),
        "quota" => Error::new(RATE_LIMITED, "no books are left for today")
            .quota("shelf:poetry", "3 books a day")
            .retry_after(std::time::Duration::from_secs(60)),
        "internal" => Error::internal(anyhow::anyhow!("the password is hunter2")),
        "panic" => panic!("as asked"),
        "limited" => Error::new(RATE_LIMITED, "slow down")
            .retry_after(std::time::Duration::from_millis(2500)),
        other => Error::unavailable(format!("cannot {other}")),
    }
}

fn inspection(metadata: &HeaderMap) -> Json {
    let pairs = metadata.iter().map(|(name, value)| {
        (name.to_string(), Json::from(String::from_utf8_lossy(value.as_bytes()).into_owned()))
    });
    serde_json::json!({ "metadata": Json::Object(pairs.collect()) })
}
