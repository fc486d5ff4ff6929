//! What auth asks of authz.

use std::sync::Arc;

use async_trait::async_trait;
use mainstay::contract::authz::AuthzClient;
use mainstay::contract::authz::proto::BindInitialRolesRequest;

use crate::domain::{AuthError, RoleDirectory, UserId};

/// The roles, behind authz's client trait.
pub struct AuthzDirectory {
    authz: Arc<dyn AuthzClient>,
}

impl AuthzDirectory {
    /// The roles that authz binds.
    pub fn new(authz: Arc<dyn AuthzClient>) -> Self {
        Self { authz }
    }
}

#[async_trait]
impl RoleDirectory for AuthzDirectory {
    async fn roles_bind(&self, id: UserId, roles: &[String]) -> Result<(), AuthError> {
        let request =
            BindInitialRolesRequest { user_id: id.to_string(), role_names: roles.to_vec() };
        self.authz.bind_initial_roles(request).await?;
        Ok(())
    }
}
