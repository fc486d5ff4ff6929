//! What is left to do of a registration once its account is there.

use serde::{Deserialize, Serialize};

use super::UserId;

/// The name of the saga that completes registrations; its id is that of the user.
pub const REGISTRATION: &str = "registration";

/// What the saga needs to know. What else there is, the account says: personal data stays there, and
/// goes with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// Id of the user.
    pub user_id: String,
    /// Names of the roles the account begins with.
    pub roles: Vec<String>,
}

impl Registration {
    /// That of a new account.
    pub fn new(user_id: UserId, roles: &[&str]) -> Self {
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        Self { user_id: user_id.to_string(), roles }
    }
}
