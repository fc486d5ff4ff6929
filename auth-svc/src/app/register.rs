//! Registering accounts.
//!
//! Auth decides alone, in one transaction: the account, the event `AccountRegistered` and the saga that
//! completes the registration are there afterwards, or none of them is. Everything else follows:
//! identity creates the user, authz binds the roles, audit records. Before the commit nothing exists,
//! after it everything will, or, where a service refuses its part for good, nothing again.

use chrono::Utc;
use mainstay::kernel::telemetry::hashed_subject;

use super::App;
use crate::domain::{Account, AuthError, Email, MEMBER_ROLE, Password};

impl App {
    /// Registers an account, and makes its user visible at once if identity is there.
    pub async fn register(
        &self,
        email: &str,
        password: &Password,
        display_name: &str,
    ) -> Result<Account, AuthError> {
        let account = self.account_create(email, password, display_name, &[MEMBER_ROLE]).await?;
        self.user_await(&account).await;
        Ok(account)
    }

    /// Registers an account that begins with these roles.
    pub(super) async fn account_create(
        &self,
        email: &str,
        password: &Password,
        display_name: &str,
        roles: &[&str],
    ) -> Result<Account, AuthError> {
        let email = Email::parse(email)?;
        if display_name.contains(char::is_control) {
            return Err(AuthError::field("display_name", "must not contain control characters"));
        }
        // The store decides; this only spares hashing a password in vain.
        if self.accounts.account_by_email(&email.key()).await?.is_some() {
            return Err(AuthError::EmailTaken);
        }
        let hash = self.passwords.hash(password).await?;
        let account = Account::new(email, display_name, hash, Utc::now());
        self.accounts.account_create(&account, roles).await?;
        Ok(account)
    }

    /// Waits until identity has the user, if it is there. Whatever comes of it, the registration
    /// stands.
    async fn user_await(&self, account: &Account) {
        let patience = self.config.user_create_timeout;
        if let Err(error) = self.accounts.registration_wait(account.id, patience).await {
            tracing::info!(about = hashed_subject(&account.id.to_string()), error = %error, "the user follows");
        }
    }
}
