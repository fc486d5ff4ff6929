//! The audit record of a call, where the contract asks for one.

use axum::response::Response;

use super::GrpcContext;
use super::observe::outcome;
use crate::kernel::call::Call;
use crate::kernel::events::audit::{self, Draft};
use crate::kernel::policy::{Audit, MethodPolicy};

/// Runs a call and leaves its record: with the handler's own transaction when that commits, else
/// afterwards, with the outcome. Denied and failed calls are recorded too.
pub(super) async fn record(
    context: &GrpcContext,
    policy: &MethodPolicy,
    call: &Call,
    message: &[u8],
    reply: impl Future<Output = Response>,
) -> Response {
    let (Some(draft), Some(database)) =
        (draft(context, policy, call, message), context.database.as_ref())
    else {
        return reply.await;
    };
    audit::scope(draft, async {
        let response = reply.await;
        if let Err(error) = audit::finish(database, outcome(&response)).await {
            // The call has had its effect: refusing the reply now would only hide that.
            let cause = error.cause().map(|cause| format!("{cause:#}"));
            tracing::error!(method = policy.full_name, %error, cause, "audit record lost");
        }
        response
    })
    .await
}

fn draft(
    context: &GrpcContext,
    policy: &MethodPolicy,
    call: &Call,
    message: &[u8],
) -> Option<Draft> {
    let request_json = match policy.audit {
        Audit::None => return None,
        Audit::Call => String::new(),
        Audit::Request => policy.redacted_json(message).to_string(),
    };
    let resource = policy.resource_of(message);
    Some(Draft {
        method: policy.full_name.clone(),
        resource: if resource.is_empty() { context.service.clone() } else { resource },
        caller: call.peer.clone(),
        request_json,
    })
}
