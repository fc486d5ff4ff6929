//! What happens to users that others want to know.

use super::{Email, ProfileField, UserId};

/// A fact about a user, stored in the same transaction as the change it tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserEvent {
    /// The user was created from a registered account.
    Created {
        /// The user.
        user_id: UserId,
        /// The user's address.
        email: Email,
        /// The name that others see.
        display_name: String,
    },
    /// The user's profile was changed.
    Updated {
        /// The user.
        user_id: UserId,
        /// What was changed.
        changed: Vec<ProfileField>,
    },
    /// The user was deleted.
    Deleted {
        /// The user.
        user_id: UserId,
    },
}
