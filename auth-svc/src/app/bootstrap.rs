//! The first administrator.

use mainstay::kernel::telemetry::hashed_subject;

use super::App;
use crate::domain::{ADMIN_ROLE, AuthError, MEMBER_ROLE, Password};

/// The name that others see until the administrator chooses another.
const ADMIN_DISPLAY_NAME: &str = "Administrator";

impl App {
    /// Registers the administrator named in the settings unless an account has the address; then that
    /// account is left alone, with its password and its roles as they are.
    pub async fn bootstrap_admin_create(&self) -> Result<(), AuthError> {
        let email = self.config.bootstrap_admin_email.trim();
        if email.is_empty() {
            return Ok(());
        }
        let password = self.config.bootstrap_admin_password.expose().clone();
        let password = Password::chosen("bootstrap_admin_password", password)?;
        let roles = [MEMBER_ROLE, ADMIN_ROLE];
        match self.account_create(email, &password, ADMIN_DISPLAY_NAME, &roles).await {
            Ok(account) => {
                tracing::info!(
                    about = hashed_subject(&account.id.to_string()),
                    "the bootstrap administrator was registered"
                );
                Ok(())
            }
            Err(AuthError::EmailTaken) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
