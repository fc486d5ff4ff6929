//! What can go wrong with a user.

use super::UserId;
use mainstay::contract::email::NotAnEmail;

/// A use case that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// There is no such user, or the user was deleted.
    #[error("user {0} does not exist")]
    NotFound(UserId),
    /// The user is registered, but the registration has not arrived here yet.
    #[error("user {0} is being created")]
    BeingCreated(UserId),
    /// Another user who is not deleted has the address.
    #[error("the e-mail address belongs to another user")]
    EmailTaken,
    /// The state that the caller saw is no longer the current one.
    #[error("the user was changed since; read it again")]
    EtagMismatch,
    /// Others changed the user at the same time, again and again.
    #[error("the user is being changed by others; try again")]
    Contended,
    /// A field is not acceptable.
    #[error("{field}: {reason}")]
    Field {
        /// The field as the contract names it.
        field: String,
        /// What is wrong with it, a lower-case fragment.
        reason: String,
    },
    /// What stands behind a port failed; the cause is for our log.
    #[error(transparent)]
    Failed(anyhow::Error),
}

impl UserError {
    /// A field is not acceptable.
    pub fn field(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Field { field: field.into(), reason: reason.into() }
    }
}

impl From<NotAnEmail> for UserError {
    fn from(fault: NotAnEmail) -> Self {
        Self::field("email", fault.to_string())
    }
}
