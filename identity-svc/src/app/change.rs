//! Changing and deleting users.

use chrono::Utc;
use mainstay::kernel::etag::IfMatch;

use super::App;
use crate::domain::{ProfileChange, User, UserError, UserEvent, UserId};

/// How often a change is tried anew when others change the same user at the same time.
const ATTEMPTS: usize = 5;

impl App {
    /// Changes a user's profile. Only if its current state is an `expected` one.
    pub async fn user_update(
        &self,
        id: UserId,
        caller: Option<UserId>,
        change: &ProfileChange,
        expected: &IfMatch,
    ) -> Result<User, UserError> {
        self.user_change(id, caller, expected, |user| user.updated(change, Utc::now())).await
    }

    /// Deletes a user softly: the record is kept, but appears in no list.
    pub async fn user_delete(&self, id: UserId, caller: Option<UserId>) -> Result<(), UserError> {
        self.user_change(id, caller, &IfMatch::default(), |user| Some(user.deleted(Utc::now())))
            .await?;
        Ok(())
    }

    /// Brings a user to the next state that `decide` names; `None` leaves the user as it is.
    async fn user_change(
        &self,
        id: UserId,
        caller: Option<UserId>,
        expected: &IfMatch,
        decide: impl Fn(&User) -> Option<(User, UserEvent)>,
    ) -> Result<User, UserError> {
        for _ in 0..ATTEMPTS {
            let user = self.user_present(id, caller).await?;
            user.require_etag(expected)?;
            let Some((next, event)) = decide(&user) else { return Ok(user) };
            if self.users.user_update(&next, user.version, &event).await? {
                return Ok(next);
            }
        }
        Err(UserError::Contended)
    }
}
