//! The way of a request through the gateway.

use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use mainstay::contract::auth::RemoteApiKeys;
use mainstay::contract::billing::RemoteEntitlements;
use mainstay::kernel::claims::Claims;
use mainstay::kernel::error::{DEADLINE_EXCEEDED, Error, PAYLOAD_TOO_LARGE};
use mainstay::kernel::policy::Authorizer;
use mainstay::kernel::server::App;
use mainstay::kernel::telemetry::Metrics;
use mainstay::kernel::telemetry::metrics::RefusedBy;
use mainstay::kernel::token::Verifier;

pub(crate) mod api_key;
pub(crate) mod body;
pub(crate) mod caching;
pub(crate) mod client_ip;
pub(crate) mod compression;
pub(crate) mod connect;
pub(crate) mod cors;
pub(crate) mod exchange;
pub(crate) mod front;
pub(crate) mod grpc;
pub(crate) mod hygiene;
pub(crate) mod idempotency;
pub(crate) mod ip_limit;
pub(crate) mod lingering;
pub(crate) mod live;
pub(crate) mod measured;
pub(crate) mod messages;
pub(crate) mod observe;
pub(crate) mod own;
pub(crate) mod problem;
pub(crate) mod rate;
pub(crate) mod reply;
pub(crate) mod request_id;
pub(crate) mod rest;
pub(crate) mod security;
pub(crate) mod speak;
pub(crate) mod timeout;
pub(crate) mod upstream;
pub(crate) mod web;

use exchange::Exchange;
use ip_limit::IpLimit;
use live::LivePolicies;
use own::OwnPages;
use rate::RateLimits;

use crate::config::GatewaySettings;
use crate::cursor::CursorSigner;
use crate::discovery::reflection::Channels;
use crate::error::REQUEST_TIMEOUT;
use crate::route::LiveTable;

/// What requests are answered with.
pub(crate) struct Edge {
    /// The gateway's settings.
    pub(crate) settings: Arc<GatewaySettings>,
    /// The routes.
    pub(crate) live: LiveTable,
    /// The channels to the services.
    pub(crate) channels: Channels,
    /// The metrics of the process.
    pub(crate) metrics: Metrics,
    /// Verifies access tokens; absent where no route asks for one.
    pub(crate) verifier: Option<Arc<Verifier>>,
    /// Exchanges API keys for access tokens; absent where callers have none.
    pub(crate) api_keys: Option<RemoteApiKeys>,
    /// Decides permissions; absent where no route states one.
    pub(crate) authorizer: Option<Arc<dyn Authorizer>>,
    /// Knows what users' plans include; absent where there are no plans.
    pub(crate) entitlements: Option<RemoteEntitlements>,
    /// What of the settings changes while the gateway runs.
    pub(crate) policies: LivePolicies,
    /// The limits by rate class, if there are any.
    pub(crate) rates: Option<RateLimits>,
    /// The limit by client address, if there is one.
    pub(crate) ip_limit: Option<IpLimit>,
    /// Keeps what came of requests with an `Idempotency-Key`; absent where nothing is kept.
    pub(crate) claims: Option<Arc<dyn Claims>>,
    /// Signs cursors.
    pub(crate) cursors: CursorSigner,
    /// The pages that the gateway answers itself.
    pub(crate) pages: OwnPages,
}

/// The whole stack as an application.
pub(crate) fn stack(edge: Arc<Edge>) -> App {
    App::new(move |request| answer(Arc::clone(&edge), request))
}

/// The outer stages, from the outermost to the inner ones. A request passes them from top to bottom,
/// its reply back up. They are functions around one another rather than layers of tower: nothing is
/// cloned between them. A future is moved into the one around it, which costs more the larger it is: so
/// they are boxed in two places on the way of every request, and where what few need parts from it.
async fn answer(edge: Arc<Edge>, request: Request) -> Response {
    let edge = &edge;
    request_id::assign(lingering::attend(request), |request| {
        client_ip::find(edge, request, |request| {
            observe::trace(request, |request| {
                observe::access_log(edge, request, |request| {
                    security::apply(edge, request, |request| {
                        problem::render(request, |request| Box::pin(spoken(edge, request)))
                    })
                })
            })
        })
    })
    .await
}

/// The stages whose refusals are translated to the caller's protocol.
async fn spoken(edge: &Arc<Edge>, request: Request) -> Response {
    speak::translate(edge, request, |request| {
        observe::panic_guard(request, |request| {
            cors::apply(edge, request, |request| {
                compression::apply(edge, request, |request| {
                    ip_limit::apply(edge, request, |request| {
                        let edge = Arc::clone(edge);
                        web::unwrapped(request, move |request| Box::pin(serve(edge, request)))
                    })
                })
            })
        })
    })
    .await
}

/// The inner stages, the same for every protocol.
async fn serve(edge: Arc<Edge>, request: Request) -> Response {
    let (mut exchange, body) = match Exchange::route(Arc::clone(&edge), request) {
        Ok(routed) => routed,
        Err(reply) => return reply,
    };
    let admission = async {
        let count = |policy, error: &Error| edge.metrics.rejected(policy, error);
        exchange.token().await.inspect_err(|error| count(RefusedBy::Authentication, error))?;
        exchange.rate_class().await.inspect_err(|error| count(RefusedBy::Rate, error))?;
        let sending = exchange.message(body).await;
        let sending = sending.inspect_err(|error| count(refused_by_message(error), error))?;
        exchange.entitlement().await.inspect_err(|error| count(RefusedBy::Entitlement, error))?;
        exchange.permission().await.inspect_err(|error| count(RefusedBy::Permission, error))?;
        Ok(sending)
    };
    let (exchange, outcome) = match admission.await {
        Ok(sending) => idempotency::call(exchange, sending).await,
        Err(refusal) => (exchange, Err(refusal)),
    };
    exchange.reply(outcome)
}

/// What has refused a message that could not be taken.
fn refused_by_message(error: &Error) -> RefusedBy {
    let limits = [PAYLOAD_TOO_LARGE, REQUEST_TIMEOUT, DEADLINE_EXCEEDED];
    match limits.iter().any(|limit| error.is(limit)) {
        true => RefusedBy::Limit,
        false => RefusedBy::Validation,
    }
}

/// Waits for a future, and for ever where there is none.
async fn if_any<F: Future>(future: Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
