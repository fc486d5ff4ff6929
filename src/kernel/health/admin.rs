//! The admin port: plain HTTP, for those who run the process.

mod guard;
mod level;
mod profile;

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router, middleware};
use http::{StatusCode, header};
use serde_json::json;
use tokio::runtime::Handle;

use super::Readiness;
use crate::kernel::telemetry::{Metrics, metrics};

/// The most calls that are listed.
const MOST_CALLS: usize = 200;

/// What the admin port shows of a process.
#[derive(Clone)]
pub struct Admin {
    /// Whether it may take traffic.
    pub readiness: Readiness,
    /// What it measures, and the calls that it answers.
    pub metrics: Metrics,
    /// The settings that hold, as TOML, secrets redacted.
    pub settings: Arc<dyn Fn() -> String + Send + Sync>,
    /// What works in the background: names, and whether each still does.
    pub workers: Arc<dyn Fn() -> Vec<(String, bool)> + Send + Sync>,
    /// The runtimes of cores, if it has any beside that which answers here.
    pub cores: Vec<Handle>,
}

/// `/healthz`, `/readyz`, `/metrics` and what is below `/admin/`, with the pages of the service's own.
pub fn admin_app(admin: Admin, own: Router) -> Router {
    let Admin { readiness, metrics, .. } = admin.clone();
    Router::new()
        .route("/healthz", get(|| async { Json(json!({ "status": "alive" })) }))
        .route("/readyz", get(ready).with_state(readiness))
        .route("/metrics", get(page).with_state(metrics))
        .route("/admin/settings", get(settings).with_state(admin.clone()))
        .route("/admin/log-level", level::route())
        .route("/admin/profile", get(profile::take))
        .route("/admin/tasks", get(tasks).with_state(admin))
        .merge(own)
        .layer(middleware::from_fn(guard::refuse_pages))
}

async fn ready(State(readiness): State<Readiness>) -> Response {
    let reasons = readiness.reasons().await;
    if reasons.is_empty() {
        let reasons = readiness.degradations().await;
        let status = if reasons.is_empty() { "ready" } else { "degraded" };
        return Json(json!({ "status": status, "reasons": reasons })).into_response();
    }
    let body = Json(json!({ "status": "not ready", "reasons": reasons }));
    (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
}

async fn page(State(metrics): State<Metrics>) -> Response {
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics.render()).into_response()
}

async fn settings(State(admin): State<Admin>) -> Response {
    ([(header::CONTENT_TYPE, "application/toml")], (admin.settings)()).into_response()
}

/// What the process is doing: the calls in flight, what works in the background, and the runtimes: that of the
/// process, then those of cores.
async fn tasks(State(admin): State<Admin>) -> Response {
    let (total, oldest) = admin.metrics.calls_in_flight().oldest(MOST_CALLS);
    let calls = oldest.into_iter().map(|call| {
        let age_seconds = call.age.as_secs_f64();
        json!({ "method": call.method, "request_id": call.request_id, "age_seconds": age_seconds })
    });
    let workers = (admin.workers)().into_iter().map(
        |(name, alive)| json!({ "name": name, "state": if alive { "running" } else { "died" } }),
    );
    let own = Handle::current();
    let runtimes = std::iter::once(&own).chain(&admin.cores).map(|runtime| {
        let metrics = runtime.metrics();
        json!({
            "threads": metrics.num_workers(),
            "tasks": metrics.num_alive_tasks(),
            "waiting_for_a_thread": metrics.global_queue_depth(),
        })
    });
    Json(json!({
        "calls_in_flight": total,
        "oldest_calls": calls.collect::<Vec<_>>(),
        "workers": workers.collect::<Vec<_>>(),
        "runtimes": runtimes.collect::<Vec<_>>(),
    }))
    .into_response()
}

/// A refusal that names what is wrong with which part of the request.
fn refusal(status: StatusCode, field: &str, reason: &str) -> Response {
    (status, Json(json!({ "error": { "field": field, "reason": reason } }))).into_response()
}
