//! What stands around every gRPC call, in order.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Response;
use tonic_web::GrpcWebLayer;
use tower::ServiceBuilder;

use crate::kernel::database::Database;
use crate::kernel::error::{Error, Result, UNIMPLEMENTED};
use crate::kernel::policy::{Authorizer, Entitlements, PolicyTable};
use crate::kernel::telemetry::Metrics;
use crate::kernel::telemetry::metrics::RefusedBy;
use crate::kernel::token::Verifier;

mod audited;
mod body;
mod caller;
mod enforce;
mod observe;

/// What the calls of a process are checked and measured with.
pub struct GrpcContext {
    /// Name of the service, such as `identity-svc`.
    pub service: String,
    /// The policies of the contracts that it serves.
    pub policies: Arc<PolicyTable>,
    /// Decides permissions; needed if any method states one.
    pub authorizer: Option<Arc<dyn Authorizer>>,
    /// Knows what users' plans include; needed if any method states a feature.
    pub entitlements: Option<Arc<dyn Entitlements>>,
    /// Verifies the access tokens with which members of the mesh speak for a user.
    pub tokens: Option<Arc<Verifier>>,
    /// Measures calls.
    pub metrics: Metrics,
    /// Where audited calls are recorded; needed if any method is audited.
    pub database: Option<Database>,
}

impl GrpcContext {
    /// Counts a refusal, if it is one.
    fn refused<T>(&self, policy: RefusedBy, outcome: Result<T>) -> Result<T> {
        outcome.inspect_err(|error| self.metrics.rejected(policy, error))
    }
}

/// Puts the stack around gRPC services, each a route `/{full.name.Service}/{*method}`. The outermost
/// layer stands first.
pub fn grpc_app(services: Router, context: GrpcContext) -> Router {
    let context = Arc::new(context);
    let stack = ServiceBuilder::new()
        // gRPC-Web over HTTP/1.1 becomes gRPC, so that all below knows one form only.
        .layer(GrpcWebLayer::new())
        .map_request(|request: http::Request<tonic::body::Body>| request.map(Body::new))
        // Request id, trace and metrics stand outside the panic guard: a panic is traced and counted.
        .layer(from_fn_with_state(Arc::clone(&context), observe::observe))
        .layer(from_fn(observe::guard_panics))
        // Who calls, and for which user: default deny.
        .layer(from_fn_with_state(Arc::clone(&context), caller::identify))
        // Size, validation, entitlement, permission, deadline, audit; then the service, with the call in scope.
        .layer(from_fn_with_state(context, enforce::enforce))
        // Once more, so that a handler that panics leaves its audit record.
        .layer(from_fn(observe::guard_panics));
    services.fallback(unknown).layer(stack)
}

async fn unknown(request: Request) -> Response {
    let path = request.uri().path();
    refusal(Error::new(UNIMPLEMENTED, format!("{path} is not served here")))
}

/// An error as a gRPC reply without a message.
fn refusal(error: Error) -> Response {
    tonic::Status::from(error).into_http()
}
