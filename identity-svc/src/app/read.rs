//! Looking users up.

use chrono::{DateTime, Utc};

use super::App;
use crate::domain::{User, UserError, UserFilter, UserId};

/// Which page of which users.
#[derive(Clone, Debug)]
pub struct UserQuery {
    /// Which users.
    pub filter: UserFilter,
    /// Position of the last user seen.
    pub after: Option<(DateTime<Utc>, UserId)>,
    /// The most users to return.
    pub limit: u32,
    /// Whether all matching users are counted.
    pub include_total: bool,
}

/// A page of users.
#[derive(Clone, Debug)]
pub struct UserPage {
    /// The users, newest first.
    pub users: Vec<User>,
    /// Position of the last one, when there are more.
    pub next: Option<(DateTime<Utc>, UserId)>,
    /// How many match in all, when asked for.
    pub total: Option<u64>,
}

impl App {
    /// One user, on behalf of `caller`.
    pub async fn user_get(&self, id: UserId, caller: Option<UserId>) -> Result<User, UserError> {
        self.user_present(id, caller).await
    }

    /// A page of users, newest first.
    pub async fn user_list(&self, query: &UserQuery) -> Result<UserPage, UserError> {
        let limit = query.limit as usize;
        // One more than asked for tells whether there is a next page.
        let mut users =
            self.users.user_list(&query.filter, query.after, u64::from(query.limit) + 1).await?;
        let more = users.len() > limit;
        users.truncate(limit);
        let next = users.last().filter(|_| more).map(|user| (user.create_time, user.id));
        let total = match query.include_total {
            true => Some(self.users.user_count(&query.filter).await?),
            false => None,
        };
        Ok(UserPage { users, next, total })
    }
}
