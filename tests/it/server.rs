//! How a listener takes connections, and how it ends whatever its clients do.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mainstay::kernel::server::{Listener, Peer, Serving};
use mainstay::kernel::settings::ServerLimits;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::mesh::{Mesh, eventually, free_port};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const EMPTY_SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// `/now` answers at once, `/late` after half a second, `/slow` meanwhile in two parts, `/never` not
/// at all.
fn app() -> Router {
    let slow = || async {
        let parts = futures::stream::unfold(0, |part| async move {
            tokio::time::sleep(Duration::from_millis(250)).await;
            (part < 2).then(|| (Ok::<_, std::io::Error>(format!("part {part} ")), part + 1))
        });
        axum::body::Body::from_stream(parts)
    };
    let late = || async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        "late"
    };
    Router::new()
        .route("/now", get(|| async { "now" }))
        .route("/late", get(late))
        .route("/slow", get(slow))
        .route("/never", get(std::future::pending::<()>))
        .route(
            "/peer",
            get(|axum::Extension(peer): axum::Extension<Peer>| async move {
                peer.identity.map(|identity| identity.to_string()).unwrap_or_default()
            }),
        )
}

async fn plain(limits: ServerLimits) -> Serving {
    Listener::bind(free_port(), None, &limits).await.unwrap().serve(app())
}

async fn connect(server: &Serving) -> TcpStream {
    TcpStream::connect(server.local_addr()).await.unwrap()
}

async fn sent(server: &Serving, bytes: &[u8]) -> TcpStream {
    let mut stream = connect(server).await;
    stream.write_all(bytes).await.unwrap();
    stream
}

async fn answer(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    tokio::time::timeout(Duration::from_secs(15), read).await.expect("the server closes").ok();
    String::from_utf8_lossy(&answer).into_owned()
}

/// Ends when the other side has closed.
async fn closed(stream: &mut (impl AsyncRead + Unpin)) {
    answer(stream).await;
}

async fn tls(
    mesh: &Mesh,
    server: &Serving,
    alpn: &[u8],
) -> tokio_rustls::client::TlsStream<TcpStream> {
    let mut config = mesh.identity("gateway").client_config();
    config.alpn_protocols = vec![alpn.to_vec()];
    let name = ServerName::try_from("test-svc").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, connect(server).await).await.unwrap()
}

#[tokio::test]
async fn clients_that_are_silent_do_not_hold_up_the_end() {
    let kinds: [(&str, &[u8]); 6] = [
        ("idle TCP", b""),
        ("half a preface", &PREFACE[..10]),
        ("preface only", PREFACE),
        ("silent HTTP/2", &[PREFACE, EMPTY_SETTINGS].concat()),
        ("half-sent request line", b"GET /no"),
        ("half-sent headers", b"GET /now HTTP/1.1\r\nhost: a\r\nx-more"),
    ];
    for (kind, bytes) in kinds {
        let server = plain(ServerLimits::default()).await;
        let mut stream = sent(&server, bytes).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        ends_soon(&server, kind).await;
        closed(&mut stream).await;
    }

    let server = plain(ServerLimits::default()).await;
    let mut kept_alive = sent(&server, b"GET /now HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut first = [0; 15];
    kept_alive.read_exact(&mut first).await.unwrap();
    ends_soon(&server, "kept-alive HTTP/1.1").await;
}

#[tokio::test]
async fn silent_clients_do_not_hold_up_the_end_under_tls() {
    let mesh = Mesh::new();
    let server = mesh.serve("test-svc", app()).await;
    let _idle = connect(&server).await;
    let _handshaken = tls(&mesh, &server, b"h2").await;
    let mut preface = tls(&mesh, &server, b"h2").await;
    preface.write_all(PREFACE).await.unwrap();
    preface.flush().await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    ends_soon(&server, "silent clients under TLS").await;
}

async fn ends_soon(server: &Serving, kind: &str) {
    let start = Instant::now();
    let cut_off = server.drain(Duration::from_secs(20)).await;
    assert_eq!(cut_off, 0, "{kind}");
    assert!(start.elapsed() < Duration::from_secs(3), "{kind}: took {:?}", start.elapsed());
    let refused = TcpStream::connect(server.local_addr()).await;
    assert!(refused.is_err(), "{kind}: still accepts");
}

#[tokio::test]
async fn what_is_in_flight_is_finished_to_the_last_byte() {
    let server = plain(ServerLimits::default()).await;
    let mut http1 = sent(&server, b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut late = sent(&server, b"GET /late HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let (mut http2, connection) = hyper::client::conn::http2::handshake(
        TokioExecutor::new(),
        TokioIo::new(connect(&server).await),
    )
    .await
    .unwrap();
    tokio::spawn(connection);
    let request = Request::get("http://a/slow").body(Empty::<bytes::Bytes>::new()).unwrap();
    let http2_reply = tokio::spawn(async move {
        let response = http2.send_request(request).await.unwrap();
        response.into_body().collect().await.unwrap().to_bytes()
    });
    eventually(async || (server.in_flight() == 3).then_some(())).await;

    assert_eq!(server.drain(Duration::from_secs(10)).await, 0);
    let http1_reply = answer(&mut http1).await;
    assert!(http1_reply.contains("part 1"), "{http1_reply}");
    assert!(http1_reply.ends_with("0\r\n\r\n"), "the reply is complete: {http1_reply}");
    assert_eq!(http2_reply.await.unwrap(), "part 0 part 1 ");
    let late_reply = answer(&mut late).await;
    assert!(late_reply.to_lowercase().contains("connection: close"), "{late_reply}");
    assert!(late_reply.ends_with("late"), "{late_reply}");
}

/// How often a connection that was established got no reply, of a client that connects again and again until
/// it is refused.
fn unanswered(address: SocketAddr) -> usize {
    let mut unanswered = 0;
    // Who is not heard when the listener closes is tried again by the system a second later.
    while let Ok(mut stream) =
        std::net::TcpStream::connect_timeout(&address, Duration::from_millis(50))
    {
        let connected = Instant::now();
        let written =
            stream.write_all(b"GET /now HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        // A client may take its time, but not for ever.
        let was_prompt = connected.elapsed() < Duration::from_millis(100);
        let mut reply = String::new();
        let read = written.and_then(|()| stream.read_to_string(&mut reply));
        unanswered += usize::from(was_prompt && !(read.is_ok() && reply.ends_with("now")));
    }
    unanswered
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_connects_while_a_listener_closes_is_answered_or_refused() {
    for round in 0..60 {
        let server = plain(ServerLimits::default()).await;
        let address = server.local_addr();
        let clients: Vec<_> =
            (0..4).map(|_| tokio::task::spawn_blocking(move || unanswered(address))).collect();
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(server.drain(Duration::from_secs(10)).await, 0, "{round}");
        for client in clients {
            assert_eq!(client.await.unwrap(), 0, "{round}");
        }
    }
}

#[tokio::test]
async fn the_deadline_is_hard() {
    let server = plain(ServerLimits::default()).await;
    let mut never = sent(&server, b"GET /never HTTP/1.1\r\nhost: a\r\n\r\n").await;
    eventually(async || (server.in_flight() == 1).then_some(())).await;
    let start = Instant::now();
    assert_eq!(server.drain(Duration::from_millis(300)).await, 1, "one request was cut off");
    assert!(start.elapsed() < Duration::from_secs(2), "took {:?}", start.elapsed());
    closed(&mut never).await;
    assert_eq!(server.in_flight(), 0);
}

#[tokio::test]
async fn slow_and_oversized_headers_are_refused() {
    let limits = ServerLimits {
        header_read_timeout: Duration::from_millis(300),
        max_header_bytes: 8192,
        ..ServerLimits::default()
    };
    let server = plain(limits).await;
    for bytes in [&b""[..], b"GET", PREFACE, b"GET /now HTTP/1.1\r\nhost: a\r\n"] {
        let start = Instant::now();
        closed(&mut sent(&server, bytes).await).await;
        assert!(start.elapsed() < Duration::from_secs(5), "{bytes:?}: {:?}", start.elapsed());
    }
    let large = format!("GET /now HTTP/1.1\r\nhost: a\r\nx-large: {}\r\n\r\n", "a".repeat(20_000));
    let reply = answer(&mut sent(&server, large.as_bytes()).await).await;
    assert!(reply.starts_with("HTTP/1.1 431"), "{reply}");
}

#[tokio::test]
async fn connections_beyond_the_limit_wait() {
    let limits = ServerLimits { max_connections: 1, ..ServerLimits::default() };
    let server = plain(limits).await;
    let mut first = sent(&server, b"GET /now HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut byte = [0];
    first.read_exact(&mut byte).await.unwrap();
    let request = b"GET /now HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let mut second = sent(&server, request).await;
    let waited =
        tokio::time::timeout(Duration::from_millis(200), second.read_exact(&mut byte)).await;
    assert!(waited.is_err(), "served beyond the limit");
    drop(first);
    assert!(answer(&mut second).await.ends_with("now"));
}

#[tokio::test]
async fn a_member_is_known_by_its_certificate_and_a_stranger_gets_nowhere() {
    let mesh = Mesh::new();
    let server = mesh.serve("test-svc", app()).await;
    let request = b"GET /peer HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let mut member = tls(&mesh, &server, b"http/1.1").await;
    member.write_all(request).await.unwrap();
    assert!(answer(&mut member).await.ends_with("gateway"));

    let name = || ServerName::try_from("test-svc").unwrap();
    let mut roots = rustls::RootCertStore::empty();
    let authority = std::fs::read(mesh.settings("gateway").ca_file.unwrap()).unwrap();
    let authority = rustls::pki_types::pem::PemObject::from_pem_slice(&authority).unwrap();
    roots.add(authority).unwrap();
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let without = rustls::ClientConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = connect(&server).await;
    if let Ok(mut stranger) = TlsConnector::from(Arc::new(without)).connect(name(), stream).await {
        // Under TLS 1.3 the client learns of the refusal with its first read.
        let _ = stranger.write_all(request).await;
        assert_eq!(answer(&mut stranger).await, "");
    }
    let mut plaintext = sent(&server, request).await;
    let reply = answer(&mut plaintext).await;
    assert!(!reply.contains("HTTP/1.1 200"), "{reply}");
}

#[tokio::test]
async fn certificates_that_do_not_fit_are_named() {
    let mesh = Mesh::new();
    let settings = mesh.settings("a-svc");
    let other = mesh.settings("b-svc");
    let missing = Some(std::path::PathBuf::from("/nowhere/ca.pem"));
    let key = settings.key_file.clone();
    let cases = [
        ("/nowhere/ca.pem", {
            let mut s = settings.clone();
            s.ca_file = missing;
            s
        }),
        ("tls.cert_file", {
            let mut s = settings.clone();
            s.cert_file = None;
            s
        }),
        ("a-svc.key", {
            let mut s = settings.clone();
            s.cert_file = key;
            s
        }),
        ("b-svc.pem", {
            let mut s = settings.clone();
            s.key_file = other.cert_file.clone();
            s
        }),
        ("a-svc.pem", {
            let mut s = settings.clone();
            s.key_file = other.key_file;
            s
        }),
    ];
    for (named, settings) in cases {
        let error = mainstay::kernel::tls::MeshIdentity::load(&settings).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains(named), "{named} in {text}");
        assert!(text.contains("cargo xtask up"), "the mend in {text}");
    }
    let identity = mainstay::kernel::tls::MeshIdentity::load(&settings).unwrap().unwrap();
    assert_eq!(identity.name(), "a-svc");
}
