//! The call to the service: one message for one, or streams.

use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use base64::Engine as _;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Frame;
use http_body_util::{Full, StreamBody};
use mainstay::kernel::call;
use mainstay::kernel::channel::{UnaryOptions, UnaryReply, framed};
use mainstay::kernel::error::{Error, Result};
use mainstay::kernel::policy::StreamRules;
use mainstay::kernel::server::Ending;
use tonic::Status;
use tonic::body::Body;

use super::exchange::{Exchange, Sending};
use super::if_any;
use super::messages::{Fault, Messages};
use super::reply::{Parts, declared};
use crate::error;
use crate::transcode::read::scalar::STANDARD;

/// How the name of metadata ends whose value is bytes.
const BINARY: &str = "-bin";

/// The reply of a call that streams.
pub(super) struct Streamed {
    /// The metadata before the first message.
    pub(super) metadata: HeaderMap,
    /// What follows.
    pub(super) parts: Parts,
}

/// Makes the unary call of an exchange.
pub(super) async fn unary(exchange: &Exchange) -> Result<UnaryReply> {
    let rpc = &exchange.rpc;
    let options = UnaryOptions {
        deadline: left(exchange),
        idempotent: rpc.policy.idempotency.is_repeatable(),
    };
    let channel = (exchange.edge.channels)(&rpc.service);
    let metadata = handed_on(exchange)?;
    let call = channel.unary(&rpc.grpc_path, exchange.message.clone(), metadata, options);
    let call = Box::pin(call);
    within(exchange, call).await.map_err(|status| failed(exchange, &status))
}

/// Begins a call of which either side is a stream.
pub(super) async fn stream(exchange: &Exchange, sending: Sending) -> Result<Streamed> {
    let rpc = &exchange.rpc;
    let (body, mut fault) = match sending {
        Sending::Many(messages) => judged(StreamRules::new(Arc::clone(&rpc.policy)), messages),
        Sending::One | Sending::Socket(_) => {
            (Body::new(Full::new(framed(&exchange.message))), Fault::none())
        }
    };
    let channel = (exchange.edge.channels)(&rpc.service);
    let metadata = handed_on(exchange)?;
    let call = channel.stream(&rpc.grpc_path, body, metadata, left(exchange));
    let mut cut = cut(exchange);
    let reply = tokio::select! {
        begun = begun(within(exchange, call), &mut fault) => begun?,
        error = &mut cut => return Err(error),
    };
    let reply = reply.map_err(|status| failed(exchange, &status))?;
    let until = deadline(exchange);
    let parts = Parts::new(Arc::clone(rpc), &reply.metadata, reply.body, until, fault, cut);
    Ok(Streamed { metadata: reply.metadata, parts })
}

/// Waits for what ends a stream before its time, for its caller to hear of it: the session in whose name
/// it began is over, or the gateway is about to cut off what has not ended.
fn cut(exchange: &Exchange) -> BoxFuture<'static, Error> {
    let ending = exchange.head.extensions.get::<Ending>().cloned();
    let session = exchange.call.user.as_ref().and_then(|user| user.session_id.clone());
    let session = session.zip(exchange.edge.verifier.clone());
    let first = async move {
        let over = session.as_ref().map(|(session, verifier)| verifier.ended(session));
        tokio::select! {
            error = if_any(over) => error,
            () = if_any(ending.as_ref().map(Ending::closing)) => {
                Error::unavailable("the gateway restarts: call again")
            }
        }
    };
    first.boxed()
}

/// Runs within the exchange's call, from which the channel takes request id, user and deadline.
async fn within<F: Future>(exchange: &Exchange, call: F) -> F::Output {
    call::scope(Arc::clone(&exchange.call), call).await
}

/// Waits for the reply to begin, or for what is wrong with the messages that are sent meanwhile.
async fn begun<T>(call: impl Future<Output = T>, fault: &mut Fault) -> Result<T> {
    tokio::pin!(call);
    std::future::poll_fn(|context| {
        if let Poll::Ready(error) = fault.poll(context) {
            return Poll::Ready(Err(error));
        }
        let reply = ready!(call.as_mut().poll(context));
        // It may have been found on another thread while the call was looked at, which it ended.
        Poll::Ready(fault.found().map_or(Ok(reply), Err))
    })
    .await
}

/// Messages as they are sent, each by the rules of the contract. What breaks a rule ends the call; why,
/// the receiver hears before the call is reset.
fn judged(mut rules: StreamRules, messages: Messages) -> (Body, Fault) {
    let (sender, fault) = Fault::watched();
    let mut sender = Some(sender);
    let frames = messages.map(move |message| {
        let judged = message.and_then(|message| rules.check(&message).map(|()| message));
        judged.map(|message| Frame::data(framed(&message))).map_err(|error| {
            // Nobody listens any more where the reply is over.
            let _ = sender.take().map(|sender| sender.send(error));
            Status::cancelled("the caller's messages ended in a fault")
        })
    });
    (Body::new(StreamBody::new(frames)), fault)
}

/// The failure that a status tells of, with what of its metadata the contract declares.
fn failed(exchange: &Exchange, status: &Status) -> Error {
    let error = error::from_upstream(status, &exchange.rpc.service, exchange.binding());
    error.with_headers(&declared(&exchange.rpc, [status.metadata().as_ref()]))
}

fn deadline(exchange: &Exchange) -> Instant {
    exchange.call.deadline.unwrap_or_else(|| Instant::now() + exchange.rpc.policy.deadline)
}

fn left(exchange: &Exchange) -> Duration {
    deadline(exchange).saturating_duration_since(Instant::now())
}

/// What of the caller's headers is handed on.
fn handed_on(exchange: &Exchange) -> Result<HeaderMap> {
    let (from, wanted) = (&exchange.head.headers, &exchange.rpc.policy.request_headers);
    let mut metadata = metadata(from, wanted)?;
    // A token that nobody here verifies is the server's to verify, if the contract asks for it.
    if exchange.edge.verifier.is_none() && wanted.contains(&AUTHORIZATION) {
        let given = from.get_all(AUTHORIZATION).iter().cloned();
        metadata.extend(given.map(|value| (AUTHORIZATION, value)));
    }
    Ok(metadata)
}

/// The headers that the contract asks for, and nothing else of what the caller sent. What says who
/// calls is never among them: that is the channel's to say.
fn metadata(from: &HeaderMap, wanted: &[HeaderName]) -> Result<HeaderMap> {
    let mut metadata = HeaderMap::new();
    for name in wanted.iter().filter(|name| !is_reserved(name)) {
        let is_binary = name.as_str().ends_with(BINARY);
        for value in from.get_all(name) {
            // A server takes it for a fault of the protocol, and ends the call for a reason of its own.
            if is_binary && !is_base64(value) {
                return Err(Error::invalid(name.as_str(), "is not base64"));
            }
            metadata.append(name.clone(), value.clone());
        }
    }
    Ok(metadata)
}

/// Whether a value is bytes as gRPC writes them: one or, after commas, more, each padded or not.
fn is_base64(value: &HeaderValue) -> bool {
    let mut values = value.as_bytes().split(|byte| *byte == b',');
    values.all(|one| STANDARD.decode(one.trim_ascii()).is_ok())
}

/// Whether a header is one by which the mesh speaks of identity or of the call itself.
fn is_reserved(name: &HeaderName) -> bool {
    let name = name.as_str().replace('_', "-");
    let prefixes = ["x-user-", "x-session-", "x-forwarded-", "grpc-"];
    let names = ["authorization", "x-request-id", "traceparent", "te", "host", "content-type"];
    prefixes.iter().any(|prefix| name.starts_with(prefix)) || names.contains(&name.as_str())
}

#[cfg(test)]
mod tests {
    use mainstay::kernel::error::INVALID_ARGUMENT;

    use super::*;

    #[tokio::test]
    async fn a_fault_is_told_though_what_it_does_to_the_call_is_seen_first() {
        let (sender, mut fault) = Fault::watched();
        let broken_by_it = async {
            let _ = sender.send(Error::new(INVALID_ARGUMENT, "not that"));
            "the call broke off"
        };
        let error = begun(broken_by_it, &mut fault).await.unwrap_err();
        assert!(error.is(&INVALID_ARGUMENT));

        let (sender, mut fault) = Fault::watched();
        drop(sender);
        assert_eq!(begun(async { "all was sent" }, &mut fault).await.unwrap(), "all was sent");
    }

    #[test]
    fn only_what_the_contract_asks_for_passes_and_never_an_identity() {
        let sent = ["if-match", "x-user-id", "x_user_id", "grpc-metadata-x-user-id", "cookie"];
        let from: HeaderMap = sent
            .iter()
            .map(|name| (HeaderName::from_static(name), HeaderValue::from_static("x")))
            .collect();
        let wanted: Vec<HeaderName> =
            sent[..4].iter().map(|name| HeaderName::from_static(name)).collect();
        let passed = metadata(&from, &wanted).unwrap();
        assert_eq!(passed.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["if-match"]);
    }

    #[test]
    fn what_is_to_be_bytes_is_base64_padded_or_not() {
        let name = HeaderName::from_static("x-raw-bin");
        let rows = [
            ("aGk=", true),
            ("aGk", true),
            ("aGk=,aGkh, aA", true),
            ("", true),
            ("not*base64!", false),
            ("aGk,*", false),
            ("aG k", false),
        ];
        for (value, sound) in rows {
            let from = HeaderMap::from_iter([(name.clone(), HeaderValue::from_static(value))]);
            let passed = metadata(&from, std::slice::from_ref(&name));
            assert_eq!(passed.is_ok(), sound, "{value}");
            if let Err(error) = passed {
                assert_eq!(error.violations()[0].field, "x-raw-bin");
                assert!(error.is(&INVALID_ARGUMENT));
            }
        }
    }
}
