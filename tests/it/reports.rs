//! What is logged as an error is reported to a receiver that speaks Sentry's protocol.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use http::{HeaderMap, StatusCode};
use mainstay_testing::{Platform, eventually};
use serde_json::Value;

const GATEWAY: &str = "gateway";

/// A receiver that remembers what it was sent. It ends with the test's runtime.
struct Receiver {
    address: SocketAddr,
    received: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Receiver {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (address, received) = (listener.local_addr().unwrap(), Arc::default());
        let memory: Arc<Mutex<Vec<(String, Value)>>> = Arc::clone(&received);
        let take = async move |headers: HeaderMap, body: Bytes| {
            let auth = headers["x-sentry-auth"].to_str().unwrap().to_owned();
            let text = String::from_utf8(body.to_vec()).unwrap();
            let lines: Vec<&str> = text.lines().collect();
            let item: Value = serde_json::from_str(lines[1]).unwrap();
            assert_eq!(item["length"], lines[2].len(), "{text}");
            memory.lock().unwrap().push((auth, serde_json::from_str(lines[2]).unwrap()));
            StatusCode::OK
        };
        let app = Router::new().route("/api/7/envelope/", post(take));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, received }
    }

    fn received(&self) -> Vec<(String, Value)> {
        self.received.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn an_error_is_reported_once_in_a_while_and_names_nobody() {
    let receiver = Receiver::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.toml");
    write(&file, "ip_burst = 100");
    let dsn = format!("http://public-key@{}/7", receiver.address);
    let variables = [
        ("MAINSTAY_SETTINGS", file.to_str().unwrap()),
        ("MAINSTAY_TELEMETRY__REPORTER__DSN", &dsn),
        ("MAINSTAY_TELEMETRY__REPORTER__ENVIRONMENT", "staging"),
    ];
    let mut platform = Platform::start_services(&[GATEWAY], &variables).await;
    // What a process says at its start is no error.
    assert!(receiver.received().is_empty(), "{:?}", receiver.received());

    write(&file, "ip_burst = \"ada@mail.test\"");
    let (auth, event) = eventually("a report", async || receiver.received().pop()).await;
    assert!(auth.contains("sentry_version=7") && auth.contains("sentry_key=public-key"), "{auth}");
    let rows = [
        ("/level", "error"),
        ("/environment", "staging"),
        ("/exception/values/0/type", "system"),
        ("/tags/service", GATEWAY),
        ("/logger", "mainstay::kernel::lifecycle::reload"),
    ];
    for (pointer, expected) in rows {
        let found = event.pointer(pointer).and_then(Value::as_str);
        assert_eq!(found, Some(expected), "{pointer} of {event}");
    }
    let value = event.pointer("/exception/values/0/value").and_then(Value::as_str).unwrap();
    assert!(value.contains("the settings file is refused"), "{value}");
    assert!(value.contains("ip_burst") && value.contains("[redacted]"), "{value}");
    assert!(!event.to_string().contains("ada@"), "{event}");
    assert!(!platform.logs(GATEWAY).contains("public-key"), "the DSN is a secret");

    // The same again, soon after: it is logged, and not reported.
    write(&file, "ip_burst = \"no number\"");
    eventually("the second refusal in the log", async || {
        (platform.logs(GATEWAY).matches("the settings file is refused").count() == 2).then_some(())
    })
    .await;
    platform.stop(GATEWAY).await;
    assert_eq!(receiver.received().len(), 1, "{:?}", receiver.received());
}

#[tokio::test]
async fn a_receiver_that_is_away_costs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.toml");
    write(&file, "ip_burst = 100");
    let variables = [
        ("MAINSTAY_SETTINGS", file.to_str().unwrap()),
        ("MAINSTAY_TELEMETRY__REPORTER__DSN", "http://public-key@127.0.0.1:9/7"),
    ];
    let mut platform = Platform::start_services(&[GATEWAY], &variables).await;
    write(&file, "ip_burst = \"no number\"");
    eventually("the loss in the log", async || {
        platform.logs(GATEWAY).contains("an error report is lost").then_some(())
    })
    .await;
    platform.rest().get("/openapi.json").await.expect(200);
    platform.stop(GATEWAY).await;
}

fn write(file: &Path, setting: &str) {
    std::fs::write(file, format!("[gateway]\n{setting}\n")).unwrap();
}
