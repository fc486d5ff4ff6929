//! What callers see of a service whose instances come, go, fail and lie.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use futures::stream::{self, StreamExt as _};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use mainstay::contract::identity::proto::GetMeRequest;
use mainstay::contract::identity::proto::user_service_client::UserServiceClient;
use mainstay::kernel::call::{self, Call, User};
use mainstay::kernel::channel::{MeshChannel, UnaryOptions, framed};
use mainstay::kernel::error::{Error, FAILED_PRECONDITION, UNAVAILABLE};
use mainstay::kernel::policy::PolicyTable;
use mainstay::kernel::registry::{Instance, StaticRegistry};
use mainstay::kernel::server::Peer;
use mainstay::kernel::settings::{ChannelSettings, Transport};
use tonic::{Code, Status};

use crate::mesh::{
    ECHO, IDEMPOTENT, Mesh, NOT_IDEMPOTENT, answering, call as call_path, dead_address, eventually,
    failure, reply, say,
};

const SERVICE: &str = "echo-svc";

fn echo() -> Router {
    answering(|request: Request| async move {
        let Ok(body) = request.into_body().collect().await else {
            return failure(Status::cancelled("the caller is gone"));
        };
        tokio::time::sleep(Duration::from_millis(2)).await;
        reply(&body.to_bytes()[5..])
    })
}

/// Makes `count` calls, sixteen at a time, and returns those that failed.
async fn failed_of(count: usize, channel: &MeshChannel, options: UnaryOptions) -> Vec<Status> {
    stream::iter(0..count)
        .map(|_| say(channel, "hello", options))
        .buffer_unordered(16)
        .filter_map(|outcome| async {
            match outcome {
                Ok(reply) => {
                    assert_eq!(reply.message, "hello");
                    None
                }
                Err(status) => Some(status),
            }
        })
        .collect()
        .await
}

#[tokio::test]
async fn one_dead_endpoint_of_three_fails_no_call() {
    let mesh = Mesh::new();
    let (first, second) = (mesh.serve(SERVICE, echo()).await, mesh.serve(SERVICE, echo()).await);
    let registry =
        StaticRegistry::fixed(SERVICE, [dead_address(), first.local_addr(), second.local_addr()]);
    let channel = mesh.channel("gateway", SERVICE, &registry);
    let failed = failed_of(400, &channel, NOT_IDEMPOTENT).await;
    assert!(failed.is_empty(), "{} of 400 failed: {:?}", failed.len(), failed[0]);
}

#[tokio::test]
async fn a_server_killed_in_the_middle_fails_no_idempotent_call() {
    for transport in [Transport::Grpc, Transport::GrpcWeb] {
        let mesh = Mesh::new();
        let stays = mesh.serve(SERVICE, echo()).await;
        let dies = mesh.serve(SERVICE, echo()).await;
        let registry = StaticRegistry::fixed(SERVICE, [stays.local_addr(), dies.local_addr()]);
        let settings = ChannelSettings { transport, ..ChannelSettings::default() };
        let channel = mesh.channel_with("gateway", SERVICE, &registry, &settings);

        let calls = failed_of(400, &channel, IDEMPOTENT);
        let killer = async {
            eventually(async || (dies.in_flight() >= 4).then_some(())).await;
            drop(dies);
        };
        let (failed, ()) = tokio::join!(calls, killer);
        assert!(failed.is_empty(), "{transport:?}: {} of 400: {:?}", failed.len(), failed[0]);
    }
}

#[tokio::test]
async fn a_graceful_rolling_restart_fails_no_call_although_nobody_told_the_client() {
    let mesh = Mesh::new();
    let mut servers = [mesh.serve(SERVICE, echo()).await, mesh.serve(SERVICE, echo()).await];
    let registry = StaticRegistry::fixed(SERVICE, servers.iter().map(|s| s.local_addr()));
    let channel = mesh.channel("gateway", SERVICE, &registry);

    let over = AtomicUsize::new(0);
    let callers = async {
        let mut failed = Vec::new();
        while over.load(Ordering::Relaxed) == 0 {
            failed.extend(failed_of(50, &channel, NOT_IDEMPOTENT).await);
        }
        failed
    };
    let restarts = async {
        for _ in 0..2 {
            for server in &mut servers {
                let address = server.local_addr();
                assert_eq!(server.drain(Duration::from_secs(10)).await, 0);
                *server = mesh.serve_at(SERVICE, address, echo()).await;
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        }
        over.store(1, Ordering::Relaxed);
    };
    let (failed, ()) = tokio::join!(callers, restarts);
    assert!(failed.is_empty(), "{} failed: {:?}", failed.len(), failed[0]);
}

#[tokio::test]
async fn calls_spread_over_the_instances() {
    let mesh = Mesh::new();
    let counts: Vec<_> = (0..3).map(|_| Arc::new(AtomicUsize::new(0))).collect();
    let mut servers = Vec::new();
    for count in &counts {
        let count = Arc::clone(count);
        let app = answering(move |_: Request| {
            count.fetch_add(1, Ordering::Relaxed);
            async { reply(b"hello") }
        });
        servers.push(mesh.serve(SERVICE, app).await);
    }
    let registry = StaticRegistry::fixed(SERVICE, servers.iter().map(|s| s.local_addr()));
    let channel = mesh.channel("gateway", SERVICE, &registry);
    assert!(failed_of(300, &channel, IDEMPOTENT).await.is_empty());
    for count in counts {
        let count = count.load(Ordering::Relaxed);
        assert!(count > 50, "an instance got {count} of 300");
    }
}

#[tokio::test]
async fn each_thread_calls_over_a_connection_of_its_own() {
    let mesh = Mesh::new();
    let callers = Arc::new(Mutex::new(BTreeSet::new()));
    let seen = Arc::clone(&callers);
    let app = answering(move |request: Request| {
        let peer = request.extensions().get::<Peer>().expect("every request has its peer");
        seen.lock().unwrap().insert(peer.address);
        async { reply(b"hello") }
    });
    let server = mesh.serve(SERVICE, app).await;
    let registry = StaticRegistry::fixed(SERVICE, [server.local_addr()]);
    let channel = mesh.channel("gateway", SERVICE, &registry);

    // More threads than cores: those of other stories may ask for their numbers in between.
    let cores = std::thread::available_parallelism().unwrap().get();
    let threads = 4 * cores;
    // A connection is moved by the thread that opened it, so each stays until all are answered.
    let answered = Arc::new(tokio::sync::Barrier::new(threads));
    let threads: Vec<_> = (0..threads)
        .map(|_| {
            let (channel, answered) = (channel.clone(), Arc::clone(&answered));
            tokio::task::spawn_blocking(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.unwrap().block_on(async {
                    let answer = say(&channel, "hello", NOT_IDEMPOTENT).await;
                    answered.wait().await;
                    answer
                })
            })
        })
        .collect();
    for thread in threads {
        assert_eq!(thread.await.unwrap().unwrap().message, "hello");
    }
    assert_eq!(callers.lock().unwrap().len(), cores.min(32), "connections");
}

#[tokio::test]
async fn without_an_instance_the_call_fails_fast_and_says_when_to_come_back() {
    let mesh = Mesh::new();
    for registry in [StaticRegistry::new([]), StaticRegistry::fixed(SERVICE, [dead_address()])] {
        let channel = mesh.channel("gateway", SERVICE, &registry);
        let start = Instant::now();
        let status = say(&channel, "hello", IDEMPOTENT).await.unwrap_err();
        assert!(start.elapsed() < Duration::from_secs(2), "took {:?}", start.elapsed());
        let error = Error::from_status(&status);
        assert!(error.is(&UNAVAILABLE), "{error}");
        assert_eq!(error.message(), "echo-svc is away");
        assert_eq!(error.retry_after_hint(), Some(Duration::from_secs(1)));
    }
}

#[tokio::test]
async fn a_call_waits_a_moment_for_an_instance_that_is_just_starting() {
    let mesh = Mesh::new();
    let server = mesh.serve(SERVICE, echo()).await;
    let registry = StaticRegistry::new([]);
    let channel = mesh.channel("gateway", SERVICE, &registry);
    let arrival = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        registry.add(Instance {
            id: "1".into(),
            service: SERVICE.into(),
            address: server.local_addr().to_string(),
            ..Instance::default()
        });
    };
    let (called, ()) = tokio::join!(say(&channel, "hello", NOT_IDEMPOTENT), arrival);
    assert_eq!(called.unwrap().message, "hello");
}

#[tokio::test]
async fn an_instance_that_comes_back_is_used_again() {
    let mesh = Mesh::new();
    let address = dead_address();
    let registry = StaticRegistry::fixed(SERVICE, [address]);
    let channel = mesh.channel("gateway", SERVICE, &registry);
    for _ in 0..3 {
        assert!(say(&channel, "hello", IDEMPOTENT).await.is_err());
    }
    let _server = mesh.serve_at(SERVICE, address, echo()).await;
    let reply = say(&channel, "hello", IDEMPOTENT).await;
    assert_eq!(reply.unwrap().message, "hello", "the first call after it came back");
}

/// Two instances: the first call is answered by `bad`, whichever gets it; the calls after by echo.
async fn bad_once<F, Fut>(
    mesh: &Mesh,
    bad: F,
) -> (MeshChannel, Arc<AtomicUsize>, Vec<mainstay::kernel::server::Serving>)
where
    F: Fn() -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = axum::response::Response> + Send + 'static,
{
    let calls = Arc::new(AtomicUsize::new(0));
    let mut servers = Vec::new();
    for _ in 0..2 {
        let (calls, bad) = (Arc::clone(&calls), bad.clone());
        let app = answering(move |_: Request| {
            let (first, bad) = (calls.fetch_add(1, Ordering::Relaxed) == 0, bad.clone());
            async move { if first { bad().await } else { reply(b"hello") } }
        });
        servers.push(mesh.serve(SERVICE, app).await);
    }
    let registry = StaticRegistry::fixed(SERVICE, servers.iter().map(|s| s.local_addr()));
    (mesh.channel("gateway", SERVICE, &registry), calls, servers)
}

#[tokio::test]
async fn only_idempotent_calls_are_repeated_when_they_may_have_run() {
    let unavailable = || async { failure(Status::unavailable("not now")) };
    let breaks_off = || async {
        let body = stream::iter([
            Ok(Bytes::from_static(b"\0\0\0")),
            Err(std::io::Error::other("the process died")),
        ]);
        axum::response::Response::builder()
            .header("content-type", "application/grpc")
            .body(Body::from_stream(body))
            .unwrap()
    };
    let mesh = Mesh::new();
    for options in [IDEMPOTENT, NOT_IDEMPOTENT] {
        let expected = if options.idempotent { 2 } else { 1 };

        let (channel, calls, _servers) = bad_once(&mesh, unavailable).await;
        let outcome = say(&channel, "hello", options).await;
        assert_eq!(outcome.is_ok(), options.idempotent, "UNAVAILABLE, {options:?}");
        assert_eq!(calls.load(Ordering::Relaxed), expected, "UNAVAILABLE, {options:?}");

        let (channel, calls, _servers) = bad_once(&mesh, breaks_off).await;
        let outcome = say(&channel, "hello", options).await;
        assert_eq!(outcome.is_ok(), options.idempotent, "broken off, {options:?}");
        assert_eq!(calls.load(Ordering::Relaxed), expected, "broken off, {options:?}");
        if let Err(status) = outcome {
            assert_eq!(status.code(), Code::Unavailable);
        }
    }
}

#[tokio::test]
async fn other_errors_are_not_repeated_and_arrive_whole() {
    let mesh = Mesh::new();
    for transport in [Transport::Grpc, Transport::GrpcWeb] {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let app = answering(move |_: Request| {
            counted.fetch_add(1, Ordering::Relaxed);
            async {
                let error = Error::new(FAILED_PRECONDITION, "the plan is not in force");
                failure(error.detail("plan", "free").to_status())
            }
        });
        let server = mesh.serve(SERVICE, app).await;
        let registry = StaticRegistry::fixed(SERVICE, [server.local_addr()]);
        let settings = ChannelSettings { transport, ..ChannelSettings::default() };
        let channel = mesh.channel_with("gateway", SERVICE, &registry, &settings);
        let status = say(&channel, "hello", IDEMPOTENT).await.unwrap_err();
        let error = Error::from_status(&status);
        assert!(error.is(&FAILED_PRECONDITION), "{transport:?}: {error}");
        assert_eq!(error.details()["plan"], "free");
        assert_eq!(calls.load(Ordering::Relaxed), 1);
    }
}

#[tokio::test]
async fn the_deadline_spans_all_attempts_and_travels_along() {
    let mesh = Mesh::new();
    let timeouts = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&timeouts);
    let server = mesh
        .serve(
            SERVICE,
            answering(move |request: Request| {
                let timeout = request.headers()["grpc-timeout"].to_str().unwrap().to_owned();
                seen.lock().unwrap().push(timeout);
                std::future::pending()
            }),
        )
        .await;
    let registry = StaticRegistry::fixed(SERVICE, [server.local_addr()]);
    let channel = mesh.channel("gateway", SERVICE, &registry);

    let options = UnaryOptions { deadline: Duration::from_secs(1), idempotent: true };
    let start = Instant::now();
    let status = say(&channel, "hello", options).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    let took = start.elapsed().as_millis();
    assert!((980..5000).contains(&took), "took {took} ms");

    // The call being served has less time left than this one would take.
    let served = Call {
        request_id: "r-1".into(),
        peer: "gateway".into(),
        user: None,
        deadline: Some(Instant::now() + Duration::from_millis(500)),
    };
    let start = Instant::now();
    let status = call::scope(Arc::new(served), say(&channel, "hello", IDEMPOTENT)).await;
    assert_eq!(status.unwrap_err().code(), Code::DeadlineExceeded);
    assert!(start.elapsed() < Duration::from_secs(3), "took {:?}", start.elapsed());

    for (timeout, limit) in timeouts.lock().unwrap().iter().zip([1_000_000, 500_000]) {
        let micros: u32 = timeout.strip_suffix('u').unwrap().parse().unwrap();
        assert!(micros <= limit && micros > limit / 4, "{timeout} of {limit}u");
    }
}

#[tokio::test]
async fn the_call_being_served_is_handed_on() {
    let mesh = Mesh::new();
    let seen = Arc::new(Mutex::new(BTreeMap::new()));
    let headers = Arc::clone(&seen);
    let server = mesh
        .serve(
            SERVICE,
            answering(move |request: Request| {
                *headers.lock().unwrap() = request
                    .headers()
                    .iter()
                    .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
                    .collect();
                async { reply(b"") }
            }),
        )
        .await;
    let registry = StaticRegistry::fixed(SERVICE, [server.local_addr()]);
    let channel = mesh.channel("gateway", SERVICE, &registry);
    let user = User { id: "u-1".into(), plan: "paid".into(), session_id: Some("s-1".into()) };
    let served = Arc::new(Call {
        request_id: "r-1".into(),
        peer: "10.0.0.1".into(),
        user: Some(user),
        deadline: None,
    });
    call::scope(Arc::clone(&served), say(&channel, "", IDEMPOTENT)).await.unwrap();
    let got = seen.lock().unwrap().clone();
    for (name, value) in [
        ("x-request-id", "r-1"),
        ("x-user-id", "u-1"),
        ("x-user-plan", "paid"),
        ("x-session-id", "s-1"),
    ] {
        assert_eq!(got.get(name).map(String::as_str), Some(value), "{name}");
    }

    // Who brings a token speaks for its user and no other.
    let mut metadata = HeaderMap::new();
    metadata.insert("authorization", HeaderValue::from_static("Bearer abc"));
    let with_token = call_path(&channel, ECHO, Bytes::new(), metadata, IDEMPOTENT);
    call::scope(served, with_token).await.unwrap();
    let got = seen.lock().unwrap().clone();
    assert_eq!(got.get("authorization").map(String::as_str), Some("Bearer abc"));
    assert_eq!(got.get("x-request-id").map(String::as_str), Some("r-1"));
    assert!(!got.contains_key("x-user-id") && !got.contains_key("x-session-id"), "{got:?}");

    say(&channel, "", IDEMPOTENT).await.unwrap();
    let got = seen.lock().unwrap().clone();
    assert!(!got.contains_key("x-user-id") && !got.contains_key("x-request-id"), "{got:?}");
}

#[tokio::test]
async fn only_the_right_service_is_talked_to() {
    let mesh = Mesh::new();
    let impostor = mesh.serve("other-svc", echo()).await;
    let stranger = Mesh::new().serve(SERVICE, echo()).await;
    for server in [impostor, stranger] {
        let registry = StaticRegistry::fixed(SERVICE, [server.local_addr()]);
        let channel = mesh.channel("gateway", SERVICE, &registry);
        let status = say(&channel, "hello", IDEMPOTENT).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
    }
}

#[tokio::test]
async fn both_transports_carry_generated_clients_and_large_messages() {
    let policies = Arc::new(PolicyTable::compile(mainstay::contract::pool()).unwrap());
    let mesh = Mesh::new();
    for transport in [Transport::Grpc, Transport::GrpcWeb] {
        let first = Arc::new(AtomicUsize::new(0));
        let app = answering(move |request: Request| {
            // The first call to each method is refused: the contract says what may be repeated.
            let refused = first.fetch_add(1, Ordering::Relaxed) == 0;
            async move {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                if refused { failure(Status::unavailable("not now")) } else { reply(&body[5..]) }
            }
        });
        let server = mesh.serve(SERVICE, app).await;
        let registry = StaticRegistry::fixed(SERVICE, [server.local_addr()]);
        let settings = ChannelSettings { transport, ..ChannelSettings::default() };
        let channel = mesh
            .channel_with("gateway", SERVICE, &registry, &settings)
            .with_policies(Arc::clone(&policies));

        let mut client = UserServiceClient::new(channel.clone());
        let user = client.get_me(GetMeRequest {}).await.unwrap().into_inner();
        assert_eq!(user.id, "", "{transport:?}");

        let large = Bytes::from(vec![7; 3 * 1024 * 1024]);
        let reply = call_path(&channel, ECHO, large.clone(), HeaderMap::new(), IDEMPOTENT).await;
        assert_eq!(reply.unwrap().message, large, "{transport:?}");
    }
}

/// The reply is the request, as it comes.
fn mirror() -> Router {
    answering(|request: Request| async move {
        let body = request.into_body();
        Response::builder().header("content-type", "application/grpc").body(body).unwrap()
    })
}

#[tokio::test]
async fn a_stream_passes_both_ways_as_it_comes_and_begins_where_somebody_is() {
    let mesh = Mesh::new();
    let server = mesh.serve(SERVICE, mirror()).await;
    let registry = StaticRegistry::fixed(SERVICE, [dead_address(), server.local_addr()]);
    let channel = mesh.channel("gateway", SERVICE, &registry);
    let path = PathAndQuery::from_static(ECHO);
    for _ in 0..20 {
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let say = async |text: &str| {
            let frame = Frame::data(framed(text.as_bytes()));
            sender.send(Ok::<_, Status>(frame)).await.unwrap();
        };
        let body = StreamBody::new(tokio_stream::wrappers::ReceiverStream::new(receiver));
        let body = tonic::body::Body::new(body);
        say("one").await;
        let reply = channel.stream(&path, body, HeaderMap::new(), Duration::from_secs(5)).await;
        let mut reply = reply.unwrap().body;
        let mut next = async || reply.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(next().await, framed(b"one"));
        say("two").await;
        assert_eq!(next().await, framed(b"two"), "each when it is said");
    }
}

#[tokio::test]
async fn a_stream_that_is_refused_is_a_status() {
    let mesh = Mesh::new();
    let refusing = answering(|_| async { failure(Status::not_found("no such stream")) });
    let server = mesh.serve(SERVICE, refusing).await;
    let registry = StaticRegistry::fixed(SERVICE, [server.local_addr()]);
    let channel = mesh.channel("gateway", SERVICE, &registry);
    let body = tonic::body::Body::new(Full::new(framed(b"hello")));
    let path = PathAndQuery::from_static(ECHO);
    let reply = channel.stream(&path, body, HeaderMap::new(), Duration::from_secs(5)).await;
    assert_eq!(reply.unwrap_err().code(), Code::NotFound);
}
