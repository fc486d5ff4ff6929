//! Who calls, in which request, until when.
//!
//! The server and the gateway put a [`Call`] around every request; handlers read it with
//! [`current`], and the client channel hands it on: request id, trace, user and deadline.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::kernel::error::{Error, Result, UNAUTHENTICATED};

tokio::task_local! {
    static CALL: Arc<Call>;
}

/// The request that is being served.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// Id of the request, the same in every service it passes.
    pub request_id: String,
    /// The mesh identity the call came from, such as `gateway`; the client address at the edge.
    pub peer: String,
    /// The user on whose behalf it is made.
    pub user: Option<User>,
    /// When the caller stops waiting.
    pub deadline: Option<Instant>,
}

/// A user who was authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Id of the user.
    pub id: String,
    /// The user's plan, as the gateway or the access token knows it.
    pub plan: String,
    /// Id of the session whose access token was used.
    pub session_id: Option<String>,
}

impl Call {
    /// The user, or `UNAUTHENTICATED`.
    pub fn require_user(&self) -> Result<&User> {
        self.user.as_ref().ok_or_else(|| Error::new(UNAUTHENTICATED, "an access token is needed"))
    }

    /// Who acts, as events and audit name it: `user:<id>` or `service:<peer>`.
    pub fn actor(&self) -> String {
        match &self.user {
            Some(user) => format!("user:{}", user.id),
            None => format!("service:{}", self.peer),
        }
    }
}

/// A new id of a request: a UUIDv7. Not `Uuid::now_v7`, which takes a lock of the whole process so that ids of
/// one millisecond are in order; that of requests does not matter.
pub fn new_request_id() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = since.as_millis() as u64;
    uuid::Builder::from_unix_timestamp_millis(millis, &rand::random()).into_uuid().to_string()
}

/// The call that is being served by this task; `None` in consumers, jobs and at start.
pub fn current() -> Option<Arc<Call>> {
    CALL.try_with(Arc::clone).ok()
}

/// The user on whose behalf this task works, or `UNAUTHENTICATED`.
pub fn current_user() -> Result<User> {
    current()
        .and_then(|call| call.user.clone())
        .ok_or_else(|| Error::new(UNAUTHENTICATED, "an access token is needed"))
}

/// Runs `future` as part of `call`.
pub async fn scope<F: Future>(call: Arc<Call>, future: F) -> F::Output {
    CALL.scope(call, future).await
}
