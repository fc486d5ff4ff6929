//! Logging in and out.

use std::time::Instant;

use chrono::Utc;

use super::{App, Tokens};
use crate::domain::{
    Account, AuthError, Email, EndReason, Password, PasswordHash, RefreshToken, Session,
};

impl App {
    /// Begins a session.
    ///
    /// Whether the address or the password is wrong can be told neither from the answer nor from the
    /// time it takes.
    pub async fn login(&self, email: &str, password: &Password) -> Result<Tokens, AuthError> {
        let email_key = Email::key_of(email);
        let account = self.accounts.account_by_email(&email_key).await?;
        let hash = account.as_ref().map(|account| &account.password);
        let fits = self.password_check(&email_key, password, hash).await?;
        match account {
            Some(account) if fits => self.session_begin(&account, password).await,
            _ => Err(AuthError::InvalidCredentials),
        }
    }

    /// Ends the session of a refresh token. An unknown token is no error: the session is over either
    /// way.
    pub async fn logout(&self, token: &RefreshToken) -> Result<(), AuthError> {
        self.sessions.session_end_by_token(token.digest(), EndReason::Logout, Utc::now()).await
    }

    /// Compares a password, braked by `throttle_key`.
    pub(super) async fn password_check(
        &self,
        throttle_key: &str,
        password: &Password,
        hash: Option<&PasswordHash>,
    ) -> Result<bool, AuthError> {
        self.throttle.check(throttle_key, Instant::now())?;
        let fits = self.passwords.verify(password, hash).await?;
        match fits {
            true => self.throttle.succeeded(throttle_key, Instant::now())?,
            false => self.throttle.failed(throttle_key, Instant::now()),
        }
        Ok(fits)
    }

    async fn session_begin(
        &self,
        account: &Account,
        password: &Password,
    ) -> Result<Tokens, AuthError> {
        let renewed = self.passwords.renewed(password, &account.password).await?;
        let session = Session::begin(account.id, self.config.session_life(), Utc::now());
        let token = RefreshToken::random();
        let begun = self
            .sessions
            .session_create(&session, token.digest(), &account.password, &renewed)
            .await?;
        if !begun {
            // Closed, or its password changed, between the comparison and now.
            return Err(AuthError::InvalidCredentials);
        }
        self.tokens(&session, token).await
    }
}
