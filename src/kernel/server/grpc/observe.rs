//! The outermost layers: request id, trace, metrics and the panic guard.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures::FutureExt as _;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tonic::{Code, Status};
use tracing::Instrument as _;
use tracing::field::Empty;

use super::{GrpcContext, refusal};
use crate::kernel::call;
use crate::kernel::channel::metadata::REQUEST_ID;
use crate::kernel::error::{Error, ErrorClass};
use crate::kernel::policy::MethodPolicy;
use crate::kernel::telemetry::{metrics, propagation};

/// Longer request ids are replaced.
const MAX_REQUEST_ID_BYTES: usize = 128;

/// The policy of the method called, if the contracts know it; an extension of every request.
#[derive(Clone)]
pub(super) struct Policy(pub(super) Option<Arc<MethodPolicy>>);

/// Id of the request; an extension of every request.
#[derive(Clone)]
pub(super) struct RequestId(pub(super) String);

/// The outcome of a call whose reply was read whole; an extension of the response.
#[derive(Clone, Copy)]
pub(super) struct Outcome(pub(super) Code);

/// The handler panicked, which was counted where it did; an extension of the response.
#[derive(Clone, Copy)]
struct Panicked;

/// Gives the call its request id, span and measurement. The reply carries the request id too.
pub(super) async fn observe(
    State(context): State<Arc<GrpcContext>>,
    mut request: Request,
    next: Next,
) -> Response {
    if !is_grpc(request.headers()) {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
    }
    let policy = context.policies.method(request.uri().path()).cloned();
    let method = policy.as_ref().map_or(metrics::OTHER, |policy| &policy.full_name).to_owned();
    let request_id = request_id(request.headers());
    let span = tracing::info_span!(
        "rpc.server",
        otel.name = method,
        otel.kind = "server",
        rpc.system.name = "grpc",
        rpc.method = method,
        rpc.response.status_code = Empty,
        request_id,
    );
    propagation::continue_trace(&span, propagation::extract(request.headers()));
    request.extensions_mut().insert(Policy(policy));
    request.extensions_mut().insert(RequestId(request_id.clone()));

    let (start, in_flight) = (Instant::now(), context.metrics.rpc_server_begin());
    let mut response = next.run(request).instrument(span.clone()).await;
    drop(in_flight);
    let code = outcome(&response);
    span.record("rpc.response.status_code", metrics::code_name(code));
    let trace = propagation::exported_trace(&span);
    context.metrics.rpc_server_call(&method, code, start.elapsed(), trace);
    if let Some(class) = ErrorClass::of(code)
        && response.extensions().get::<Panicked>().is_none()
    {
        context.metrics.error(class);
    }
    if let Ok(value) = HeaderValue::try_from(request_id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// A handler that panics fails its own call and no other.
pub(super) async fn guard_panics(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    // The state of the call is gone with it; what services share is behind locks and pools.
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(_) => {
            let cause = anyhow::anyhow!("the handler of {path} panicked");
            let mut response = refusal(Error::panicked(cause));
            response.extensions_mut().insert(Panicked);
            response
        }
    }
}

/// The gRPC status of a reply; of a stream that is under way, OK.
pub(super) fn outcome(response: &Response) -> Code {
    if let Some(Outcome(code)) = response.extensions().get() {
        return *code;
    }
    status_of(response.headers()).unwrap_or(Code::Ok)
}

/// The gRPC status in headers or trailers.
pub(super) fn status_of(headers: &HeaderMap) -> Option<Code> {
    headers.get(Status::GRPC_STATUS).map(|value| Code::from_bytes(value.as_bytes()))
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let media_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    media_type.is_some_and(|media_type| media_type.starts_with(b"application/grpc"))
}

/// The caller's request id if it is plain, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    headers
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|id| (1..=MAX_REQUEST_ID_BYTES).contains(&id.len()) && id.bytes().all(plain))
        .map_or_else(call::new_request_id, str::to_owned)
}
