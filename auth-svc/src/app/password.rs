//! Changing one's password.

use chrono::Utc;

use super::App;
use crate::domain::{AuthError, Password, SessionId, UserId};

impl App {
    /// Changes a password and ends the user's sessions but `keep`, the one that asks: whoever else
    /// knew the old password is out.
    pub async fn password_change(
        &self,
        user_id: UserId,
        keep: Option<SessionId>,
        current: &Password,
        new: &Password,
    ) -> Result<(), AuthError> {
        let wrong = AuthError::field("current_password", "is not the password");
        let account = self.accounts.account_read(user_id).await?;
        let account = account.ok_or(AuthError::InvalidCredentials)?;
        if !self.password_check(&user_id.to_string(), current, Some(&account.password)).await? {
            return Err(wrong);
        }
        let next = self.passwords.hash(new).await?;
        let now = Utc::now();
        let previous = &account.password;
        match self.accounts.password_change(user_id, previous, &next, keep, now).await? {
            true => Ok(()),
            false => Err(wrong),
        }
    }
}
