//! What other services say of a user: roles, plan, and that the user is gone.

use chrono::Utc;

use super::App;
use crate::domain::{AuthError, Plan, UserId};

impl App {
    /// Authz has bound a role, everywhere.
    pub async fn role_bound(&self, user_id: UserId, role: &str) -> Result<(), AuthError> {
        self.accounts.role_add(user_id, role).await
    }

    /// Authz has taken a role that held everywhere.
    pub async fn role_unbound(&self, user_id: UserId, role: &str) -> Result<(), AuthError> {
        self.accounts.role_remove(user_id, role).await
    }

    /// Billing has changed the plan.
    pub async fn plan_changed(&self, user_id: UserId, plan: &Plan) -> Result<(), AuthError> {
        self.accounts.plan_change(user_id, plan).await
    }

    /// Identity has deleted the user: the account is closed, its sessions end, its address is free.
    pub async fn user_deleted(&self, user_id: UserId) -> Result<(), AuthError> {
        self.accounts.account_close(user_id, Utc::now()).await
    }
}
