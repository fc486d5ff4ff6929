//! Why an attempt brought no reply, and whether the request can have run.

use h2::Reason;
use hyper_util::client::legacy;
use tonic::Status;

/// The cause of a refusal by a channel itself: no instance has seen the call, so it had no effect.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("no instance has seen the call")]
pub struct NotSent;

impl NotSent {
    /// Whether it caused this status. A status that came over the network never says so: what was not
    /// sent on by the other side was still sent to it.
    pub fn caused(status: &Status) -> bool {
        std::error::Error::source(status).is_some_and(|source| source.is::<Self>())
    }
}

/// An attempt without a reply.
#[derive(Debug)]
pub(super) enum Failure {
    /// No connection could be made: the request was never sent, and the instance is away.
    Unreachable(anyhow::Error),
    /// A connection was closing: the request was never sent, or provably not looked at.
    Unsent(anyhow::Error),
    /// The connection broke after the request was sent: it may have run.
    Broken(anyhow::Error),
}

impl Failure {
    pub(super) fn of_request(error: legacy::Error) -> Self {
        if error.is_connect() {
            Self::Unreachable(error.into())
        } else if never_processed(&error) {
            Self::Unsent(error.into())
        } else {
            Self::Broken(error.into())
        }
    }

    /// Of a request that was sent over a connection that is used directly.
    pub(super) fn of_stream(error: h2::Error) -> Self {
        match never_processed(&error) {
            true => Self::Unsent(error.into()),
            false => Self::Broken(error.into()),
        }
    }

    /// The cause, for our log.
    pub(super) fn into_cause(self) -> anyhow::Error {
        match self {
            Self::Unreachable(cause) | Self::Unsent(cause) | Self::Broken(cause) => cause,
        }
    }
}

/// RFC 9113, section 8.7: a stream refused, or above the last stream of a GOAWAY, was not processed.
/// hyper's own `canceled` means that the request never left its queue.
fn never_processed(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|error| {
        let unsent = error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled);
        let refused = error.downcast_ref::<h2::Error>().is_some_and(|error| {
            let refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
            error.is_remote() && (refused || error.is_go_away())
        });
        unsent || refused
    })
}
