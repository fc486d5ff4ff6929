//! The call to the service, and its reply to the caller.

use axum::response::Response;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};
use mainstay::kernel::channel::UnaryOptions;
use mainstay::kernel::error::Result;
use mainstay::kernel::policy::EdgeStyle;

use super::exchange::Exchange;
use crate::{envelope, error};

/// Calls the service of the exchange's route. Runs within the exchange's call, from which the
/// channel takes request id, user and deadline.
pub(super) async fn call(exchange: &Exchange) -> Result<Response> {
    let route = &exchange.target.route;
    let options = UnaryOptions {
        deadline: route.policy.deadline,
        idempotent: route.policy.idempotency.is_repeatable(),
    };
    let channel = (exchange.edge.channels)(&route.service);
    let mut metadata = metadata(&exchange.head.headers, &route.policy.request_headers);
    // A token that nobody here verifies is the server's to verify, if the contract asks for it.
    if exchange.edge.verifier.is_none() && route.policy.request_headers.contains(&AUTHORIZATION) {
        let given = exchange.head.headers.get_all(AUTHORIZATION).iter().cloned();
        metadata.extend(given.map(|value| (AUTHORIZATION, value)));
    }
    let reply = channel
        .unary(&route.grpc_path, exchange.message.clone(), metadata, options)
        .await
        .map_err(|status| error::from_upstream(&status, &route.service, &route.binding))?;
    let rendered = match route.policy.style {
        EdgeStyle::Plain => route.reply.plain(&reply.message)?,
        EdgeStyle::Envelope => {
            let sign = |token: &str| exchange.edge.cursors.sign(&exchange.listing(), token);
            route.reply.enveloped(&reply.message, &exchange.call.request_id, sign)?
        }
    };
    Ok(envelope::reply(rendered))
}

/// The headers that the contract asks for, and nothing else of what the caller sent. What says who
/// calls is never among them: that is the channel's to say.
fn metadata(from: &HeaderMap, wanted: &[HeaderName]) -> HeaderMap {
    let mut metadata = HeaderMap::new();
    for name in wanted.iter().filter(|name| !is_reserved(name)) {
        for value in from.get_all(name) {
            metadata.append(name.clone(), value.clone());
        }
    }
    metadata
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
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_what_the_contract_asks_for_passes_and_never_an_identity() {
        let sent = ["if-match", "x-user-id", "x_user_id", "grpc-metadata-x-user-id", "cookie"];
        let from: HeaderMap = sent
            .iter()
            .map(|name| (HeaderName::from_static(name), HeaderValue::from_static("x")))
            .collect();
        let wanted: Vec<HeaderName> =
            sent[..4].iter().map(|name| HeaderName::from_static(name)).collect();
        let passed = metadata(&from, &wanted);
        assert_eq!(passed.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["if-match"]);
    }
}
