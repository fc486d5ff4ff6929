//! Requests that two servers could read in two ways, byte by byte as they come.

use std::time::Duration;

use bytes::Bytes;
use gateway::GatewaySettings;
use http::Request;
use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::World;

const BOOK: &str = "GET /api/v1/books/b1 HTTP/1.1\r\nhost: localhost\r\n\r\n";
const PREFLIGHT: &str = "origin: https://app.example.com\r\naccess-control-request-method: GET\r\n";

/// What comes back until the gateway closes the connection.
async fn answered(world: &World, sent: &str) -> String {
    let mut connection = TcpStream::connect(world.gateway.local_addr()).await.unwrap();
    connection.write_all(sent.as_bytes()).await.unwrap();
    let mut reply = String::new();
    let read = connection.read_to_string(&mut reply);
    let read = tokio::time::timeout(Duration::from_secs(10), read).await;
    read.unwrap_or_else(|_| panic!("the connection stays open after {sent}")).unwrap();
    reply
}

fn statuses(reply: &str) -> Vec<&str> {
    reply.split("HTTP/1.1 ").skip(1).map(|reply| &reply[..3]).collect()
}

/// A request with these headers, and what a server might take for another one behind it.
fn smuggling(headers: &str) -> String {
    let head =
        "POST /api/v1/echo HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    format!("{head}{headers}\r\n\r\n0\r\n\r\n{BOOK}")
}

#[tokio::test]
async fn who_states_two_lengths_is_refused_and_nothing_behind_is_read() {
    let world = World::new().await;
    for headers in [
        "content-length: 5\r\ntransfer-encoding: chunked",
        "Transfer-Encoding: chunked\r\nx: y\r\nContent-Length: 5",
        "content-length: 5\r\ncontent-length: 6",
        "transfer-encoding: identity",
        "transfer-encoding: chunked, chunked",
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
    ] {
        let (first, later) = (smuggling(headers), BOOK.to_owned() + &smuggling(headers));
        assert_eq!(statuses(&answered(&world, &first).await), ["400"], "{headers}");
        assert_eq!(statuses(&answered(&world, &later).await), ["200", "400"], "{headers}");
    }
    let last = BOOK.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
    let sound = smuggling("transfer-encoding: Chunked")
        .replace("\r\n\r\n0\r\n", "\r\n\r\n2\r\n{}\r\n0\r\ncontent-length: 5\r\n");
    assert_eq!(statuses(&answered(&world, &(sound + &last)).await), ["200", "200", "200"]);
}

#[tokio::test]
async fn who_names_no_host_or_several_is_refused_wherever_it_goes() {
    let world = World::new().await;
    let hosts = [
        "",
        "host: localhost\r\nhost: localhost\r\n",
        "host:\r\n",
        "host: user@localhost\r\n",
        "host: localhost, localhost\r\n",
        "host: local host\r\n",
        "host: localhost/docs\r\n",
        "host: localhost:http\r\n",
        "host: localhost:65536\r\n",
        "host: ::1\r\n",
    ];
    let requests = [
        ("GET", "/docs", ""),
        ("GET", "/openapi.json", ""),
        ("GET", "/api/v1/books/b1", ""),
        ("GET", "/nothing", ""),
        ("OPTIONS", "/api/v1/books/b1", PREFLIGHT),
    ];
    for (method, path, headers) in requests {
        for host in hosts {
            let sent = format!("{method} {path} HTTP/1.1\r\n{host}{headers}\r\n");
            let reply = answered(&world, &sent).await;
            assert_eq!(statuses(&reply), ["400"], "{sent}");
            assert!(reply.contains("INVALID_ARGUMENT"), "{reply}");
            assert!(reply.contains("\r\nconnection: close\r\n"), "{reply}");
        }
    }
    for (method, path, headers) in requests {
        let long = "x".repeat(9000);
        let sent = format!("{method} {path}?{long} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n");
        assert_eq!(statuses(&answered(&world, &sent).await), ["414"], "{method} {path}");
    }
    let absolute = "GET http://user@localhost/docs HTTP/1.1\r\nhost: localhost\r\n\r\n";
    assert_eq!(statuses(&answered(&world, absolute).await), ["400"]);
    for host in ["localhost", "[::1]:8080", "API.example.com:", "10.0.0.1:80"] {
        let sent = format!("GET /docs HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        assert_eq!(statuses(&answered(&world, &sent).await), ["200"], "{host}");
    }
}

#[tokio::test]
async fn over_http_2_the_host_is_the_one_of_the_address() {
    let world = World::new().await;
    let address = world.gateway.local_addr();
    let tcp = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), tcp).await.unwrap();
    tokio::spawn(connection);
    let rows = [
        ("localhost", "", 200),
        ("localhost", "LOCALHOST", 200),
        ("localhost", "elsewhere", 400),
        ("localhost:80", "localhost:81", 400),
        ("user@localhost", "", 400),
    ];
    for (authority, host, status) in rows {
        let mut request = Request::get(format!("http://{authority}/api/v1/books/b1"));
        if !host.is_empty() {
            request = request.header("host", host);
        }
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let reply = sender.send_request(request).await.unwrap();
        assert_eq!(reply.status(), status, "{authority} {host}");
    }
}

/// A request whose body comes a while after its head.
async fn in_two(world: &World, headers: &str, pause: Duration) -> String {
    let mut connection = TcpStream::connect(world.gateway.local_addr()).await.unwrap();
    let head = format!(
        "POST /api/v1/echo HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: 2\r\n{headers}\r\n"
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(pause).await;
    connection.write_all(b"{}").await.unwrap();
    let mut reply = String::new();
    connection.read_to_string(&mut reply).await.unwrap();
    reply
}

#[tokio::test]
async fn the_time_that_a_body_took_is_no_longer_the_services() {
    let world = World::new().await;
    let waited = Duration::from_millis(600);
    let reply = in_two(&world, "x-request-timeout: 2\r\n", waited).await;
    assert_eq!(statuses(&reply), ["200"]);
    let left = world.calls.lock().unwrap()[0].metadata["grpc-timeout"].clone();
    let left: u64 = left.to_str().unwrap().trim_end_matches('u').parse().unwrap();
    // The head may have been read a moment after it was sent.
    assert!(Duration::from_micros(left) < Duration::from_secs(2) - waited / 2, "{left} us");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    let patience = Duration::from_millis(200);
    let settings = GatewaySettings { body_timeout: patience, ..GatewaySettings::default() };
    let world = World::with(settings).await;
    let head = "POST /api/v1/echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\n{";
    let reply = answered(&world, head).await;
    assert_eq!(statuses(&reply), ["408"], "{reply}");
    assert!(reply.contains("REQUEST_TIMEOUT"), "{reply}");
}
