//! Trace, access log and metrics of each request, and the guard that turns a panic into a 500.
//!
//! The access log holds no personal data: the route's template in the place of the path, no
//! address, no user, no query.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::Request;
use axum::response::Response;
use futures::FutureExt as _;
use http::Method;
use mainstay::kernel::call::Call;
use mainstay::kernel::error::{Error, ErrorClass};
use mainstay::kernel::telemetry;
use mainstay::kernel::telemetry::metrics::{HttpRoute, OTHER};
use mainstay::kernel::telemetry::propagation;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use super::measured::{self, RequestSize};
use super::{Edge, request_id};
use crate::error::{self, Refused, RefusedCode};
use crate::route::{Route, Rpc};

/// The route that answered, an extension of the response.
#[derive(Clone, Debug)]
pub(crate) enum Answered {
    /// A route of the table.
    By(Arc<Route>),
    /// An RPC that was asked for by its own path.
    Rpc(Arc<Rpc>),
    /// A page of the gateway's own.
    Own(&'static str),
}

/// The call of the user who asked, an extension of the response. Shown, it is the hash of the user, which is not
/// made for a record that is not written.
#[derive(Clone, Debug)]
pub(crate) struct Subject(pub(crate) Arc<Call>);

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hash = self.0.user.as_ref().and_then(|user| telemetry::hashed_subject(&user.id));
        formatter.write_str(hash.as_deref().unwrap_or_default())
    }
}

/// Opens the request's span, a child of the caller's.
pub(crate) async fn trace<F: Future<Output = Response>>(
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    let method = request.method().clone();
    let span = tracing::info_span!(
        "http",
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method.as_str(),
        http.route = Empty,
        http.response.status_code = Empty,
        request_id = Empty,
    );
    propagation::continue_trace(&span, propagation::extract(request.headers()));
    let begun = Instant::now();
    let response = next(request).instrument(span.clone()).await;
    if let Some(trace) = propagation::exported_trace(&span) {
        describe(&span, &method, &response);
        if let Some(series) = response.extensions().get().and_then(Answered::series) {
            series.seen(&method, response.status().as_u16(), begun.elapsed(), trace);
        }
    }
    response
}

/// What came of a request, by the conventions for spans of HTTP servers.
fn describe(span: &Span, method: &Method, response: &Response) {
    if let Some(answered) = response.extensions().get::<Answered>() {
        propagation::rename(span, format!("{method} {}", answered.template()));
        span.record("http.route", answered.template());
    } else {
        propagation::rename(span, method.to_string());
    }
    span.record("http.response.status_code", response.status().as_u16());
    span.record("request_id", request_id::current());
    if response.status().is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
}

/// Writes one line and counts each request when it is answered.
pub(crate) async fn access_log<F: Future<Output = Response>>(
    edge: &Edge,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    let active = edge.metrics.http_server_begin(&method);
    let (request_size, request) = RequestSize::of(request);
    let response = next(request).await;
    let elapsed = begun.elapsed();
    let status = response.status().as_u16();
    let answered = response.extensions().get::<Answered>();
    let extensions = response.extensions();
    let code = extensions.get::<Refused>().map(Refused::code);
    let code = code.or(extensions.get::<RefusedCode>().map(RefusedCode::as_str));
    let template = answered.map_or(OTHER, Answered::template);
    let unrouted;
    let series = match answered {
        Some(Answered::By(route)) => route.series.get_or_init(|| edge.metrics.http_route(template)),
        Some(Answered::Rpc(rpc)) => rpc.series.get_or_init(|| edge.metrics.http_route(template)),
        Some(Answered::Own(_)) | None => {
            unrouted = edge.metrics.http_route(template);
            &unrouted
        }
    };
    let sizes = series.answered(&method, status, elapsed).clone();
    if let Some(class) = class_of(&response) {
        edge.metrics.error(class);
    }
    tracing::info!(
        target: telemetry::ACCESS,
        method = %method,
        route = template,
        status,
        // To the microsecond, so that it is a number of few digits.
        duration_ms = elapsed.as_micros() as f64 / 1000.0,
        rpc = answered.and_then(Answered::rpc),
        code,
        subject = extensions.get::<Subject>().map(tracing::field::display),
        "{method} {template} {status}"
    );
    measured::note_sizes(response, request_size, &sizes, active)
}

/// Whose fault a refusal is; a panic was counted where it happened.
fn class_of(response: &Response) -> Option<ErrorClass> {
    if response.extensions().get::<Panicked>().is_some() {
        return None;
    }
    match response.status().as_u16() {
        499 => None,
        400..500 => Some(ErrorClass::Business),
        500.. => Some(ErrorClass::System),
        // The status of other protocols stands elsewhere.
        _ => response.extensions().get::<RefusedCode>().and_then(RefusedCode::class),
    }
}

/// The request panicked; an extension of its response.
#[derive(Clone, Copy)]
struct Panicked;

/// A panic ends its own request alone, with the reply that every fault of ours gets.
pub(crate) async fn panic_guard<F: Future<Output = Response>>(
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    match AssertUnwindSafe(next(request)).catch_unwind().await {
        Ok(response) => response,
        Err(_) => {
            let cause = anyhow::anyhow!("the gateway panicked; the panic is logged before");
            let mut response = error::response(&Error::panicked(cause), &request_id::current());
            response.extensions_mut().insert(Panicked);
            response
        }
    }
}

impl Answered {
    fn template(&self) -> &str {
        match self {
            Self::By(route) => route.template.text(),
            Self::Rpc(rpc) => rpc.grpc_path.path(),
            Self::Own(path) => path,
        }
    }

    /// What is measured of its requests, once one was.
    fn series(&self) -> Option<&HttpRoute> {
        match self {
            Self::By(route) => route.series.get(),
            Self::Rpc(rpc) => rpc.series.get(),
            Self::Own(_) => None,
        }
    }

    fn rpc(&self) -> Option<&str> {
        match self {
            Self::By(route) => Some(route.rpc.policy.full_name.as_str()),
            Self::Rpc(rpc) => Some(rpc.policy.full_name.as_str()),
            Self::Own(_) => None,
        }
    }
}
