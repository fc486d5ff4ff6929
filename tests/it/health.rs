//! The admin port.

use std::sync::Arc;

use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use mainstay::kernel::health::{Admin, Readiness, admin_app};
use mainstay::kernel::server::Listener;
use mainstay::kernel::settings::ServerLimits;
use mainstay::kernel::telemetry::Metrics;

use crate::mesh::free_port;

#[tokio::test]
async fn the_admin_port_tells_life_readiness_and_metrics() {
    let readiness = Readiness::default();
    let admin = Admin {
        readiness: readiness.clone(),
        metrics: Metrics::new("test-svc", "1.2.3"),
        settings: Arc::new(|| "mode = \"development\"\n".to_owned()),
        workers: Arc::new(|| vec![("relay".to_owned(), true), ("jobs".to_owned(), false)]),
        cores: Vec::new(),
    };
    let app = admin_app(admin, axum::Router::new());
    let listener = Listener::bind(free_port(), None, &ServerLimits::default()).await.unwrap();
    let server = listener.serve(app);
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<bytes::Bytes>>();
    let get = async |path: &str| {
        let uri = format!("http://{}{path}", server.local_addr()).parse().unwrap();
        let response = client.get(uri).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    };

    assert_eq!(get("/healthz").await.0, 200);
    let (status, body) = get("/readyz").await;
    assert_eq!(status, 503);
    assert!(body.contains("the process is starting"), "{body}");

    readiness.set_ready();
    assert_eq!(get("/readyz").await.0, 200);

    readiness.add("database", || async { Err("it is away".to_owned()) });
    let (status, body) = get("/readyz").await;
    assert_eq!(status, 503);
    assert!(body.contains(r#"{"name":"database","reason":"it is away"}"#), "{body}");
    assert_eq!(get("/healthz").await.0, 200, "an unready process lives");

    let (status, body) = get("/metrics").await;
    assert_eq!(status, 200);
    assert!(body.contains("test-svc"), "{body}");
    assert_eq!(get("/nothing").await.0, 404);
    assert_eq!(get("/admin/settings").await.1, "mode = \"development\"\n");
    let (_, tasks) = get("/admin/tasks").await;
    assert!(tasks.contains(r#"{"name":"jobs","state":"died"}"#), "{tasks}");
}
