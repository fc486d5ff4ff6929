//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a request that may be sent again and
//! takes effect once.
//!
//! It is for methods that are neither free of side effects nor idempotent by themselves. The key is
//! claimed before the call; what the service answered is kept under it and is the answer to whoever
//! sends the same request with the same key again, by the same protocol. A claim whose call has no known
//! outcome, because the gateway died or the service did not answer, is never taken by another call: the
//! caller is told that nobody knows, instead of being served a second time.
//! `docs/adr/0024-idempotency-keys.md` says why.
//!
//! A service whose contract lists `idempotency-key` among its `request_headers` keeps keys itself, best
//! in the transaction of the effect: then the gateway hands the key on and keeps nothing.

mod key;
mod record;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body_util::{BodyExt as _, Full};
use mainstay::kernel::channel::NotSent;
use mainstay::kernel::claims::Claims;
use mainstay::kernel::error::{ABORTED, DEADLINE_EXCEEDED, Error, ErrorCode, Result};
use mainstay::kernel::policy::{Idempotency, MethodPolicy};
use mainstay::kernel::telemetry::metrics::RefusedBy;
use tonic::Code;
use tracing::Instrument as _;

pub(crate) use key::Keyed;
use record::{Head, Kept, Record, State};

use super::exchange::{Exchange, Sending};
use super::front;

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
    needs_key(policy) && !policy.is_streaming()
}

/// Whether a call of a method takes effect each time, and nobody but the gateway would keep its key.
fn needs_key(policy: &MethodPolicy) -> bool {
    policy.idempotency == Idempotency::Unknown && !policy.request_headers.contains(&IDEMPOTENCY_KEY)
}

/// Refuses a key that is needed and not kept: that of a call which streams.
///
/// # Errors
/// `INVALID_ARGUMENT` that names the header.
pub(super) fn check(exchange: &Exchange) -> Result<()> {
    let policy = &exchange.rpc.policy;
    if !policy.is_streaming() || !needs_key(policy) || exchange.edge.claims.is_none() {
        return Ok(());
    }
    match exchange.head.headers.contains_key(IDEMPOTENCY_KEY) {
        true => Err(Error::invalid(IDEMPOTENCY_KEY.as_str(), "is not kept for calls that stream")),
        false => Ok(()),
    }
}

/// Makes the call; with a key, once for all requests with that key.
pub(crate) async fn call(mut exchange: Exchange, sending: Sending) -> (Exchange, Result<Response>) {
    let keyed = exchange.keyed.take();
    let Some((keyed, claims)) =
        keyed.and_then(|keyed| Some((keyed, exchange.edge.claims.clone()?)))
    else {
        let outcome = exchange.call(sending).await;
        return (exchange, outcome);
    };
    // Boxed, so that calls without a key pay nothing for it.
    Box::pin(to_the_end(exchange, sending, keyed, claims)).await
}

/// Goes on even if the caller goes away: who lost the connection sends the request again, and is to
/// find what came of it. Nor is anything left claimed for a call that nobody makes.
async fn to_the_end(
    exchange: Exchange,
    sending: Sending,
    keyed: Arc<Keyed>,
    claims: Arc<dyn Claims>,
) -> (Exchange, Result<Response>) {
    let served = once(exchange, sending, keyed, claims);
    match tokio::spawn(served.in_current_span()).await {
        Ok(served) => served,
        // Nobody but the end of the runtime cancels it.
        Err(fault) => std::panic::resume_unwind(fault.into_panic()),
    }
}

/// Makes the call unless a request with its key was there before.
async fn once(
    mut exchange: Exchange,
    sending: Sending,
    keyed: Arc<Keyed>,
    claims: Arc<dyn Claims>,
) -> (Exchange, Result<Response>) {
    let claim = Claim::new(&exchange, keyed, claims);
    let answer = match claim.make().await {
        Ok(None) => {
            let outcome = made(&mut exchange, sending).await;
            let outcome = claim.settle(&exchange, outcome).await;
            return (exchange, outcome);
        }
        Ok(Some(there)) => answer(&exchange, &claim.keyed, &there),
        Err(error) => Err(error),
    };
    let answer = answer.inspect_err(|error| {
        exchange.edge.metrics.rejected(RefusedBy::Idempotency, error);
    });
    (exchange, answer)
}

/// Makes the call, unless its time is over before it begins.
async fn made(exchange: &mut Exchange, sending: Sending) -> Result<Response> {
    if exchange.call.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
        let message = "the time of the call was over before it was made";
        return Err(Error::new(DEADLINE_EXCEEDED, message).because(NotSent));
    }
    exchange.call(sending).await
}

/// What is said to a request whose key is claimed.
fn answer(exchange: &Exchange, keyed: &Keyed, there: &[u8]) -> Result<Response> {
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
        State::InFlight { until, .. } if until > now() => {
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
            keyed.open(&sealed).and_then(|kept| replayed(exchange, kept)).ok_or_else(unknown)
        }
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

/// A key that is claimed, until what came of its request is written down.
struct Claim {
    keyed: Arc<Keyed>,
    claims: Arc<dyn Claims>,
    /// What stands there while the call is under way.
    record: Vec<u8>,
    keep: Duration,
    most_bytes: usize,
}

impl Claim {
    fn new(exchange: &Exchange, keyed: Arc<Keyed>, claims: Arc<dyn Claims>) -> Self {
        let until = now().saturating_add(millis(exchange.rpc.policy.deadline + MARGIN));
        let record = keyed.record(State::InFlight { until, number: rand::random() });
        let settings = &exchange.edge.settings;
        let (keep, most_bytes) = (settings.idempotency_keep, settings.idempotency_max_bytes);
        Self { keyed, claims, record, keep, most_bytes }
    }

    /// Claims the key. `None` when it is ours, else what is there.
    async fn make(&self) -> Result<Option<Vec<u8>>> {
        self.claims.claim(&self.keyed.place, &self.record, self.keep).await
    }

    /// Keeps the outcome of the call.
    async fn settle(&self, exchange: &Exchange, outcome: Result<Response>) -> Result<Response> {
        match outcome {
            Ok(response) => {
                let (response, kept) = kept(response).await?;
                self.write(Some(self.keyed.settled(&kept, self.most_bytes))).await;
                Ok(response)
            }
            Err(error) => {
                let state = match verdict(&error) {
                    Verdict::Settled => {
                        let kept = Kept::refusal(&error, &exchange.call.request_id);
                        Some(self.keyed.settled(&kept, self.most_bytes))
                    }
                    Verdict::Unknown => Some(State::Unknown),
                    Verdict::Free => None,
                };
                self.write(state).await;
                Err(error)
            }
        }
    }

    /// Writes the outcome down; without one the key is free again. Left unwritten it is unknown once
    /// the lease has passed, which is safe.
    async fn write(&self, state: Option<State>) {
        let (claims, place) = (&self.claims, &self.keyed.place);
        let record = state.map(|state| self.keyed.record(state));
        let mut wait = FIRST_WAIT;
        for attempt in 1..=ATTEMPTS {
            let written = match &record {
                Some(record) => claims.replace(place, record, self.keep).await,
                None => claims.release(place, &self.record).await,
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
}

/// A reply, with what is kept of it.
async fn kept(response: Response) -> Result<(Response, Kept)> {
    let (head, body) = response.into_parts();
    let whole = body.collect().await.map_err(Error::internal)?;
    let trailers = whole.trailers().cloned();
    let body = whole.to_bytes();
    let kept = Kept::reply(&head, body.clone(), trailers.as_ref());
    Ok((Response::from_parts(head, whole_body(body, trailers)), kept))
}

fn whole_body(content: Bytes, trailers: Option<HeaderMap>) -> Body {
    match trailers {
        Some(trailers) => {
            Body::new(Full::new(content).with_trailers(async move { Some(Ok(trailers)) }))
        }
        None => Body::from(content),
    }
}

/// What the first request was answered, once more.
fn replayed(exchange: &Exchange, kept: Kept) -> Option<Response> {
    let mut response = match &kept.head {
        Head::Reply { status, headers, trailers } => {
            let trailers = match trailers {
                Some(trailers) => Some(trailers.to_headers()?),
                None => None,
            };
            let mut response = Response::new(whole_body(kept.body, trailers));
            *response.status_mut() = StatusCode::from_u16(*status).ok()?;
            *response.headers_mut() = headers.to_headers()?;
            response
        }
        Head::Refusal { request_id, .. } => {
            front::refuse(exchange.front.protocol(), &kept.error()?, request_id)
        }
    };
    response.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    Some(response)
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
