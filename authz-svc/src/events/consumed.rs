//! What authz does when others tell something. Handlers run inside the inbox's transaction, so each
//! event takes effect once.

use std::sync::Arc;

use mainstay::contract::auth::proto::AccountRegistered;
use mainstay::contract::identity::proto::UserDeleted;
use mainstay::kernel::Result;
use mainstay::kernel::events::{Consumer, Received};
use mainstay::kernel::proto::events::{PermissionDeclaration, ServiceDeclared};

use crate::app::App;
use crate::domain::{DeclaredPermission, PermissionName, Subject};

/// Keeps bindings and catalogue as accounts, users and services come and go.
pub fn roles(app: Arc<App>) -> Consumer {
    let (accounts, users, services) = (app.clone(), app.clone(), app);
    Consumer::new("roles")
        .on(move |event| account_registered(accounts.clone(), event))
        .on(move |event| user_deleted(users.clone(), event))
        .on(move |event| service_declared(services.clone(), event))
}

async fn account_registered(app: Arc<App>, event: Received<AccountRegistered>) -> Result<()> {
    let subject = user(&event.payload.user_id)?;
    app.account_registered(&subject, &event.payload.roles).await
}

async fn user_deleted(app: Arc<App>, event: Received<UserDeleted>) -> Result<()> {
    app.user_deleted(&user(&event.payload.user_id)?).await
}

async fn service_declared(app: Arc<App>, event: Received<ServiceDeclared>) -> Result<()> {
    let service = event.payload.service;
    let mut declared: Vec<DeclaredPermission> = event
        .payload
        .permissions
        .into_iter()
        .filter_map(|declaration| permission_of(&service, declaration))
        .collect();
    declared.sort_by(|one, other| one.name.cmp(&other.name));
    declared.dedup_by(|one, other| one.name == other.name);
    app.service_declared(&service, &declared).await
}

/// One malformed name must not keep the service's other permissions out of the catalogue.
fn permission_of(service: &str, declaration: PermissionDeclaration) -> Option<DeclaredPermission> {
    match PermissionName::parse("name", &declaration.name) {
        Ok(name) => Some(DeclaredPermission {
            name,
            description: declaration.description,
            service: service.to_owned(),
        }),
        Err(error) => {
            tracing::warn!(service, %error, "a service declares a malformed permission");
            None
        }
    }
}

fn user(id: &str) -> Result<Subject> {
    Subject::parse("user_id", &format!("user:{id}"))
}
