//! What the use cases need of the outside.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{User, UserError, UserEvent, UserId};

/// Which users a list shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserFilter {
    /// Only the user whose e-mail address has this [`Email::key`](super::Email::key).
    pub email_key: Option<String>,
    /// Deleted users too.
    pub show_deleted: bool,
}

/// Where users are kept.
///
/// A method that changes something stores the change and its event in one transaction: both are
/// there afterwards, or neither is.
#[async_trait]
pub trait UserStore: Send + Sync {
    /// Adds a user. When a user of this id is there, deleted or not, nothing changes and that one is
    /// returned. `EmailTaken` when a user who is not deleted has the address.
    async fn user_create(&self, user: &User, event: &UserEvent) -> Result<User, UserError>;

    /// The user of this id, deleted or not.
    async fn user_read(&self, id: UserId) -> Result<Option<User>, UserError>;

    /// Replaces the state of `previous_version`; `false` when the user has left that version.
    async fn user_update(
        &self,
        user: &User,
        previous_version: u64,
        event: &UserEvent,
    ) -> Result<bool, UserError>;

    /// At most `limit` users, newest first, after the position of the last one seen.
    async fn user_list(
        &self,
        filter: &UserFilter,
        after: Option<(DateTime<Utc>, UserId)>,
        limit: u64,
    ) -> Result<Vec<User>, UserError>;

    /// How many users there are.
    async fn user_count(&self, filter: &UserFilter) -> Result<u64, UserError>;
}
