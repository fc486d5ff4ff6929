//! The gateway alone before a gRPC server that knows nothing of the platform: its own process, by its
//! command line.

use std::fmt::Display;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::future::BoxFuture;
use http::Method;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use mainstay::kernel::error::{Error, Result};
use mainstay_testing::{Rest, eventually, free_address};
use prost::Message as _;
use prost_types::{FileDescriptorProto, FileDescriptorSet, ServiceDescriptorProto};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData as _};
use serde_json::{Value as Json, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tower::ServiceExt as _;

use crate::library::{Arrived, Dynamic, Named};

const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "shop";

#[derive(Clone)]
struct Shop;
impl Named for Shop {
    const NAME: &'static str = "shop.v1.ShopService";
}

/// Which reflection a server offers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reflects {
    V1,
    V1Alpha,
    Not,
}

/// The server; it ends when it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    calls: Arc<Mutex<Vec<Arrived>>>,
    serving: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(reflects: Reflects) -> Self {
        Self::at(TcpListener::bind("127.0.0.1:0").await.unwrap(), reflects)
    }

    fn at(listener: TcpListener, reflects: Reflects) -> Self {
        let (address, calls) = (listener.local_addr().unwrap(), Arc::default());
        let app = app(reflects, &calls);
        let serving = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, calls, serving }
    }

    fn last_request(&self) -> Json {
        self.calls.lock().unwrap().last().unwrap().request.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// What a server serves.
pub(crate) fn app(reflects: Reflects, calls: &Arc<Mutex<Vec<Arrived>>>) -> axum::Router {
    let shop = Dynamic::<Shop>::new(descriptors(), Arc::clone(calls), Arc::new(shopkeeper));
    let mut app = axum::Router::new().route_service("/shop.v1.ShopService/{method}", shop);
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(descriptors());
    let ask = "ServerReflection/{method}";
    app = match reflects {
        Reflects::V1 => {
            let path = format!("/grpc.reflection.v1.{ask}");
            app.route_service(&path, reflection.build_v1().unwrap())
        }
        Reflects::V1Alpha => {
            let path = format!("/grpc.reflection.v1alpha.{ask}");
            app.route_service(&path, reflection.build_v1alpha().unwrap())
        }
        Reflects::Not => app,
    };
    // As gRPC servers answer what they do not know.
    app.fallback(|| async {
        tonic::Status::unimplemented("unknown").into_http::<axum::body::Body>()
    })
}

/// The contract as its makers compile it.
pub(crate) fn descriptors() -> &'static [u8] {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/proto");
    let contracts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto");
    let mut compiler = protox::Compiler::new([tests, contracts]).unwrap();
    compiler.include_imports(true).open_file("shop/v1/shop.proto").unwrap();
    Vec::leak(compiler.encode_file_descriptor_set())
}

fn shopkeeper(arrived: Arrived) -> BoxFuture<'static, Result<Json>> {
    Box::pin(async move {
        let request = &arrived.request;
        let header = |name: &str| {
            let value = arrived.metadata.get(name).map(|value| value.to_str().unwrap().to_owned());
            value.unwrap_or_default()
        };
        match arrived.method.as_str() {
            "GetItem" if request["name"] == "shelves/1/items/none" => {
                Err(Error::not_found("item", "none"))
            }
            "GetItem" => Ok(json!({
                "name": request["name"], "displayName": "Lamp", "priceCents": "1999",
                "createTime": "2026-01-31T12:00:00Z",
            })),
            "ListItems" => Ok(json!({
                "items": [{ "name": "shelves/1/items/a" }], "nextPageToken": "opaque+/=",
            })),
            "CreateItem" | "UpdateItem" => {
                Ok(json!({ "displayName": request["item"]["display_name"] }))
            }
            _ => Ok(json!({
                "authorization": header("authorization"), "user": header("x-user-id"),
                "trace": header("x-trace"),
            })),
        }
    })
}

/// The gateway's process; it ends when it is dropped.
pub(crate) struct Gateway {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) rest: Rest,
}

impl Gateway {
    pub(crate) async fn start(upstream: impl Display, options: &[&str]) -> Self {
        let mut child = command(upstream, options)
            .args(["--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = tokio::task::spawn_blocking(move || {
            let ready = lines.by_ref().map(|line| line.unwrap()).find_map(|line| {
                let line: Json = serde_json::from_str(&line).unwrap();
                (line["message"] == "ready").then(|| line["address"].as_str().unwrap().to_owned())
            });
            // Read on, or the pipe fills up and the process stands still.
            std::thread::spawn(move || lines.for_each(drop));
            ready.expect("the gateway ended before it was ready")
        });
        let address: SocketAddr = ready.await.unwrap().parse().unwrap();
        Self { child, address, rest: Rest::new(address) }
    }

    /// One that knows its routes.
    pub(crate) async fn routed(upstream: impl Display, options: &[&str]) -> Self {
        let gateway = Self::start(upstream, options).await;
        eventually("the routes are known", async || {
            let reply = gateway.rest.get("/v1/nowhere").await;
            (reply.status != 503).then_some(())
        })
        .await;
        gateway
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

pub(crate) fn command(upstream: impl Display, options: &[&str]) -> Command {
    let mut command = mainstay_testing::command(env!("CARGO_BIN_EXE_mainstay-gateway"));
    command.args(["--upstream", &upstream.to_string()]).args(options);
    command
}

/// Keys of an issuer and tokens by them.
struct Issuer {
    pair: KeyPair,
    jwks: PathBuf,
    _folder: tempfile::TempDir,
}

impl Issuer {
    fn new() -> Self {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let (point, folder) = (pair.der_bytes(), tempfile::tempdir().unwrap());
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let key = json!({
            "kty": "EC", "crv": "P-256", "kid": "k", "use": "sig",
            "x": text(&point[1..33]), "y": text(&point[33..]),
        });
        let jwks = folder.path().join("jwks.json");
        std::fs::write(&jwks, json!({ "keys": [key] }).to_string()).unwrap();
        Self { pair, jwks, _folder: folder }
    }

    fn token(&self, subject: &str, audience: &str) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let claims =
            json!({ "iss": ISSUER, "aud": [audience, "x"], "sub": subject, "exp": now + 86_400 });
        let header = Header { kid: Some("k".into()), ..Header::new(Algorithm::ES256) };
        let key = EncodingKey::from_ec_der(&self.pair.serialize_der());
        encode(&header, &claims, &key).unwrap()
    }

    fn options(&self) -> Vec<String> {
        let jwks = format!("file://{}", self.jwks.display());
        ["--jwks", &jwks, "--issuer", ISSUER, "--audience", AUDIENCE].map(str::to_owned).into()
    }
}

fn texts(options: &[String]) -> Vec<&str> {
    options.iter().map(String::as_str).collect()
}

#[tokio::test]
async fn an_annotated_server_is_served_as_it_is() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), descriptors()).unwrap();
    let file = file.path().to_str().unwrap();
    for (reflects, options) in [
        (Reflects::V1, vec!["--refuse-unknown"]),
        (Reflects::V1Alpha, vec![]),
        (Reflects::Not, vec!["--descriptors", file]),
    ] {
        let server = Server::start(reflects).await;
        let gateway = Gateway::routed(server.address, &options).await;
        let (rest, strict) = (&gateway.rest, options.contains(&"--refuse-unknown"));

        let item = rest.get("/v1/shelves/1/items/a%20b").await;
        assert_eq!(item.status, 200, "{:?}", item.body);
        let expected = json!({
            "name": "shelves/1/items/a b", "displayName": "Lamp", "priceCents": "1999",
            "createTime": "2026-01-31T12:00:00Z",
        });
        assert_eq!(item.json(), expected);

        let list = rest.get("/v1/shelves/1/items?pageSize=1&page_token=opaque%2B%2F%3D").await;
        let expected =
            json!({ "items": [{ "name": "shelves/1/items/a" }], "nextPageToken": "opaque+/=" });
        assert_eq!(list.json(), expected);
        let asked = json!({ "parent": "shelves/1", "page_size": 1, "page_token": "opaque+/=" });
        assert_eq!(server.last_request(), asked);

        let lamp = json!({ "displayName": "Lamp", "tags": ["new"], "priceCents": 5 });
        let created = rest.post("/v1/shelves/2/items?item_id=lamp", lamp.clone()).await;
        assert_eq!(created.json(), json!({ "displayName": "Lamp" }));
        let asked = json!({
            "parent": "shelves/2", "item_id": "lamp",
            "item": { "display_name": "Lamp", "tags": ["new"], "price_cents": "5" },
        });
        assert_eq!(server.last_request(), asked);

        rest.patch("/v1/shelves/2/items/lamp", json!({ "displayName": "Lantern" })).await;
        let asked = json!({
            "item": { "name": "shelves/2/items/lamp", "display_name": "Lantern" },
            "update_mask": "displayName",
        });
        assert_eq!(server.last_request(), asked);

        let surplus = rest.get("/v1/shelves/1/items/a?utm_source=mail").await;
        assert_eq!(surplus.status, if strict { 400 } else { 200 });
        let extension = rest.get("/v1/shelves/1/items/a?%5Bshop.v1.note%5D=4").await;
        assert_eq!(extension.status, 400, "it is passed over by nobody");
        let missing = rest.get("/v1/shelves/1/items/none").await;
        assert_eq!(missing.status, 404);
        // What has no route is served by its gRPC path, here as Connect has it.
        let unrouted = rest.post("/shop.v1.ShopService/Unrouted", json!({})).await;
        assert_eq!((unrouted.status, unrouted.json()), (200, json!({})));
        // A path that would be the explorer's, and one that is the gateway's.
        assert!(rest.get("/docs").await.json().is_object());
        let document = rest.get("/openapi.json").await.json();
        assert!(document["paths"]["/v1/{name}"]["get"].is_object(), "{document}");
    }
}

#[tokio::test]
async fn who_calls_is_the_servers_to_find_out_unless_keys_are_known() {
    let server = Server::start(Reflects::V1).await;
    let gateway = Gateway::routed(server.address, &["--forward-header", "x-trace"]).await;
    let headers = [
        ("content-type", "application/json"),
        ("authorization", "Basic x"),
        ("x-trace", "t1"),
        ("x-user-id", "forged"),
    ];
    let reply = gateway.rest.send(Method::POST, "/v1:whoami", &headers, "{}".into()).await;
    assert_eq!(reply.json(), json!({ "authorization": "Basic x", "trace": "t1" }));

    let issuer = Issuer::new();
    let gateway = Gateway::routed(server.address, &texts(&issuer.options())).await;
    let known = gateway.rest.with_bearer(&issuer.token("ada", AUDIENCE));
    let reply = known.post("/v1:whoami", json!({})).await;
    assert_eq!(reply.json(), json!({ "user": "ada" }), "the token stays here");
    for rest in [gateway.rest.clone(), gateway.rest.with_bearer(&issuer.token("ada", "other"))] {
        let reply = rest.post("/v1:whoami", json!({})).await;
        assert_eq!(reply.status, 401, "{:?}", reply.body);
        assert_eq!(reply.headers["www-authenticate"], "Bearer");
    }
}

#[tokio::test]
async fn each_subject_and_each_address_is_limited() {
    let (server, issuer) = (Server::start(Reflects::V1).await, Issuer::new());
    let mut options = issuer.options();
    options.extend(["--rate-limit".to_owned(), "2/h".to_owned()]);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), descriptors()).unwrap();
    options.extend(["--descriptors".to_owned(), file.path().display().to_string()]);
    let gateway = Gateway::start(server.address, &texts(&options)).await;
    let get = async |user: &str| {
        let rest = gateway.rest.with_bearer(&issuer.token(user, AUDIENCE));
        rest.get("/v1/shelves/1/items/a").await
    };
    let first = get("ada").await;
    assert_eq!(first.status, 200, "{:?}", first.body);
    assert_eq!(first.headers["ratelimit-policy"], "\"default\";q=2;w=3600");
    assert_eq!(get("ada").await.status, 200);
    let third = get("ada").await;
    assert_eq!(third.status, 429);
    assert!(third.headers.contains_key("retry-after"));
    // The address may send twice as much at once, for there may be several behind it.
    assert_eq!(get("bob").await.status, 200);
    let of_address = get("carol").await;
    assert_eq!(of_address.status, 429);
    assert!(of_address.json()["error"]["message"].as_str().unwrap().contains("this address"));
}

#[tokio::test]
async fn a_server_that_comes_later_is_served_when_it_is_there() {
    let address = free_address();
    let gateway = Gateway::start(address, &[]).await;
    let early = gateway.rest.get("/v1/shelves/1/items/a").await;
    assert_eq!(early.status, 503);
    assert!(early.headers.contains_key("retry-after"));

    let _server = Server::at(TcpListener::bind(address).await.unwrap(), Reflects::V1);
    eventually("the server is served", async || {
        let reply = gateway.rest.get("/v1/shelves/1/items/a").await;
        (reply.status == 200).then_some(())
    })
    .await;
}

/// A contract in Protobuf Editions.
fn of_editions() -> &'static [u8] {
    let service =
        ServiceDescriptorProto { name: Some("NewService".to_owned()), ..Default::default() };
    let file = FileDescriptorProto {
        name: Some("new/v1/new.proto".to_owned()),
        package: Some("new.v1".to_owned()),
        syntax: Some("editions".to_owned()),
        service: vec![service],
        ..Default::default()
    };
    Vec::leak(FileDescriptorSet { file: vec![file] }.encode_to_vec())
}

#[tokio::test]
async fn a_contract_that_cannot_be_read_is_asked_for_again() {
    let calls = Arc::default();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(of_editions())
        .build_v1()
        .unwrap();
    let path = "/grpc.reflection.v1.ServerReflection/{method}";
    let before = axum::Router::new().route_service(path, reflection);
    let (after, asked) = (app(Reflects::V1, &calls), Arc::new(AtomicUsize::new(0)));
    let app = axum::Router::new().fallback(move |request: axum::extract::Request| {
        let reflects = request.uri().path().starts_with("/grpc.reflection.");
        let is_early = reflects && asked.fetch_add(1, Ordering::SeqCst) < 2;
        if is_early { before.clone() } else { after.clone() }.oneshot(request)
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let _server = Server { address, calls, serving };
    let gateway = Gateway::routed(address, &[]).await;
    assert_eq!(gateway.rest.get("/v1/shelves/1/items/a").await.status, 200);
}

#[test]
fn a_command_line_that_cannot_be_is_refused_with_its_mend() {
    let upstream = "127.0.0.1:1";
    let run = |options: &[&str]| -> Output { command(upstream, options).output().unwrap() };
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), FileDescriptorProto::default().encode_to_vec()).unwrap();
    let empty = file.path().to_str().unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), of_editions()).unwrap();
    let of_editions = file.path().to_str().unwrap();
    let alone = |options: &[&str]| {
        let mut command = mainstay_testing::command(env!("CARGO_BIN_EXE_mainstay-gateway"));
        command.args(options).env("MAINSTAY_TLS__MODE", "plaintext").output().unwrap()
    };
    let without = alone(&["--listen", "127.0.0.1:1"]);
    assert!(String::from_utf8_lossy(&without.stderr).contains("--upstream"), "{without:?}");
    let of_the_platform = alone(&["--print-settings"]);
    assert!(String::from_utf8_lossy(&of_the_platform.stdout).contains("[gateway]"));
    for (options, mend) in [
        (&["--jwks", "https://a/keys"][..], "--issuer"),
        (&["--settings", "x.toml"], "cannot be used with"),
        (&["--issuer", ISSUER], "--jwks"),
        (&["--jwks", "ftp://a", "--issuer", ISSUER, "--audience", AUDIENCE], "write https://"),
        (&["--descriptors", "/nowhere.pb"], "/nowhere.pb cannot be read"),
        (&["--descriptors", empty], "describes no gRPC service"),
        (&["--descriptors", of_editions], "new/v1/new.proto is `editions`: only proto2 and proto3"),
        (&["--rate-limit", "many"], "100/s"),
        (&["--upstream", "no-port"], "HOST:PORT"),
    ] {
        let output = run(options);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(mend), "{options:?}: {said}");
    }
}
