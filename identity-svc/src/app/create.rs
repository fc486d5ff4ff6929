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
}
