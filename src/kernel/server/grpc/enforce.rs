//! What the contract states about a method, enforced.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use futures::stream;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tonic::Code;

use super::observe::{Outcome, Policy, status_of};
use super::{GrpcContext, audited, body, refusal};
use crate::kernel::call::{self, Call};
use crate::kernel::error::{DEADLINE_EXCEEDED, Error, Result};
use crate::kernel::operations;
use crate::kernel::policy::{MethodPolicy, StreamRules};
use crate::kernel::telemetry::metrics::RefusedBy;

/// Runs the service for calls that their contract allows, with the [`Call`] in scope.
pub(super) async fn enforce(
    State(context): State<Arc<GrpcContext>>,
    request: Request,
    next: Next,
) -> Response {
    let Some(call) = request.extensions().get::<Arc<Call>>().cloned() else {
        return refusal(Error::internal(anyhow::anyhow!("nobody has identified the caller")));
    };
    let policy = request.extensions().get::<Policy>().and_then(|policy| policy.0.clone());
    match policy {
        Some(policy) => {
            let _listed = context.metrics.calls_in_flight().list(&policy, Arc::clone(&call));
            let governed = governed(&context, &policy, &call, request, next);
            call::scope(Arc::clone(&call), governed).await
        }
        None => call::scope(call, next.run(request)).await,
    }
}

async fn governed(
    context: &GrpcContext,
    policy: &Arc<MethodPolicy>,
    call: &Call,
    request: Request,
    next: Next,
) -> Response {
    let (head, body) = request.into_parts();
    let read = async { context.refused(RefusedBy::Limit, read(policy, body).await) };
    let read = match in_time(context, call, read).await {
        Ok(read) => read,
        Err(error) => return refusal(error),
    };
    let message = read.message.clone();
    let allowed = async {
        // Validation first, as at the edge: a malformed id makes a resource that authz cannot be
        // asked about, and the caller is to hear what is wrong with it.
        context.refused(RefusedBy::Validation, policy.validate(&read.message))?;
        // Operators are told how a process is doing although its database is away.
        if !policy.full_name.starts_with(operations::SERVICE)
            && let Some(database) = &context.database
        {
            database.refuse_if_away()?;
        }
        let entitled = policy.entitle(call, context.entitlements.as_deref()).await;
        context.refused(RefusedBy::Entitlement, entitled)?;
        let permitted = policy.authorize(call, &read.message, context.authorizer.as_deref()).await;
        context.refused(RefusedBy::Permission, permitted)?;
        let response = next.run(Request::from_parts(head, read.body)).await;
        if policy.server_streaming { Ok(response) } else { whole(response).await }
    };
    let reply = async { in_time(context, call, allowed).await.unwrap_or_else(refusal) };
    audited::record(context, policy, call, &message, reply).await
}

async fn read(policy: &Arc<MethodPolicy>, body: Body) -> Result<body::Read> {
    if policy.client_streaming {
        let mut rules = StreamRules::new(Arc::clone(policy));
        let check = Box::new(move |message: &[u8]| rules.check(message));
        body::read_stream(body, policy.max_body_bytes, check).await
    } else {
        body::read_unary(body, policy.max_body_bytes).await
    }
}

/// Ends work that takes longer than the call may; the handler is dropped where it stands, and with
/// it its transaction.
async fn in_time<T>(
    context: &GrpcContext,
    call: &Call,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let Some(deadline) = call.deadline else { return work.await };
    match tokio::time::timeout_at(deadline.into(), work).await {
        Ok(done) => done,
        Err(_) => {
            let late = Instant::now().saturating_duration_since(deadline);
            tracing::debug!(?late, "the deadline of the call passed");
            let error = Error::new(DEADLINE_EXCEEDED, "the call took longer than it may");
            context.refused(RefusedBy::Deadline, Err(error))
        }
    }
}

/// Reads the reply of a unary call, so that its outcome is known before it leaves.
async fn whole(response: Response) -> Result<Response> {
    let (mut head, body) = response.into_parts();
    let collected = body.collect().await.map_err(Error::internal)?;
    let trailers = collected.trailers().cloned();
    let code = status_of(&head.headers).or(trailers.as_ref().and_then(status_of));
    head.extensions.insert(Outcome(code.unwrap_or(Code::Unknown)));
    // Frames of unknown size: a length that does not count the trailers would cut them off where
    // gRPC-Web sends them as part of the body.
    let data = Some(collected.to_bytes()).filter(|data| !data.is_empty()).map(Frame::data);
    let frames = data.into_iter().chain(trailers.map(Frame::trailers));
    let body = Body::new(StreamBody::new(stream::iter(frames.map(Ok::<_, Infallible>))));
    Ok(Response::from_parts(head, body))
}
