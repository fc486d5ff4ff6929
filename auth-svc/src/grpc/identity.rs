//! What auth asks of identity.

use std::sync::Arc;

use async_trait::async_trait;
use mainstay::contract::identity::IdentityClient;
use mainstay::contract::identity::proto::{CreateUserRequest, WithdrawUserRequest};
use mainstay::kernel::time::timestamp;

use crate::domain::{Account, AuthError, UserDirectory};

/// The users, behind identity's client trait.
pub struct IdentityDirectory {
    identity: Arc<dyn IdentityClient>,
}

impl IdentityDirectory {
    /// The users that identity keeps.
    pub fn new(identity: Arc<dyn IdentityClient>) -> Self {
        Self { identity }
    }
}

#[async_trait]
impl UserDirectory for IdentityDirectory {
    async fn user_create(&self, account: &Account) -> Result<(), AuthError> {
        let request = CreateUserRequest {
            user_id: account.id.to_string(),
            email: account.email.as_typed().to_owned(),
            display_name: account.display_name.clone(),
            register_time: Some(timestamp(account.create_time)),
        };
        self.identity.create_user(request).await?;
        Ok(())
    }

    async fn user_withdraw(&self, account: &Account) -> Result<(), AuthError> {
        let request = WithdrawUserRequest {
            user_id: account.id.to_string(),
            email: account.email.as_typed().to_owned(),
            display_name: account.display_name.clone(),
            register_time: Some(timestamp(account.create_time)),
        };
        self.identity.withdraw_user(request).await?;
        Ok(())
    }
}
