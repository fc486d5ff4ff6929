//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a request that may be sent again and
//! takes effect once.
//!
//! It is for methods that are neither free of side effects nor idempotent by themselves. The key is
//! claimed before the call; what the service answered is kept under it and is the answer to whoever
//! sends the same request with the same key again. A claim whose call has no known outcome, because the
//! gateway died or the service did not answer, is never taken by another call: the caller is told that
//! nobody knows, instead of being served a second time. `docs/adr/0024-idempotency-keys.md` says why.
//!
//! A service whose contract lists `idempotency-key` among its `request_headers` keeps keys itself, best
//! in the transaction of the effect: then the gateway hands the key on and keeps nothing.

mod key;
mod record;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::response::Response;
use http::{HeaderName, HeaderValue, StatusCode};
use http_body_util::BodyExt as _;
use mainstay::kernel::channel::NotSent;
use mainstay::kernel::claims::Claims;
use mainstay::kernel::error::{ABORTED, Error, ErrorCode, Result};
use mainstay::kernel::policy::{Idempotency, MethodPolicy};
use mainstay::kernel::telemetry::metrics::RefusedBy;
use tonic::Code;
use tracing::Instrument as _;

pub(crate) use key::Keyed;
use record::{Kept, Record, State};

use super::exchange::{Exchange, Sending};
use crate::error;

/// The header with the key.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Marks the kept reply of an earlier request.
pub(crate) const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The same key came with another request.
const KEY_REUSED: ErrorCode =
    ErrorCode::with_http("IDEMPOTENCY_KEY_REUSED", Code::InvalidArgument, 422);
/// The request with this key is being served.
const IN_FLIGHT: ErrorCode = ErrorCode::with_http("IDEMPOTENCY_IN_FLIGHT", Code::Aborted, 409);
/// The request with this key was sent to the service, and nobody knows what came of it.
const OUTCOME_UNKNOWN: ErrorCode =
    ErrorCode::with_http("IDEMPOTENCY_OUTCOME_UNKNOWN", Code::FailedPrecondition, 409);
/// The request with this key was served; its reply was too large to be kept.
const REPLY_NOT_KEPT: ErrorCode =
    ErrorCode::with_http("IDEMPOTENCY_REPLY_NOT_KEPT", Code::FailedPrecondition, 409);

/// How much longer than its deadline a call is taken to be under way.
const MARGIN: Duration = Duration::from_secs(2);

/// When a request that is in flight may be sent again.
const IN_FLIGHT_WAIT: Duration = Duration::from_secs(1);

/// How often an outcome is written down before it is left unknown, and the first wait between.
const ATTEMPTS: u32 = 3;
const FIRST_WAIT: Duration = Duration::from_millis(50);

/// Whether the gateway keeps keys for calls of a method.
pub(crate) fn takes_key(policy: &MethodPolicy) -> bool {
    policy.idempotency == Idempotency::Unknown
        && !policy.client_streaming
        && !policy.server_streaming
        && !policy.request_headers.contains(&IDEMPOTENCY_KEY)
}

/// Makes the call; with a key, once for all requests with that key.
pub(crate) async fn call(mut exchange: Exchange, sending: Sending) -> (Exchange, Result<Response>) {
    let claims = exchange.edge.claims.clone();
    let Some((keyed, claims)) = exchange.keyed.take().zip(claims) else {
        let outcome = exchange.call(sending).await;
        return (exchange, outcome);
    };
    // Boxed, so that calls without a key pay nothing for it.
    Box::pin(once(exchange, sending, keyed, claims)).await
}

/// Makes the call unless a request with its key was there before.
async fn once(
    exchange: Exchange,
    sending: Sending,
    keyed: Arc<Keyed>,
    claims: Arc<dyn Claims>,
) -> (Exchange, Result<Response>) {
    match claim(&exchange, &keyed, &*claims).await {
        Ok(None) => run(exchange, sending, keyed, claims).await,
        Ok(Some(reply)) => (exchange, Ok(reply)),
        Err(error) => {
            exchange.edge.metrics.rejected(RefusedBy::Idempotency, &error);
            (exchange, Err(error))
        }
    }
}

/// Claims the key. `None` when it is ours, else the reply of the request that had it before.
async fn claim(
    exchange: &Exchange,
    keyed: &Keyed,
    claims: &dyn Claims,
) -> Result<Option<Response>> {
    let lease = exchange.rpc.policy.deadline + MARGIN;
    let until = now().saturating_add(millis(lease));
    let record = keyed.record(State::InFlight { until });
    let keep = exchange.edge.settings.idempotency_keep;
    match claims.claim(&keyed.place, &record, keep).await? {
        None => Ok(None),
        Some(there) => answer(keyed, &there).map(Some),
    }
}

/// What is said to a request whose key is claimed.
fn answer(keyed: &Keyed, there: &[u8]) -> Result<Response> {
    let unknown = || {
        let message = "nobody knows whether the request with this Idempotency-Key took effect: look, \
                       and use another key if it did not";
        Error::new(OUTCOME_UNKNOWN, message)
    };
    let record = Record::decode(there).ok_or_else(unknown)?;
    if record.fingerprint != keyed.fingerprint {
        let message = "this Idempotency-Key came with another request before: use one for each";
        return Err(Error::new(KEY_REUSED, message));
    }
    match record.state {
        State::InFlight { until } if until > now() => {
            let message = "the request with this Idempotency-Key is being served";
            Err(Error::new(IN_FLIGHT, message).retry_after(IN_FLIGHT_WAIT))
        }
        State::InFlight { .. } | State::Unknown => Err(unknown()),
        State::NotKept => {
            let message = "the request with this Idempotency-Key was served; its reply was too large \
                           to be kept";
            Err(Error::new(REPLY_NOT_KEPT, message))
        }
        State::Done { sealed } => {
            keyed.open(&sealed).and_then(|kept| replayed(&kept)).ok_or_else(unknown)
        }
    }
}

/// Makes the call and keeps its outcome, to the end even if the caller goes away: who lost the
/// connection sends the request again, and is to find what came of it.
async fn run(
    mut exchange: Exchange,
    sending: Sending,
    keyed: Arc<Keyed>,
    claims: Arc<dyn Claims>,
) -> (Exchange, Result<Response>) {
    let served = async move {
        let outcome = exchange.call(sending).await;
        let outcome = settle(&exchange, &keyed, &*claims, outcome).await;
        (exchange, outcome)
    };
    match tokio::spawn(served.in_current_span()).await {
        Ok(served) => served,
        // Nobody but the end of the runtime cancels it.
        Err(fault) => std::panic::resume_unwind(fault.into_panic()),
    }
}

/// What a key is worth after a call that failed.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// The service said what it says each time: that is kept.
    Settled,
    /// The call certainly had no effect, and may succeed later: the key is free again.
    Free,
    /// The call may have had an effect.
    Unknown,
}

fn verdict(error: &Error) -> Verdict {
    let was_not_sent = error.cause().is_some_and(|cause| cause.is::<NotSent>());
    match error.code().http {
        _ if was_not_sent => Verdict::Free,
        401 | 403 | 408 | 429 => Verdict::Free,
        _ if error.is(&ABORTED) => Verdict::Free,
        400..=498 => Verdict::Settled,
        _ => Verdict::Unknown,
    }
}

async fn settle(
    exchange: &Exchange,
    keyed: &Keyed,
    claims: &dyn Claims,
    outcome: Result<Response>,
) -> Result<Response> {
    let most_bytes = exchange.edge.settings.idempotency_max_bytes;
    match outcome {
        Ok(response) => {
            let (response, kept) = kept(response).await?;
            write(exchange, keyed, claims, Some(keyed.settled(&kept, most_bytes))).await;
            Ok(response)
        }
        Err(error) => {
            let state = match verdict(&error) {
                Verdict::Settled => {
                    let response = error::response(&error, &exchange.call.request_id);
                    let (_, kept) = kept(response).await?;
                    Some(keyed.settled(&kept, most_bytes))
                }
                Verdict::Unknown => Some(State::Unknown),
                Verdict::Free => None,
            };
            write(exchange, keyed, claims, state).await;
            Err(error)
        }
    }
}

/// A reply, with what is kept of it.
async fn kept(response: Response) -> Result<(Response, Kept)> {
    let (head, body) = response.into_parts();
    let body = body.collect().await.map_err(Error::internal)?.to_bytes();
    let kept = Kept::of(&head, body.clone());
    Ok((Response::from_parts(head, Body::from(body)), kept))
}

fn replayed(kept: &Kept) -> Option<Response> {
    let mut response = Response::new(Body::from(kept.body.clone()));
    *response.status_mut() = StatusCode::from_u16(kept.status).ok()?;
    for (name, value) in &kept.headers {
        let name = HeaderName::try_from(name).ok()?;
        response.headers_mut().insert(name, HeaderValue::try_from(value).ok()?);
    }
    response.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    Some(response)
}

/// Writes the outcome down; without one the key is free again. Left unwritten it is unknown once the
/// lease has passed, which is safe.
async fn write(exchange: &Exchange, keyed: &Keyed, claims: &dyn Claims, state: Option<State>) {
    let record = state.map(|state| keyed.record(state));
    let keep = exchange.edge.settings.idempotency_keep;
    let mut wait = FIRST_WAIT;
    for attempt in 1..=ATTEMPTS {
        let written = match &record {
            Some(record) => claims.replace(&keyed.place, record, keep).await,
            None => claims.release(&keyed.place).await,
        };
        let Err(error) = written else { return };
        if attempt == ATTEMPTS {
            tracing::warn!(%error, "the outcome of a request with an Idempotency-Key is not kept");
            return;
        }
        tokio::time::sleep(wait).await;
        wait *= 2;
    }
}

fn now() -> u64 {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use mainstay::kernel::error::{
        ALREADY_EXISTS, DEADLINE_EXCEEDED, INTERNAL, NOT_FOUND, RATE_LIMITED, UNAVAILABLE,
    };

    use super::*;

    #[test]
    fn a_key_is_free_only_after_what_certainly_had_no_effect() {
        let rows = [
            (ALREADY_EXISTS, Verdict::Settled),
            (NOT_FOUND, Verdict::Settled),
            (RATE_LIMITED, Verdict::Free),
            (ABORTED, Verdict::Free),
            (UNAVAILABLE, Verdict::Unknown),
            (INTERNAL, Verdict::Unknown),
            (DEADLINE_EXCEEDED, Verdict::Unknown),
        ];
        for (code, expected) in rows {
            assert_eq!(verdict(&Error::new(code.clone(), "x")), expected, "{code:?}");
        }
        let unsent = anyhow::Error::new(NotSent).context("library-svc answered");
        assert_eq!(verdict(&Error::unavailable("x").because(unsent)), Verdict::Free);
    }
}
