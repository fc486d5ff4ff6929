//! What a failed attempt says about the event.

use tonic::Code;

use crate::kernel::error::Error;

/// What becomes of an event whose attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Something it needs is away, or somebody was faster. The event is not at fault, so it waits as
    /// long as it takes.
    Outage,
    /// It may do another time: a bounded number of attempts.
    Doubtful,
    /// It will never do: trying again only delays those behind it.
    Poison,
}

impl Verdict {
    /// The table that [`Consumer`](crate::kernel::events::Consumer) documents.
    pub(super) fn of(error: &Error) -> Self {
        match error.code().grpc {
            Code::Unavailable | Code::DeadlineExceeded | Code::Aborted => Self::Outage,
            Code::InvalidArgument
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::DataLoss => Self::Poison,
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::ResourceExhausted
            | Code::Internal
            | Code::Unauthenticated => Self::Doubtful,
        }
    }
}
