//! Completing registrations: the saga that follows from each.
//!
//! | step | done by | undone by |
//! |---|---|---|
//! | `open-account` | the transaction that registers | closing the account, with `RegistrationWithdrawn` |
//! | `create-user` | identity, `CreateUser` | identity, `WithdrawUser` |
//! | `bind-roles` | authz, `BindInitialRoles` | authz itself, which hears that the user is gone |
//!
//! A service that is away is waited for, as long as it takes: the registration stands. Only one that
//! refuses its part for good has the registration taken back.

use std::sync::Arc;

use chrono::Utc;
use mainstay::kernel::Result;
use mainstay::kernel::saga::{Saga, Step, StepCall};
use mainstay::kernel::telemetry::hashed_subject;

use super::App;
use crate::domain::{REGISTRATION, Registration, UserId};

/// The saga of a registration.
pub fn registration(app: Arc<App>) -> Saga {
    let (closing, creating, withdrawing, binding) = (app.clone(), app.clone(), app.clone(), app);
    Saga::new(REGISTRATION)
        .step(Step::begun("open-account").compensate_local(
            move |_: StepCall, data: Registration| {
                let app = closing.clone();
                async move { app.account_withdraw(&data).await.map(|()| data) }
            },
        ))
        .step(
            Step::new("create-user", move |_: StepCall, data: Registration| {
                let app = creating.clone();
                async move { app.user_create(&data).await.map(|()| data) }
            })
            .compensate(move |_: StepCall, data: Registration| {
                let app = withdrawing.clone();
                async move { app.user_withdraw(&data).await.map(|()| data) }
            }),
        )
        .step(Step::new("bind-roles", move |_: StepCall, data: Registration| {
            let app = binding.clone();
            async move { app.roles_bind(&data).await.map(|()| data) }
        }))
}

impl App {
    /// Creates the user. Whose account is closed was there, and has been deleted.
    async fn user_create(&self, registration: &Registration) -> Result<()> {
        let id = UserId::parse(&registration.user_id)?;
        match self.accounts.account_read(id).await? {
            Some(account) => Ok(self.users.user_create(&account).await?),
            None => Ok(()),
        }
    }

    /// Takes the user back. Whose account is closed is deleted already.
    async fn user_withdraw(&self, registration: &Registration) -> Result<()> {
        let id = UserId::parse(&registration.user_id)?;
        match self.accounts.account_read(id).await? {
            Some(account) => Ok(self.users.user_withdraw(&account).await?),
            None => Ok(()),
        }
    }

    async fn roles_bind(&self, registration: &Registration) -> Result<()> {
        let id = UserId::parse(&registration.user_id)?;
        Ok(self.roles.roles_bind(id, &registration.roles).await?)
    }

    async fn account_withdraw(&self, registration: &Registration) -> Result<()> {
        let id = UserId::parse(&registration.user_id)?;
        tracing::warn!(about = hashed_subject(&id.to_string()), "a registration is taken back");
        Ok(self.accounts.registration_withdraw(id, Utc::now()).await?)
    }
}
