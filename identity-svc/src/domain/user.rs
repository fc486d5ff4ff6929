//! Users.

use chrono::{DateTime, SubsecRound as _, Utc};
use mainstay::contract::identity::user_etag;
use mainstay::kernel::etag::IfMatch;

use super::{Email, Profile, ProfileChange, ProfileField, UserError, UserEvent, UserId};

/// A user of the platform, deleted or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Given by auth at registration, never changed.
    pub id: UserId,
    /// Changed through auth only.
    pub email: Email,
    /// What the user says of themselves.
    pub profile: Profile,
    /// Counts the states of this user, from 1.
    pub version: u64,
    /// When the account was registered.
    pub create_time: DateTime<Utc>,
    /// When the user was last changed.
    pub update_time: DateTime<Utc>,
    /// When the user was deleted.
    pub delete_time: Option<DateTime<Utc>>,
}

impl User {
    /// The user of a newly registered account. Times are kept to the microsecond, as the store
    /// keeps them.
    pub fn new(id: UserId, email: Email, display_name: &str, register_time: DateTime<Utc>) -> Self {
        let create_time = register_time.trunc_subsecs(6);
        Self {
            id,
            email,
            profile: Profile::default().with(ProfileField::DisplayName, display_name.trim()),
            version: 1,
            create_time,
            update_time: create_time,
            delete_time: None,
        }
    }

    /// The etag of this state.
    pub fn etag(&self) -> String {
        user_etag(self.id, self.version)
    }

    /// Refuses with `EtagMismatch` unless this is a state that the caller saw.
    pub fn require_etag(&self, expected: &IfMatch) -> Result<(), UserError> {
        if expected.allows(&self.etag()) { Ok(()) } else { Err(UserError::EtagMismatch) }
    }

    /// The next state after a change of the profile and its event; `None` when nothing differs.
    pub fn updated(&self, change: &ProfileChange, now: DateTime<Utc>) -> Option<(Self, UserEvent)> {
        let mut next = self.next(now);
        let changed = next.profile.apply(change);
        let event = UserEvent::Updated { user_id: self.id, changed: changed.clone() };
        (!changed.is_empty()).then_some((next, event))
    }

    /// The next state, deleted, and its event.
    pub fn deleted(&self, now: DateTime<Utc>) -> (Self, UserEvent) {
        let mut next = self.next(now);
        next.delete_time = Some(next.update_time);
        (next, UserEvent::Deleted { user_id: self.id })
    }

    /// The event that tells of this new user.
    pub fn created(&self) -> UserEvent {
        UserEvent::Created {
            user_id: self.id,
            email: self.email.clone(),
            display_name: self.profile.get(ProfileField::DisplayName).to_owned(),
        }
    }

    fn next(&self, now: DateTime<Utc>) -> Self {
        // A clock set back must not make a state older than the one before.
        let update_time = now.trunc_subsecs(6).max(self.update_time);
        Self { version: self.version + 1, update_time, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ada() -> User {
        let email = Email::parse("ada@example.com").expect("an address");
        User::new(UserId::new(), email, "Ada", Utc::now())
    }

    #[test]
    fn each_state_has_its_own_etag() {
        let ada = ada();
        let (deleted, _) = ada.deleted(Utc::now());
        assert_ne!(ada.etag(), deleted.etag());
        let expected = IfMatch::default().and("etag", &ada.etag()).expect("no header");
        assert!(ada.require_etag(&expected).is_ok());
        assert!(matches!(deleted.require_etag(&expected), Err(UserError::EtagMismatch)));
    }

    #[test]
    fn what_changes_nothing_makes_no_new_state() {
        let ada = ada();
        let same = ProfileChange::default().set("", ProfileField::DisplayName, "Ada");
        assert_eq!(ada.updated(&same.expect("acceptable"), Utc::now()), None);
    }
}
