//! What can go wrong in auth.

use mainstay::contract::email::NotAnEmail;
use std::time::Duration;

use super::{ApiKeyId, SessionId};

/// A use case that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// An account that is not closed has the address.
    #[error("the e-mail address belongs to an account already")]
    EmailTaken,
    /// Address and password do not fit together. Which of them is wrong is not said.
    #[error("e-mail address and password do not fit together")]
    InvalidCredentials,
    /// The refresh token is unknown, expired, or of a session that is over.
    #[error("the refresh token is not valid")]
    TokenInvalid,
    /// The refresh token was used before; its session was ended.
    #[error("the refresh token was used before: its session was ended")]
    TokenReused,
    /// The caller has no such session.
    #[error("session {0} does not exist")]
    SessionNotFound(SessionId),
    /// The API key is unknown, expired or ended.
    #[error("the API key is not valid")]
    ApiKeyInvalid,
    /// The caller has no such API key.
    #[error("API key {0} does not exist")]
    ApiKeyNotFound(ApiKeyId),
    /// The caller has as many API keys as anybody may have.
    #[error("there are {most} API keys already: revoke one first")]
    TooManyApiKeys {
        /// How many those are.
        most: u32,
    },
    /// Only a session that began with a login may do it.
    #[error("API keys are made after a login, not with an API key")]
    LoginNeeded,
    /// Too many wrong passwords.
    #[error("too many attempts")]
    Throttled {
        /// When the next attempt is heard.
        retry_after: Duration,
    },
    /// More passwords wait to be hashed than can be hashed in good time.
    #[error("too many passwords are being checked; try again")]
    Overloaded,
    /// A field is not acceptable.
    #[error("{field}: {reason}")]
    Field {
        /// The field as the contract names it.
        field: &'static str,
        /// What is wrong with it, a lower-case fragment.
        reason: &'static str,
    },
    /// What stands behind a port failed; the cause is for our log.
    #[error(transparent)]
    Failed(anyhow::Error),
}

impl AuthError {
    /// A field is not acceptable.
    pub const fn field(field: &'static str, reason: &'static str) -> Self {
        Self::Field { field, reason }
    }

    /// Something failed that the caller has no part in.
    pub fn failed(cause: impl Into<anyhow::Error>) -> Self {
        Self::Failed(cause.into())
    }
}

impl From<NotAnEmail> for AuthError {
    fn from(_: NotAnEmail) -> Self {
        Self::field("email", "must be an e-mail address")
    }
}
