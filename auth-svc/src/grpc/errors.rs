//! What went wrong in auth, as a row of the error-code table.

use std::time::Duration;

use mainstay::contract::auth::{
    API_KEY_INVALID, API_KEY_NOT_FOUND, EMAIL_TAKEN, INVALID_CREDENTIALS, LOGIN_NEEDED, OVERLOADED,
    SESSION_NOT_FOUND, TOKEN_INVALID, TOKEN_REUSED, TOO_MANY_API_KEYS,
};
use mainstay::kernel::error::{Error, RATE_LIMITED};
use tonic::Status;

use crate::domain::AuthError;

/// When to come back while too many passwords are being checked.
const OVERLOAD_PAUSE: Duration = Duration::from_secs(1);

impl From<AuthError> for Error {
    fn from(error: AuthError) -> Self {
        let message = error.to_string();
        match error {
            AuthError::EmailTaken => Self::new(EMAIL_TAKEN, message),
            AuthError::InvalidCredentials => Self::new(INVALID_CREDENTIALS, message),
            AuthError::TokenInvalid => Self::new(TOKEN_INVALID, message),
            AuthError::TokenReused => Self::new(TOKEN_REUSED, message),
            AuthError::SessionNotFound(_) => Self::new(SESSION_NOT_FOUND, message),
            AuthError::ApiKeyInvalid => Self::new(API_KEY_INVALID, message),
            AuthError::ApiKeyNotFound(_) => Self::new(API_KEY_NOT_FOUND, message),
            AuthError::TooManyApiKeys { .. } => Self::new(TOO_MANY_API_KEYS, message),
            AuthError::LoginNeeded => Self::new(LOGIN_NEEDED, message),
            AuthError::Throttled { retry_after } => {
                Self::new(RATE_LIMITED, message).retry_after(retry_after)
            }
            AuthError::Overloaded => Self::new(OVERLOADED, message).retry_after(OVERLOAD_PAUSE),
            AuthError::Field { field, reason } => Self::invalid(field, reason),
            AuthError::Failed(cause) => cause.downcast().unwrap_or_else(Self::internal),
        }
    }
}

impl From<AuthError> for Status {
    fn from(error: AuthError) -> Self {
        Error::from(error).into()
    }
}
