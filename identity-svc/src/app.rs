//! The use cases. [`App`] is a struct of ports; each file below adds one group of cases.

mod change;
mod create;
mod read;

use std::sync::Arc;

use crate::domain::{User, UserError, UserId, UserStore};

pub use read::{UserPage, UserQuery};

/// What identity can do.
pub struct App {
    users: Arc<dyn UserStore>,
}

impl App {
    /// The use cases over their ports.
    pub fn new(users: Arc<dyn UserStore>) -> Self {
        Self { users }
    }

    /// The user, unless deleted.
    ///
    /// Auth gives out tokens from the moment of registration, and the registration comes here by an
    /// event: a `caller` who asks for themselves and is not known yet is being created.
    async fn user_present(&self, id: UserId, caller: Option<UserId>) -> Result<User, UserError> {
        match self.users.user_read(id).await? {
            Some(user) if user.delete_time.is_none() => Ok(user),
            None if caller == Some(id) => Err(UserError::BeingCreated(id)),
            _ => Err(UserError::NotFound(id)),
        }
    }
}
