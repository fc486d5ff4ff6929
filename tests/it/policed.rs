//! What a gRPC service is called with, and what never reaches it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use axum::extract::Request;
use axum::routing::any;
use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::{BodyExt as _, Full};
use mainstay::contract::identity::proto::{
    CreateUserRequest, GetUserRequest, UpdateMeRequest, User,
};
use mainstay::contract::pool;
use mainstay::kernel::call;
use mainstay::kernel::channel::{MeshChannel, UnaryOptions};
use mainstay::kernel::database::Database;
use mainstay::kernel::error::{Error, Result};
use mainstay::kernel::health::{Readiness, grpc_health};
use mainstay::kernel::policy::{Authorizer, PolicyTable};
use mainstay::kernel::proto::events::CallAudited;
use mainstay::kernel::registry::StaticRegistry;
use mainstay::kernel::server::{GrpcContext, Listener, Serving, grpc_app};
use mainstay::kernel::settings::{ChannelSettings, DatabaseSettings, ServerLimits, Transport};
use mainstay::kernel::telemetry::{Metrics, propagation};
use mainstay::kernel::token::{TokenSettings, Verifier};
use prost::Message as _;
use sea_orm::{ConnectionTrait as _, DbBackend, Statement};
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tower::ServiceExt as _;
use tracing::Instrument as _;

use crate::mesh::{
    IDEMPOTENT, Mesh, call as call_path, failure, free_port, install_tracing, reply,
};

mod keys;

use keys::Keys;

const SERVICE: &str = "identity-svc";
const GET_ME: &str = "/mainstay.identity.v1.UserService/GetMe";
const GET_USER: &str = "/mainstay.identity.v1.UserService/GetUser";
const LIST_USERS: &str = "/mainstay.identity.v1.UserService/ListUsers";
const UPDATE_ME: &str = "/mainstay.identity.v1.UserService/UpdateMe";
const CREATE_USER: &str = "/mainstay.identity.v1.UserService/CreateUser";
const LIST_PLANS: &str = "/mainstay.billing.v1.BillingService/ListPlans";
const USER: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

/// Names and values.
type Metadata<'a> = &'a [(&'static str, &'a str)];

/// Peer, method, request, metadata, and the reason of the refusal if there is one.
type Case<'a> = (&'a str, &'static str, &'a [u8], Metadata<'a>, Option<&'a str>);

/// A policed server whose handler tells who calls, and does what the header `x-do` says.
struct World {
    mesh: Mesh,
    server: Serving,
    app: axum::Router,
    metrics: Metrics,
    database: Database,
    keys: Arc<Keys>,
    handled: Arc<Mutex<Vec<String>>>,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let mesh = Mesh::new();
        let folder = tempfile::tempdir().unwrap();
        let metrics = Metrics::new(SERVICE, "1.2.3");
        let keys = Arc::new(Keys::new());
        let settings = TokenSettings { issuer: "mainstay".into(), audience: "mainstay".into() };
        let context = |database| GrpcContext {
            service: SERVICE.to_owned(),
            policies: Arc::new(PolicyTable::compile(pool()).unwrap()),
            authorizer: Some(Arc::new(Allowed)),
            entitlements: None,
            tokens: Some(Verifier::new(settings.clone(), keys.clone(), keys.clone())),
            metrics: metrics.clone(),
            database: Some(database),
        };
        let database = Database::open(
            SERVICE,
            &DatabaseSettings {
                url: format!("sqlite://{}/test.db?mode=rwc", folder.path().display()).into(),
                ..DatabaseSettings::default()
            },
        )
        .unwrap();
        database.declare_events(pool()).unwrap();
        database.migrate(Vec::new()).await.unwrap();
        let handled = Arc::new(Mutex::new(Vec::new()));
        let readiness = Readiness::default();
        readiness.set_ready();
        let services = handler(database.clone(), Arc::clone(&handled))
            .route_service("/grpc.health.v1.Health/{*method}", grpc_health(readiness, vec![]));
        let app = grpc_app(services, context(database.clone()));
        let server = mesh.serve(SERVICE, app.clone()).await;
        Self { mesh, server, app, metrics, database, keys, handled, _folder: folder }
    }

    fn channel(&self, peer: &str) -> MeshChannel {
        let registry = StaticRegistry::fixed(SERVICE, [self.server.local_addr()]);
        self.mesh.channel(peer, SERVICE, &registry)
    }

    /// Calls as `peer`; the reply is what the handler saw: peer, user and plan.
    async fn call(
        &self,
        peer: &str,
        path: &'static str,
        message: impl prost::Message,
        metadata: Metadata<'_>,
    ) -> Result<String> {
        let message = Bytes::from(message.encode_to_vec());
        let channel = self.channel(peer);
        let outcome = call_path(&channel, path, message, headers(metadata), IDEMPOTENT).await?;
        Ok(String::from_utf8(outcome.message.to_vec()).unwrap())
    }

    /// Method, resource, outcome, caller and request of every audited call so far.
    async fn audited(&self) -> Vec<CallAudited> {
        let rows = "SELECT payload FROM outbox ORDER BY position";
        let statement = Statement::from_string(DbBackend::Sqlite, rows);
        let rows = self.database.connection().query_all_raw(statement).await.unwrap();
        let decode = |payload: Vec<u8>| CallAudited::decode(payload.as_slice()).unwrap();
        rows.iter().map(|row| decode(row.try_get("", "payload").unwrap())).collect()
    }
}

fn handler(database: Database, handled: Arc<Mutex<Vec<String>>>) -> axum::Router {
    let handle = any(move |request: Request| {
        let (database, handled) = (database.clone(), Arc::clone(&handled));
        async move {
            let identity = ["x-user-id", "x-user-plan", "x-session-id"];
            assert!(identity.iter().all(|name| !request.headers().contains_key(*name)));
            let call = call::current().unwrap();
            let user = call.user.clone();
            let user =
                user.map_or("nobody".to_owned(), |user| format!("{} {}", user.id, user.plan));
            handled.lock().unwrap().push(request.uri().path().to_owned());
            let action = request.headers().get("x-do").cloned();
            // The body arrives as it was sent.
            let body = request.into_body().collect().await.unwrap().to_bytes();
            assert!(body.len() >= 5);
            match action.as_ref().map(|action| action.to_str().unwrap()) {
                Some("panic") => panic!("as asked"),
                Some("fail") => failure(Status::not_found("as asked")),
                Some("hang") => std::future::pending().await,
                Some("trace") => reply(propagation::TraceContext::current().parent.as_bytes()),
                Some("write") => {
                    database.begin().await.unwrap().commit().await.unwrap();
                    reply(b"written")
                }
                _ => reply(format!("{} {user}", call.peer).as_bytes()),
            }
        }
    });
    axum::Router::new()
        .route("/mainstay.identity.v1.UserService/{*method}", handle.clone())
        .route("/mainstay.billing.v1.BillingService/{*method}", handle)
}

fn headers(metadata: Metadata<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in metadata {
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    headers
}

/// Holds that the user `admin` may everything and the service `audit-svc` may list users.
struct Allowed;

#[async_trait]
impl Authorizer for Allowed {
    async fn check(&self, subject: &str, permission: &str, resource: &str) -> Result<bool> {
        let expected = permission == "identity.users.read";
        assert_eq!(resource.starts_with("users/"), expected, "{permission} on `{resource}`");
        if subject == "user:unlucky" {
            return Err(Error::unavailable("authz-svc is away"));
        }
        Ok(subject == "user:admin"
            || (subject == "service:audit-svc" && permission == "identity.users.read"))
    }
}

#[tokio::test]
async fn a_user_is_who_a_trusted_peer_or_a_token_says() {
    let world = World::new().await;
    let token = world.keys.token("u-9", 600);
    let (bearer, expired) =
        (format!("Bearer {token}"), format!("Bearer {}", world.keys.token("u-9", -600)));
    let stated: &[(&str, &str)] = &[("x-user-id", "u-1"), ("x-user-plan", "free")];
    let cases: [(&str, Metadata<'_>, std::result::Result<&str, &str>); 11] = [
        ("gateway", stated, Ok("gateway u-1 free")),
        ("gateway", &[], Err("UNAUTHENTICATED")),
        // The gateway has looked at the token and found none that holds.
        ("gateway", &[("authorization", &bearer)], Err("UNAUTHENTICATED")),
        // GetMe may be called by all, but only the gateway says for whom.
        ("audit-svc", stated, Err("UNAUTHENTICATED")),
        ("audit-svc", &[("authorization", &bearer)], Ok("audit-svc u-9 paid")),
        (
            "audit-svc",
            &[("x-user-id", "u-1"), ("authorization", &bearer)],
            Ok("audit-svc u-9 paid"),
        ),
        ("audit-svc", &[("authorization", &expired)], Err("UNAUTHENTICATED")),
        ("audit-svc", &[("authorization", &token)], Err("UNAUTHENTICATED")),
        ("audit-svc", &[("authorization", "Bearer nonsense")], Err("UNAUTHENTICATED")),
        (
            "gateway",
            &[("x-user-id", "u-1"), ("x-user-id", "u-2"), ("x-user-plan", "free")],
            Err("UNAUTHENTICATED"),
        ),
        ("gateway", &[("x_user_id", "u-1"), ("x-user-id-", "u-1")], Err("UNAUTHENTICATED")),
    ];
    for (peer, metadata, expected) in cases {
        let outcome = world.call(peer, GET_ME, (), metadata).await;
        let outcome = outcome.map_err(|error| error.code().reason.clone().into_owned());
        let outcome = outcome.as_deref().map_err(String::as_str);
        assert_eq!(outcome, expected, "{peer} with {metadata:?}");
    }
}

#[tokio::test]
async fn a_peer_may_call_what_the_contract_says_and_nothing_else() {
    let world = World::new().await;
    let create = CreateUserRequest {
        user_id: USER.into(),
        email: "a@example.com".into(),
        ..CreateUserRequest::default()
    };
    let get = GetUserRequest { user_id: USER.into() };
    let admin: Metadata<'_> = &[("x-user-id", "admin")];
    let owner: Metadata<'_> = &[("x-user-id", USER)];
    let other: Metadata<'_> = &[("x-user-id", "u-1")];
    let unlucky: Metadata<'_> = &[("x-user-id", "unlucky")];
    let (create, get) = (create.encode_to_vec(), get.encode_to_vec());
    let cases: [Case<'_>; 16] = [
        ("auth-svc", CREATE_USER, &create, &[], None),
        // A peer that the contract names is believed about the user.
        ("auth-svc", CREATE_USER, &create, other, None),
        ("billing-svc", CREATE_USER, &create, &[], Some("PERMISSION_DENIED")),
        ("gateway", CREATE_USER, &create, admin, Some("PERMISSION_DENIED")),
        ("gateway", LIST_PLANS, b"", &[], None),
        ("gateway", LIST_USERS, b"", other, Some("PERMISSION_DENIED")),
        ("gateway", LIST_USERS, b"", admin, None),
        ("gateway", LIST_USERS, b"", unlucky, Some("UNAVAILABLE")),
        ("gateway", LIST_USERS, b"", &[], Some("UNAUTHENTICATED")),
        ("audit-svc", LIST_USERS, b"", &[], Some("PERMISSION_DENIED")),
        ("audit-svc", GET_USER, &get, &[], None),
        ("billing-svc", GET_USER, &get, &[], Some("PERMISSION_DENIED")),
        ("gateway", GET_USER, &get, other, Some("PERMISSION_DENIED")),
        ("gateway", GET_USER, &get, owner, None),
        (
            "gateway",
            "/mainstay.identity.v1.UserService/Nothing",
            b"",
            &[],
            Some("PERMISSION_DENIED"),
        ),
        ("gateway", "/test.Echo/Say", b"", &[], Some("PERMISSION_DENIED")),
    ];
    for (peer, path, message, metadata, refused) in cases {
        world.handled.lock().unwrap().clear();
        let message = Bytes::copy_from_slice(message);
        let channel = world.channel(peer);
        let outcome = call_path(&channel, path, message, headers(metadata), IDEMPOTENT).await;
        let reason = outcome.err().map(|status| Error::from_status(&status).code().reason.clone());
        assert_eq!(reason.as_deref(), refused, "{peer} calls {path} with {metadata:?}");
        let handled = world.handled.lock().unwrap().len();
        assert_eq!(handled > 0, refused.is_none(), "{peer} calls {path} with {metadata:?}");
    }
}

#[tokio::test]
async fn paths_that_only_look_like_a_method_are_denied() {
    let world = World::new().await;
    for path in [
        "//mainstay.identity.v1.UserService/GetMe",
        "/mainstay.identity.v1.UserService/GetMe/",
        "/mainstay.identity.v1.UserService//GetMe",
        "/mainstay.identity.v1.UserService/%47etMe",
        "/mainstay.identity.v1.userservice/GetMe",
        "/mainstay.identity.v1.UserService/getme",
        "/mainstay.identity.v1.UserService/",
        "/",
    ] {
        let outcome = world.call("gateway", path, (), &[("x-user-id", "u-1")]).await;
        assert_eq!(outcome.unwrap_err().code().reason, "PERMISSION_DENIED", "{path}");
    }
    assert!(world.handled.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_request_that_breaks_the_contracts_rules_names_the_fields() {
    let world = World::new().await;
    let bad = GetUserRequest { user_id: "no uuid".into() };
    let error = world.call("gateway", GET_USER, bad, &[("x-user-id", "admin")]).await.unwrap_err();
    assert_eq!(error.code().reason, "INVALID_ARGUMENT");
    assert_eq!(error.violations()[0].field, "user_id");

    let channel = world.channel("gateway");
    let metadata = headers(&[("x-user-id", "u-1")]);
    let garbage = Bytes::from_static(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]);
    let status = call_path(&channel, UPDATE_ME, garbage, metadata, IDEMPOTENT).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    assert!(world.handled.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_message_larger_than_the_contract_takes_is_refused_unread() {
    let world = World::new().await;
    // Only the announcement is sent: whoever read the message first would wait for ever.
    let mut announced = BytesMut::new();
    announced.put_u8(0);
    announced.put_u32(64 * 1024 + 1);
    let body = Full::new(announced.freeze());
    let (sender, receiver) = tokio::sync::mpsc::channel::<std::result::Result<_, Status>>(1);
    sender.send(Ok(body.collect().await.unwrap().to_bytes())).await.unwrap();
    let endless =
        axum::body::Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(receiver));
    let request = http::Request::post(UPDATE_ME)
        .header("content-type", "application/grpc")
        .header("x-user-id", "u-1")
        .body(tonic::body::Body::new(endless))
        .unwrap();
    let start = Instant::now();
    let response = world.channel("gateway").oneshot(request).await.unwrap();
    let status = Status::from_header_map(response.headers()).unwrap();
    assert_eq!(Error::from_status(&status).code().reason, "PAYLOAD_TOO_LARGE");
    assert!(start.elapsed() < Duration::from_secs(2), "took {:?}", start.elapsed());
    drop(sender);
    assert!(world.handled.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_panic_or_a_hang_harms_its_own_call_only() {
    let world = World::new().await;
    let user = ("x-user-id", "u-1");
    let error = world.call("gateway", GET_ME, (), &[user, ("x-do", "panic")]).await.unwrap_err();
    assert_eq!(error.code().reason, "INTERNAL");
    assert!(!error.message().contains("as asked"), "{error}");

    let channel = world.channel("gateway");
    let options = UnaryOptions { deadline: Duration::from_millis(200), idempotent: false };
    let hang = headers(&[user, ("x-do", "hang")]);
    let status = call_path(&channel, GET_ME, Bytes::new(), hang, options).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    crate::mesh::eventually(async || (world.server.in_flight() == 0).then_some(())).await;

    assert!(world.call("gateway", GET_ME, (), &[user]).await.is_ok());
}

#[tokio::test]
async fn audited_calls_are_recorded_whatever_their_outcome() {
    let world = World::new().await;
    let user = ("x-user-id", "u-1");
    let update = || UpdateMeRequest {
        user: Some(User { display_name: "Ada".into(), locale: "en-GB".into(), ..User::default() }),
        ..UpdateMeRequest::default()
    };
    world.call("gateway", UPDATE_ME, update(), &[user]).await.unwrap();
    world.call("gateway", UPDATE_ME, update(), &[user, ("x-do", "write")]).await.unwrap();
    world.call("gateway", UPDATE_ME, update(), &[user, ("x-do", "fail")]).await.unwrap_err();
    world.call("gateway", UPDATE_ME, update(), &[user, ("x-do", "panic")]).await.unwrap_err();
    world.call("gateway", UPDATE_ME, UpdateMeRequest::default(), &[user]).await.unwrap_err();
    world.call("gateway", UPDATE_ME, update(), &[]).await.unwrap_err();
    world.call("gateway", GET_ME, (), &[user]).await.unwrap();

    let records = world.audited().await;
    let outcomes: Vec<_> = records.iter().map(|record| record.outcome.as_str()).collect();
    assert_eq!(
        outcomes,
        ["OK", "OK", "NOT_FOUND", "INTERNAL", "INVALID_ARGUMENT", "UNAUTHENTICATED"]
    );
    for record in &records {
        assert_eq!(record.method, "mainstay.identity.v1.UserService/UpdateMe");
        assert_eq!((record.caller.as_str(), record.resource.as_str()), ("gateway", SERVICE));
    }
    assert!(records[0].request_json.contains("en-GB"), "{}", records[0].request_json);
    assert!(!records[0].request_json.contains("Ada"), "{}", records[0].request_json);
}

#[tokio::test]
async fn calls_are_measured_by_method_and_outcome() {
    let world = World::new().await;
    let caller = Metrics::new("gateway", "1.2.3");
    let channel = world.channel("gateway").with_metrics(caller.clone());
    let called = call_path(&channel, LIST_PLANS, Bytes::new(), HeaderMap::new(), IDEMPOTENT).await;
    assert!(called.is_ok());
    let page = caller.render();
    let line = "rpc_client_call_duration_seconds_count{rpc_system_name=\"grpc\",\
                rpc_method=\"mainstay.billing.v1.BillingService/ListPlans\",\
                rpc_response_status_code=\"OK\"} 1";
    assert!(page.contains(line), "{page}");

    world.call("gateway", GET_ME, (), &[("x-user-id", "u-1")]).await.unwrap();
    world.call("gateway", GET_ME, (), &[]).await.unwrap_err();
    world.call("gateway", GET_ME, (), &[("x-user-id", "u-1"), ("x-do", "fail")]).await.unwrap_err();
    world.call("gateway", "/made.up/Method", (), &[]).await.unwrap_err();
    let page = world.metrics.render();
    let counts: BTreeMap<_, _> = page
        .lines()
        .filter(|line| line.starts_with("rpc_server_call_duration_seconds_count"))
        .map(|line| line.rsplit_once(' ').unwrap())
        .collect();
    for (method, code) in [
        ("mainstay.identity.v1.UserService/GetMe", "OK"),
        ("mainstay.identity.v1.UserService/GetMe", "UNAUTHENTICATED"),
        ("mainstay.identity.v1.UserService/GetMe", "NOT_FOUND"),
        ("_OTHER", "PERMISSION_DENIED"),
    ] {
        let one = counts.iter().filter(|(labels, count)| {
            labels.contains(&format!("\"{method}\""))
                && labels.contains(&format!("\"{code}\""))
                && **count == "1"
        });
        assert_eq!(one.count(), 1, "{method} {code} in {counts:?}");
    }
}

#[tokio::test]
async fn any_member_may_ask_for_health_over_both_transports() {
    let world = World::new().await;
    for transport in [Transport::Grpc, Transport::GrpcWeb] {
        let registry = StaticRegistry::fixed(SERVICE, [world.server.local_addr()]);
        let settings = ChannelSettings { transport, ..ChannelSettings::default() };
        let channel = world.mesh.channel_with("audit-svc", SERVICE, &registry, &settings);
        let mut client = HealthClient::new(channel);
        let ask = HealthCheckRequest { service: String::new() };
        let checked = client.check(ask.clone()).await.unwrap().into_inner();
        assert_eq!(checked.status, 1, "{transport:?}");
        let mut watched = client.watch(ask).await.unwrap().into_inner();
        assert_eq!(watched.message().await.unwrap().unwrap().status, 1, "{transport:?}");

        let unknown = HealthCheckRequest { service: "no.Such".into() };
        assert_eq!(client.check(unknown).await.unwrap_err().code(), Code::NotFound);
    }
}

#[tokio::test]
async fn the_reply_carries_the_request_id() {
    let world = World::new().await;
    let user = ("x-user-id", "u-1");
    let channel = world.channel("gateway");
    for (sent, kept) in [("r-1.a:b_c", true), ("with space", false), (&"x".repeat(200), false)] {
        let metadata = headers(&[user, ("x-request-id", sent)]);
        let reply = call_path(&channel, GET_ME, Bytes::new(), metadata, IDEMPOTENT).await.unwrap();
        let got = reply.metadata["x-request-id"].to_str().unwrap();
        assert_eq!(got == sent, kept, "{sent} became {got}");
        assert!(!got.is_empty());
    }
}

#[tokio::test]
async fn without_mtls_only_public_methods_pass() {
    let world = World::new().await;
    let plain = Listener::bind(free_port(), None, &ServerLimits::default()).await.unwrap();
    let plain = plain.serve(world.app.clone());
    let registry = StaticRegistry::fixed(SERVICE, [plain.local_addr()]);
    let channel = MeshChannel::new(SERVICE, None, &registry, &ChannelSettings::default()).unwrap();
    let metadata = || headers(&[("x-user-id", "admin")]);
    let call = |path| call_path(&channel, path, Bytes::new(), metadata(), IDEMPOTENT);

    assert_eq!(call(LIST_PLANS).await.unwrap().message, "anonymous nobody");
    for path in [GET_ME, LIST_USERS, CREATE_USER] {
        assert_eq!(call(path).await.unwrap_err().code(), Code::PermissionDenied, "{path}");
    }
}

#[tokio::test]
async fn a_trace_goes_on_from_the_callers_span_into_the_handler() {
    install_tracing();
    let world = World::new().await;
    let span = tracing::info_span!("caller");
    let metadata = &[("x-user-id", "u-1"), ("x-do", "trace")];
    let calling = async {
        let here = propagation::TraceContext::current().parent;
        (here, world.call("gateway", GET_ME, (), metadata).await.unwrap())
    };
    let (caller, handler) = calling.instrument(span).await;
    let trace_id = |traceparent: &str| traceparent.split('-').nth(1).unwrap().to_owned();
    assert_eq!(trace_id(&handler), trace_id(&caller));
    assert_ne!(handler, caller, "the server has a span of its own");
}
