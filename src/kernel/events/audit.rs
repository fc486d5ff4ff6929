//! The audit record of a call.
//!
//! The server puts a [`Draft`] around the handler of an audited method with [`scope`]. The first
//! transaction that the handler commits carries the record of success, so that a change without its
//! record cannot be. What no transaction recorded (failures, denials, calls that wrote nothing)
//! [`finish`] writes when the handler is done. A handler that fails after a commit stays recorded as
//! the success its change was.

use std::sync::{Arc, Mutex, PoisonError};

use tonic::Code;

use super::outbox;
use crate::kernel::database::{Database, Open};
use crate::kernel::error::Result;
use crate::kernel::proto::events::CallAudited;
use crate::kernel::telemetry::metrics::code_name;

tokio::task_local! {
    static PENDING: Arc<Mutex<Option<Draft>>>;
}

/// What is known of an audited call before it ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    /// Full method name, such as `mainstay.identity.v1.UserService/UpdateUser`.
    pub method: String,
    /// The resource it is about; the service's name where the method names none.
    pub resource: String,
    /// The mesh identity the call came from, such as `gateway`.
    pub caller: String,
    /// The request as JSON, already redacted; empty unless the method asks for it.
    pub request_json: String,
}

/// Runs `future` as an audited call. [`finish`] belongs inside, after the handler.
pub async fn scope<F: Future>(draft: Draft, future: F) -> F::Output {
    PENDING.scope(Arc::new(Mutex::new(Some(draft))), future).await
}

/// Records the outcome in a transaction of its own, unless a transaction of the call has recorded
/// it. Does nothing outside [`scope`].
pub async fn finish(database: &Database, outcome: Code) -> Result<()> {
    let Some(taken) = Taken::take() else { return Ok(()) };
    let open = database.begin_own().await?;
    outbox::append(&open, &taken.record(outcome)).await?;
    open.commit().await?;
    taken.keep();
    Ok(())
}

/// Writes the record of success into a transaction that is about to commit.
pub(crate) async fn append_success(open: &Open) -> Result<Recorded> {
    let taken = Taken::take();
    if let Some(taken) = &taken {
        outbox::append(open, &taken.record(Code::Ok)).await?;
    }
    Ok(Recorded(taken))
}

/// A record that was written and not yet committed. Dropped, the call counts as unrecorded again.
#[must_use = "keep it once the transaction has committed"]
pub(crate) struct Recorded(Option<Taken>);

impl Recorded {
    pub(crate) fn keep(self) {
        if let Some(taken) = self.0 {
            taken.keep();
        }
    }
}

/// A draft on its way into the outbox.
struct Taken {
    pending: Arc<Mutex<Option<Draft>>>,
    draft: Option<Draft>,
}

impl Taken {
    fn take() -> Option<Self> {
        let pending = PENDING.try_with(Arc::clone).ok()?;
        let draft = pending.lock().unwrap_or_else(PoisonError::into_inner).take();
        draft.is_some().then_some(Self { pending, draft })
    }

    fn record(&self, outcome: Code) -> CallAudited {
        let Draft { method, resource, caller, request_json } =
            self.draft.clone().unwrap_or_default();
        CallAudited {
            method,
            resource,
            outcome: code_name(outcome).to_owned(),
            request_json,
            caller,
        }
    }

    fn keep(mut self) {
        self.draft = None;
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(draft) = self.draft.take() {
            *self.pending.lock().unwrap_or_else(PoisonError::into_inner) = Some(draft);
        }
    }
}
