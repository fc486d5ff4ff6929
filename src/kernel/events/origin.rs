//! Who caused an event, and in which request; handed on from event to event.

use std::sync::Arc;

use crate::kernel::call::{self, Call, User};
use crate::kernel::proto::events::Envelope;

/// Prefix of an actor that is a user.
const USER: &str = "user:";
/// Prefix of an actor that is a service.
const SERVICE: &str = "service:";

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
    resume(service, origin, handler).await
}

/// Runs what was caused by somebody else, earlier, as part of that request.
pub(crate) async fn resume<F: Future>(service: &str, origin: Origin, handler: F) -> F::Output {
    let user = origin.actor.strip_prefix(USER);
    let peer = origin.actor.strip_prefix(SERVICE).unwrap_or(service);
    let call = Call {
        request_id: origin.request_id.clone(),
        peer: peer.to_owned(),
        user: user.map(|id| User { id: id.to_owned(), plan: String::new(), session_id: None }),
        deadline: None,
    };
    HANDLED.scope(origin, call::scope(Arc::new(call), handler)).await
}
