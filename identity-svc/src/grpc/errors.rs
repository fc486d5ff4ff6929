//! What went wrong with a user, as a row of the error-code table.

use std::time::Duration;

use mainstay::contract::identity::USER_EMAIL_TAKEN;
use mainstay::kernel::error::{ABORTED, ETAG_MISMATCH, Error};
use tonic::Status;

use crate::domain::UserError;

impl From<UserError> for Error {
    fn from(error: UserError) -> Self {
        let message = error.to_string();
        match error {
            UserError::NotFound(id) => Self::not_found("user", id),
            UserError::BeingCreated(_) => Self::unavailable(message),
            UserError::EmailTaken => Self::new(USER_EMAIL_TAKEN, message),
            UserError::EtagMismatch => Self::new(ETAG_MISMATCH, message),
            UserError::Contended => {
                Self::new(ABORTED, message).retry_after(Duration::from_millis(100))
            }
            UserError::Field { field, reason } => Self::invalid(field, reason),
            UserError::Failed(cause) => cause.downcast().unwrap_or_else(Self::internal),
        }
    }
}

impl From<UserError> for Status {
    fn from(error: UserError) -> Self {
        Error::from(error).into()
    }
}

#[cfg(test)]
mod tests {
    use mainstay::kernel::error::UNAVAILABLE;

    use super::*;

    #[test]
    fn a_failure_of_the_kernel_keeps_its_code() {
        let failed = UserError::Failed(Error::unavailable("the database is away").into());
        assert!(Error::from(failed).is(&UNAVAILABLE));
    }
}
