//! Who calls: the peer by its certificate, the user by what the peer may say of it.
//!
//! The gateway has verified the user's token and says who it is by headers. It is believed, and so
//! is a peer that the method's contract names itself. Any other member of the mesh speaks for a
//! user only by the user's access token; identity headers that it sends are dropped.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderName, header};

use super::observe::{Policy, RequestId};
use super::{GrpcContext, refusal};
use crate::kernel::call::{Call, User};
use crate::kernel::channel::metadata::{self, SESSION_ID, USER_ID, USER_PLAN};
use crate::kernel::error::{Error, PERMISSION_DENIED, Result, UNAUTHENTICATED};
use crate::kernel::policy::{ANONYMOUS, Access, GATEWAY, MethodPolicy};
use crate::kernel::server::Peer;
use crate::kernel::telemetry::metrics::RefusedBy;

/// Services of gRPC itself, which no contract governs: any member of the mesh may call them.
const UNGOVERNED: [&str; 3] =
    ["/grpc.health.v1.Health/", "/grpc.reflection.v1.", "/grpc.reflection.v1alpha."];

/// Finds out who calls and refuses peers that may not. The [`Call`] becomes an extension.
pub(super) async fn identify(
    State(context): State<Arc<GrpcContext>>,
    mut request: Request,
    next: Next,
) -> Response {
    match call(&context, &mut request).await {
        Ok(call) => {
            request.extensions_mut().insert(Arc::new(call));
            next.run(request).await
        }
        Err(error) => refusal(error),
    }
}

async fn call(context: &GrpcContext, request: &mut Request) -> Result<Call> {
    let extensions = request.extensions();
    let peer = extensions.get::<Peer>().and_then(|peer| peer.identity.as_deref());
    let peer = peer.unwrap_or(ANONYMOUS).to_owned();
    let policy = extensions.get::<Policy>().and_then(|policy| policy.0.clone());
    let request_id = extensions.get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
    let timeout = metadata::timeout(request.headers());
    let Some(policy) = policy else {
        let path = request.uri().path();
        if !UNGOVERNED.iter().any(|prefix| path.starts_with(prefix)) {
            let message = format!("{path} is in no contract that is served here");
            let error = Error::new(PERMISSION_DENIED, message);
            return context.refused(RefusedBy::Access, Err(error));
        }
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        return Ok(Call { request_id, peer, user: None, deadline });
    };
    context.refused(RefusedBy::Access, check_peer(&policy, &peer))?;
    let user = user(context, &policy, &peer, request.headers()).await;
    let user = context.refused(RefusedBy::Authentication, user)?;
    for name in [USER_ID, USER_PLAN, SESSION_ID] {
        request.headers_mut().remove(name);
    }
    let patience = timeout.map_or(policy.deadline, |timeout| timeout.min(policy.deadline));
    Ok(Call { request_id, peer, user, deadline: Some(Instant::now() + patience) })
}

/// Without mTLS nobody proves an identity: then only what is open to everyone passes.
fn check_peer(policy: &MethodPolicy, peer: &str) -> Result<()> {
    let open = policy.routed && matches!(policy.access, Access::Public | Access::Webhook);
    if policy.callers.allow(peer, policy.routed) || (open && peer == ANONYMOUS) {
        return Ok(());
    }
    let message = format!("{peer} may not call {}", policy.full_name);
    Err(Error::new(PERMISSION_DENIED, message).detail("peer", peer))
}

async fn user(
    context: &GrpcContext,
    policy: &MethodPolicy,
    peer: &str,
    headers: &HeaderMap,
) -> Result<Option<User>> {
    if (peer == GATEWAY || policy.callers.name_explicitly(peer)) && headers.contains_key(USER_ID) {
        return stated_user(headers).map(Some);
    }
    match headers.get(header::AUTHORIZATION) {
        // The gateway has looked at it already; a public method is called as it is.
        Some(_) if peer == GATEWAY => Ok(None),
        Some(value) => bearer_user(context, value.as_bytes()).await.map(Some),
        None => Ok(None),
    }
}

/// The user that a trusted peer states. A header that is there twice may be an attempt to have one
/// program read the first and another the second.
fn stated_user(headers: &HeaderMap) -> Result<User> {
    Ok(User {
        id: single(headers, &USER_ID)?.unwrap_or_default().to_owned(),
        plan: single(headers, &USER_PLAN)?.unwrap_or_default().to_owned(),
        session_id: single(headers, &SESSION_ID)?.map(str::to_owned),
    })
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>> {
    let refused = |what| Error::new(UNAUTHENTICATED, format!("the metadata {name} {what}"));
    let mut values = headers.get_all(name).iter();
    let value = values.next();
    if values.next().is_some() {
        return Err(refused("is there twice"));
    }
    value
        .map(|value| value.to_str().map_err(|_| refused("is not printable ASCII")))
        .transpose()
        .map(|value| value.filter(|value| !value.is_empty()))
}

async fn bearer_user(context: &GrpcContext, value: &[u8]) -> Result<User> {
    let verifier = context.tokens.as_ref().ok_or_else(|| {
        Error::new(UNAUTHENTICATED, format!("{} takes no access tokens", context.service))
    })?;
    let token = std::str::from_utf8(value)
        .ok()
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .ok_or_else(|| Error::new(UNAUTHENTICATED, "authorization is not `Bearer <token>`"))?;
    let claims = verifier.verify(token).await?;
    Ok(User {
        id: claims.sub.clone(),
        plan: claims.plan.clone(),
        session_id: Some(claims.sid.clone()).filter(|session| !session.is_empty()),
    })
}
