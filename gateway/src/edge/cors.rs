//! Cross-Origin Resource Sharing (the Fetch standard): which web pages may call from a browser.
//!
//! Tokens travel in a header that scripts set themselves, never in cookies, so credentials in the
//! sense of the standard are never allowed.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
    VARY,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::Edge;

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");
const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, connect-protocol-version, connect-timeout-ms, content-type, grpc-timeout, \
     idempotency-key, if-match, if-none-match, last-event-id, traceparent, tracestate, x-grpc-web, \
     x-request-id, x-request-timeout, x-user-agent",
);
const REPLY_HEADERS: HeaderValue = HeaderValue::from_static(
    "etag, grpc-message, grpc-status, grpc-status-details-bin, idempotency-replayed, ratelimit, \
     ratelimit-policy, retry-after, x-request-id",
);

/// Answers preflights and marks replies for the origins that the settings name.
pub(crate) async fn apply(State(edge): State<Arc<Edge>>, request: Request, next: Next) -> Response {
    let origins = &edge.settings.cors_origins;
    let allowed = request.headers().get(ORIGIN).and_then(|origin| allowed(origins, origin));
    let preflight = *request.method() == Method::OPTIONS
        && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD)
        && request.headers().contains_key(ORIGIN);
    let mut response = if preflight {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    if !origins.is_empty() {
        headers.append(VARY, HeaderValue::from_static("origin"));
    }
    if let Some(origin) = allowed {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, REPLY_HEADERS);
        if preflight {
            preflight_headers(headers, edge.settings.cors_max_age.as_secs());
        }
    }
    response
}

fn preflight_headers(headers: &mut HeaderMap, max_age: u64) {
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(max_age));
}

fn allowed(origins: &[String], origin: &HeaderValue) -> Option<HeaderValue> {
    if origins.iter().any(|allowed| allowed == "*") {
        return Some(HeaderValue::from_static("*"));
    }
    let named = origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes());
    named.then(|| origin.clone())
}
