//! The questions that the page asks, answered as JSON.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router, middleware};
use serde::{Deserialize, Serialize};

use super::ids::TraceId;
use super::measure::Measured;
use super::memory::{LineFilter, Memory, TraceFilter};
use super::{guard, page};
use crate::mesh::SERVICES;

/// What the answers are made of.
#[derive(Clone)]
struct Known {
    memory: Arc<Memory>,
    measured: Arc<Measured>,
}

/// The version of what whoever asks has already.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Since {
    after: Option<u64>,
}

/// An answer, and the version of what it was made of.
#[derive(Debug, Serialize)]
struct Answer<T> {
    version: u64,
    #[serde(flatten)]
    body: T,
}

/// What answers the page and its questions.
pub(super) fn router(memory: Arc<Memory>, measured: Arc<Measured>) -> Router {
    page::router()
        .route("/api/traces", get(traces))
        .route("/api/traces/{id}", get(trace))
        .route("/api/requests/{id}", get(request))
        .route("/api/logs", get(logs))
        .route("/api/metrics", get(metrics))
        .layer(middleware::from_fn(guard::guard))
        .with_state(Known { memory, measured })
}

async fn traces(
    State(known): State<Known>,
    Query(since): Query<Since>,
    Query(filter): Query<TraceFilter>,
) -> Response {
    known.answer(&since, |memory| Some(memory.traces(&filter)))
}

async fn trace(
    State(known): State<Known>,
    Path(id): Path<String>,
    Query(since): Query<Since>,
) -> Response {
    let Ok(id) = id.parse::<TraceId>() else { return missing("no trace has such an id") };
    known.answer(&since, |memory| memory.trace(id))
}

async fn request(State(known): State<Known>, Path(id): Path<String>) -> Response {
    match known.memory.trace_of_request(&id) {
        Some(trace) => Json(serde_json::json!({ "trace": trace })).into_response(),
        None => missing("no trace of such a request is here"),
    }
}

async fn logs(
    State(known): State<Known>,
    Query(since): Query<Since>,
    Query(filter): Query<LineFilter>,
) -> Response {
    known.answer(&since, |memory| {
        let mut services: Vec<&str> = SERVICES.iter().map(|service| service.name).collect();
        services.sort_unstable();
        services.push("supervisor");
        Some(serde_json::json!({ "lines": memory.log(&filter), "services": services }))
    })
}

async fn metrics(State(known): State<Known>) -> Response {
    Json(known.measured.report()).into_response()
}

impl Known {
    /// 204 when nothing has changed, 404 when there is nothing.
    fn answer<T: Serialize>(&self, since: &Since, body: impl Fn(&Memory) -> Option<T>) -> Response {
        // Read before the body is made: what comes in between is told again, and not lost.
        let version = self.memory.changes();
        if since.after == Some(version) {
            return StatusCode::NO_CONTENT.into_response();
        }
        match body(&self.memory) {
            Some(body) => Json(Answer { version, body }).into_response(),
            None => missing("no such trace is kept, or none of its spans has come yet"),
        }
    }
}

fn missing(why: &str) -> Response {
    (StatusCode::NOT_FOUND, Json(serde_json::json!({ "error": why }))).into_response()
}
