//! What happens in auth that others want to know.

use super::{Account, SessionId, UserId};

/// A fact, stored in the same transaction as the change it tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthEvent {
    /// An account was registered: everything else about a new user follows from this.
    AccountRegistered {
        /// The account.
        account: Box<Account>,
        /// The roles it begins with.
        roles: Vec<String>,
    },
    /// A registration was taken back: its account is closed.
    RegistrationWithdrawn {
        /// Whose.
        user_id: UserId,
    },
    /// A session began.
    SessionStarted {
        /// Whose.
        user_id: UserId,
        /// Which.
        session_id: SessionId,
    },
    /// A session ended before it expired.
    SessionEnded {
        /// Whose.
        user_id: UserId,
        /// Which.
        session_id: SessionId,
        /// Why.
        reason: EndReason,
    },
    /// A password was changed.
    PasswordChanged {
        /// Whose.
        user_id: UserId,
    },
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The user logged out.
    Logout,
    /// The user revoked it.
    Revoked,
    /// A refresh token was used twice.
    TokenReuse,
    /// The password was changed.
    PasswordChanged,
    /// The user was deleted.
    UserDeleted,
}
