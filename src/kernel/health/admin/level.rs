//! `/admin/log-level`: which log records are kept.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get};
use http::StatusCode;
use serde_json::Value;

use super::refusal;
use crate::kernel::telemetry::{LogLevel, Unfit};

pub(super) fn route() -> MethodRouter {
    get(show).put(change).delete(fall_back)
}

async fn show() -> Response {
    match LogLevel::of_process() {
        Some(level) => Json(level.shown()).into_response(),
        None => nobody(),
    }
}

async fn change(body: Bytes) -> Response {
    let Some(level) = LogLevel::of_process() else { return nobody() };
    match read(&body).and_then(|(filter, lasting)| level.change_to(&filter, lasting)) {
        Ok(()) => Json(level.shown()).into_response(),
        Err(Unfit { field, reason }) => refusal(StatusCode::BAD_REQUEST, &field, &reason),
    }
}

async fn fall_back() -> Response {
    let Some(level) = LogLevel::of_process() else { return nobody() };
    level.fall_back();
    Json(level.shown()).into_response()
}

/// `{"filter": "auth_svc=debug", "for": "10m"}`, where `for` may be absent.
fn read(body: &[u8]) -> Result<(String, Option<Duration>), Unfit> {
    let unfit = |field: &str, reason: &str| Unfit { field: field.into(), reason: reason.into() };
    let Ok(Value::Object(mut fields)) = serde_json::from_slice(body) else {
        let reason = "must be an object such as {\"filter\": \"auth_svc=debug\", \"for\": \"10m\"}";
        return Err(unfit("body", reason));
    };
    let Some(Value::String(filter)) = fields.remove("filter") else {
        return Err(unfit("filter", "must be there, and a text"));
    };
    let lasting = match fields.remove("for") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => {
            let read = humantime_serde::re::humantime::parse_duration(&text);
            Some(read.map_err(|_| unfit("for", "is no duration such as 10m"))?)
        }
        Some(_) => return Err(unfit("for", "must be a text such as \"10m\"")),
    };
    match fields.keys().next() {
        Some(unknown) => Err(unfit(unknown, "is not known: there are filter and for")),
        None => Ok((filter, lasting)),
    }
}

fn nobody() -> Response {
    refusal(StatusCode::NOT_FOUND, "process", "it does not write its own log")
}
