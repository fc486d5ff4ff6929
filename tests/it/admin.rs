//! What operators ask of real processes on the admin port.

use bytes::Bytes;
use http::Method;
use mainstay::contract::auth;
use mainstay_testing::{Platform, Reply, Rest, eventually};
use serde_json::{Value, json};

const GATEWAY: &str = "gateway";

const LEVEL: &str = "/admin/log-level";

/// In no settings by default, and in no reply.
const CANARY: &str = "canary-cursor-key-0123456789abcdef-0123456789abcdef";

#[tokio::test]
async fn settings_are_shown_without_secrets_and_only_here() {
    let variables = [
        ("MAINSTAY_GATEWAY__CURSOR_KEY", CANARY),
        ("MAINSTAY_TELEMETRY__OTLP_ENDPOINT", "http://canary-user:canary-word@127.0.0.1:9"),
    ];
    let platform = Platform::start_services(&[GATEWAY], &variables).await;
    let shown = platform.admin_port(GATEWAY).get("/admin/settings").await;
    assert_eq!(shown.status, 200);
    let text = shown.text();
    assert!(text.contains("cursor_key = \"[redacted]\""), "{text}");
    assert!(text.contains("otlp_endpoint = \"http://redacted@127.0.0.1:9/\""), "{text}");
    assert!(!text.contains("canary"), "{text}");
    for path in ["/admin/settings", LEVEL, "/admin/tasks", "/admin/profile", "/metrics"] {
        assert_eq!(platform.rest().get(path).await.status, 404, "{path} on the public port");
    }
}

#[tokio::test]
async fn the_log_level_of_a_target_changes_and_falls_back() {
    let platform = Platform::start_services(&[auth::SERVICE, GATEWAY], &[]).await;
    let admin = platform.admin_port(auth::SERVICE);
    let before = admin.get(LEVEL).await.json();
    assert_eq!(before["change"], Value::Null, "{before}");
    let debug = || platform.logs(auth::SERVICE).matches("\"level\":\"trace\"").count();
    assert_eq!(debug(), 0);

    let change = json!({ "filter": "h2=trace,tower=trace,hyper=trace" });
    let changed = put(&admin, &change, &[]).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    assert_eq!(changed.json()["change"], change["filter"]);
    eventually("records of the target", async || {
        platform.rest().get("/.well-known/openid-configuration").await;
        (debug() > 0).then_some(())
    })
    .await;
    assert_eq!(admin.delete(LEVEL).await.json()["change"], Value::Null);
    let settled = debug();
    platform.rest().get("/.well-known/openid-configuration").await;
    assert_eq!(debug(), settled, "the settings hold again");

    put(&admin, &json!({ "filter": "h2=trace", "for": "1s" }), &[]).await;
    assert_eq!(admin.get(LEVEL).await.json()["falls_back_in_seconds"], 1);
    eventually("the end of the change", async || {
        admin.get(LEVEL).await.json()["change"].is_null().then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_done_names_the_field_and_pages_are_refused() {
    let platform = Platform::start_services(&[GATEWAY], &[]).await;
    let admin = platform.admin_port(GATEWAY);
    let rows = [
        (json!([]), "body"),
        (json!({}), "filter"),
        (json!({ "filter": 7 }), "filter"),
        (json!({ "filter": " " }), "filter"),
        (json!({ "filter": "x".repeat(1001) }), "filter"),
        (json!({ "filter": "gateway=loud" }), "filter"),
        (json!({ "filter": "info", "for": "soon" }), "for"),
        (json!({ "filter": "info", "for": "2days" }), "for"),
        (json!({ "filter": "info", "for": 10 }), "for"),
        (json!({ "filter": "info", "fore": "10m" }), "fore"),
    ];
    for (body, field) in rows {
        let reply = put(&admin, &body, &[]).await;
        assert_eq!(
            (reply.status, reply.json()["error"]["field"].as_str()),
            (400, Some(field)),
            "{body}"
        );
    }
    for (query, field) in [
        ("seconds=0", "seconds"),
        ("seconds=61", "seconds"),
        ("seconds=a", "seconds"),
        ("sec=1", "sec"),
    ] {
        let reply = admin.get(&format!("/admin/profile?{query}")).await;
        assert_eq!(
            (reply.status, reply.json()["error"]["field"].as_str()),
            (400, Some(field)),
            "{query}"
        );
    }
    let sound = json!({ "filter": "info,gateway=debug" });
    for header in [("origin", "http://127.0.0.1:18080"), ("sec-fetch-site", "same-origin")] {
        assert_eq!(put(&admin, &sound, &[header]).await.status, 403, "{header:?}");
        let read = admin.send(Method::GET, "/admin/routes", &[header], Bytes::new()).await;
        assert_eq!(read.status, 403, "{header:?}");
        let probe = admin.send(Method::GET, "/healthz", &[header], Bytes::new()).await;
        assert_eq!(probe.status, 200, "{header:?}");
    }
    assert_eq!(admin.get(LEVEL).await.json()["change"], Value::Null, "nothing has changed");
}

#[tokio::test]
async fn a_profile_is_taken_once_at_a_time_and_tasks_tell_what_is_under_way() {
    let platform = Platform::start_services(&[auth::SERVICE, GATEWAY], &[]).await;
    let admin = platform.admin_port(auth::SERVICE);
    let (first, second) = tokio::join!(admin.get("/admin/profile?seconds=2"), async {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        admin.get("/admin/profile?seconds=1").await
    },);
    assert_eq!((first.status, second.status), (200, 409));
    assert!(first.body.starts_with(&[0x1f, 0x8b]), "gzip");

    let logins = (0..40).map(|number| {
        let rest = platform.rest();
        let login = json!({ "email": format!("nobody-{number}@mainstay.test"), "password": "a wrong password" });
        tokio::spawn(async move { rest.post("/api/v1/auth/login", login).await.status })
    });
    let logins: Vec<_> = logins.collect();
    for service in [auth::SERVICE, GATEWAY] {
        // Beside logins the gateway asks for ended sessions, twice a second.
        let is_login = |call: &&Value| call["method"] == "mainstay.auth.v1.AuthService/Login";
        let (tasks, call) = eventually(&format!("a login under way in {service}"), async || {
            let tasks = platform.admin_port(service).get("/admin/tasks").await.json();
            let call = tasks["oldest_calls"].as_array()?.iter().find(is_login).cloned()?;
            Some((tasks, call))
        })
        .await;
        assert_ne!(tasks["calls_in_flight"], 0, "{tasks}");
        assert!(call["request_id"].as_str().is_some_and(|id| id.len() == 36), "{tasks}");
        let runtimes = tasks["runtimes"].as_array().unwrap();
        assert!(runtimes.iter().all(|runtime| runtime["threads"].as_u64() > Some(0)), "{tasks}");
        let cores = std::thread::available_parallelism().unwrap().get();
        let expected = if service == GATEWAY { 1 + cores } else { 1 };
        assert_eq!(runtimes.len(), expected, "{tasks}");
        assert!(!tasks.to_string().contains("nobody-"), "{tasks}");
    }
    for login in logins {
        login.await.unwrap();
    }
    let tasks = eventually("no call under way", async || {
        let tasks = admin.get("/admin/tasks").await.json();
        (tasks["calls_in_flight"] == 0).then_some(tasks)
    })
    .await;
    let running = |name: &str| json!({ "name": name, "state": "running" });
    let workers = tasks["workers"].as_array().unwrap();
    assert!(workers.contains(&running("relay")) && workers.contains(&running("jobs")), "{tasks}");
}

async fn put(admin: &Rest, body: &Value, headers: &[(&str, &str)]) -> Reply {
    admin.send(Method::PUT, LEVEL, headers, Bytes::from(body.to_string())).await
}
