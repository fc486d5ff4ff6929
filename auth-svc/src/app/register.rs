//! Registering accounts.
//!
//! Auth decides alone, in one transaction: the account and the event `AccountRegistered` are there
//! afterwards, or neither is. Everything else follows from the event, delivered at least once to
//! consumers that are idempotent: identity creates the user, authz binds the roles, audit records.
//! Before the commit nothing exists, after it everything will: there is no partial state to mend.

use std::time::Duration;

use chrono::Utc;

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
        self.user_announce(&account, self.config.user_create_timeout).await;
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

    /// Asks identity for the user now rather than when the event arrives. Whatever comes of it, the
    /// registration stands.
    async fn user_announce(&self, account: &Account, patience: Duration) {
        let outcome = tokio::time::timeout(patience, self.users.user_create(account)).await;
        match outcome {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::info!(user_id = %account.id, error = %error, "the user follows by event");
            }
            Err(_) => {
                tracing::info!(user_id = %account.id, "identity is slow: the user follows by event");
            }
        }
    }
}
