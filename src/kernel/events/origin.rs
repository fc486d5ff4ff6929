//! Who caused an event, in which request and trace; handed on from event to event.

use std::collections::HashMap;
use std::sync::Arc;

use opentelemetry::global::get_text_map_propagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::kernel::call::{self, Call, User};
use crate::kernel::proto::events::Envelope;

/// Prefix of an actor that is a user.
const USER: &str = "user:";
/// Prefix of an actor that is a service.
const SERVICE: &str = "service:";
/// Name of the W3C header.
const TRACEPARENT: &str = "traceparent";

tokio::task_local! {
    static HANDLED: Origin;
}

/// Who caused something, and in which request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) actor: String,
    pub(crate) request_id: String,
}

impl Origin {
    /// That of the event being handled or of the call being served; else the platform itself.
    pub(crate) fn current() -> Self {
        // The event first: a call made from its attributes cannot say that the platform acted.
        if let Ok(handled) = HANDLED.try_with(Clone::clone) {
            return handled;
        }
        call::current().map_or_else(Self::default, |call| Self {
            actor: call.actor(),
            request_id: call.request_id.clone(),
        })
    }
}

/// Runs a handler as part of the request in which the event was caused.
pub(super) async fn scope<F: Future>(service: &str, envelope: &Envelope, handler: F) -> F::Output {
    let origin = Origin { actor: envelope.actor.clone(), request_id: envelope.request_id.clone() };
    let user = envelope.actor.strip_prefix(USER);
    let peer = envelope.actor.strip_prefix(SERVICE).unwrap_or(service);
    let call = Call {
        request_id: envelope.request_id.clone(),
        peer: peer.to_owned(),
        user: user.map(|id| User { id: id.to_owned(), plan: String::new(), session_id: None }),
        deadline: None,
    };
    HANDLED.scope(origin, call::scope(Arc::new(call), handler)).await
}

/// The W3C traceparent of the current span; empty when it is not traced.
pub(super) fn current_traceparent() -> String {
    let mut carrier = HashMap::new();
    let context = Span::current().context();
    get_text_map_propagator(|propagator| propagator.inject_context(&context, &mut carrier));
    carrier.remove(TRACEPARENT).unwrap_or_default()
}

/// Makes `span` a child of the span that wrote the event.
pub(super) fn continue_trace(span: &Span, envelope: &Envelope) {
    if envelope.traceparent.is_empty() {
        return;
    }
    let carrier = HashMap::from([(TRACEPARENT.to_owned(), envelope.traceparent.clone())]);
    let parent = get_text_map_propagator(|propagator| propagator.extract(&carrier));
    // Refused only when nothing records traces, and then there is nothing to continue.
    let _ = span.set_parent(parent);
}
