//! Accounts: who may log in, and what their tokens say of them.

use chrono::{DateTime, SubsecRound as _, Utc};

use super::{AuthEvent, Email, PasswordHash, UserId};

/// The role every account begins with.
pub const MEMBER_ROLE: &str = "member";
/// The role of the bootstrap administrator.
pub const ADMIN_ROLE: &str = "admin";
/// The plan every account begins with.
pub const FREE_PLAN: &str = "free";

/// The account of a user, open until the user is deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Id of the user, given here.
    pub id: UserId,
    /// What the user logs in with.
    pub email: Email,
    /// The name at registration; from then on identity has it.
    pub display_name: String,
    /// How the password is recognized.
    pub password: PasswordHash,
    /// When it was registered, to the microsecond, as the store keeps it.
    pub create_time: DateTime<Utc>,
}

impl Account {
    /// A new account.
    pub fn new(
        email: Email,
        display_name: &str,
        password: PasswordHash,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            id: UserId::new(),
            email,
            display_name: display_name.trim().to_owned(),
            password,
            create_time: now.trunc_subsecs(6),
        }
    }

    /// The event that tells of this registration.
    pub fn registered(&self, roles: &[&str]) -> AuthEvent {
        AuthEvent::AccountRegistered {
            account: Box::new(self.clone()),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        }
    }
}

/// What auth has heard of a user's roles and plan, for the claims of access tokens.
///
/// Authz and billing own these facts and decide by them. The copy here is for whoever wants to know
/// without asking, and is at most the age of an access token and an event's way behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grants {
    /// Names of the roles that hold everywhere, sorted.
    pub roles: Vec<String>,
    /// Name of the plan.
    pub plan: String,
}

/// What billing said of a user's plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Name of the plan.
    pub name: String,
    /// The subscription it comes from; ids sort by age. Empty before the first.
    pub subscription_id: String,
    /// Grows with every change of that subscription.
    pub version: i64,
}

impl Plan {
    /// The plan of a user who never subscribed.
    pub fn free() -> Self {
        Self { name: FREE_PLAN.to_owned(), subscription_id: String::new(), version: 0 }
    }

    /// Whether this came after `known`: of the same subscription with a higher version, or of a
    /// later subscription. Events may come repeatedly and out of order.
    pub fn supersedes(&self, known: &Self) -> bool {
        (self.subscription_id.as_str(), self.version)
            > (known.subscription_id.as_str(), known.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(subscription_id: &str, version: i64) -> Plan {
        Plan { name: "paid".into(), subscription_id: subscription_id.into(), version }
    }

    #[test]
    fn only_a_later_plan_supersedes() {
        assert!(plan("a", 1).supersedes(&Plan::free()));
        assert!(plan("a", 2).supersedes(&plan("a", 1)));
        assert!(plan("b", 1).supersedes(&plan("a", 7)));
        assert!(!plan("a", 1).supersedes(&plan("a", 1)));
        assert!(!plan("a", 1).supersedes(&plan("a", 2)));
        assert!(!plan("a", 9).supersedes(&plan("b", 1)));
    }
}
