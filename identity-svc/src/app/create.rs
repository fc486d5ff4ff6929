//! Users come into being from the accounts that auth registers.

use chrono::{DateTime, Utc};

use super::App;
use crate::domain::{Email, User, UserError, UserId};

impl App {
    /// Creates the user of a registered account. Repeating it changes nothing and returns the user
    /// as it is: the same registration comes by an event and, to be visible at once, by a call.
    pub async fn user_create(
        &self,
        id: UserId,
        email: &str,
        display_name: &str,
        register_time: DateTime<Utc>,
    ) -> Result<User, UserError> {
        let user = User::new(id, Email::parse(email)?, display_name, register_time);
        self.users.user_create(&user, &user.created()).await
    }

    /// Takes back the user of a registration that was refused, here or elsewhere. One who is not
    /// there is added as deleted, so that a creation that comes late changes nothing.
    pub async fn user_withdraw(
        &self,
        id: UserId,
        email: &str,
        display_name: &str,
        register_time: DateTime<Utc>,
    ) -> Result<(), UserError> {
        // What is no address here creates nobody, early or late.
        let Ok(email) = Email::parse(email) else { return Ok(()) };
        let user = User::new(id, email, display_name, register_time);
        let (deleted, event) = user.deleted(Utc::now());
        let kept = self.users.user_create(&deleted, &event).await?;
        if kept.delete_time.is_some() {
            return Ok(());
        }
        match self.user_delete(id, None).await {
            Err(UserError::NotFound(_)) => Ok(()),
            other => other,
        }
    }
}
