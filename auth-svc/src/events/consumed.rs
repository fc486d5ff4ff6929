//! What auth hears: roles from authz, plans from billing, deletions from identity.

use std::sync::Arc;

use mainstay::contract::auth::UserId;
use mainstay::contract::authz::proto::{RoleBound, RoleUnbound};
use mainstay::contract::billing::proto::SubscriptionChanged;
use mainstay::contract::identity::proto::UserDeleted;
use mainstay::kernel::Result;
use mainstay::kernel::events::{Consumer, Received};

use crate::app::App;
use crate::domain::Plan;

/// Keeps what tokens say of a user's roles and plan.
pub fn grants(app: Arc<App>) -> Consumer {
    let (bound, unbound, plan) = (app.clone(), app.clone(), app);
    Consumer::new("grants")
        .on::<RoleBound, _, _>(move |received| {
            let app = bound.clone();
            async move { role_bound(&app, &received).await }
        })
        .on::<RoleUnbound, _, _>(move |received| {
            let app = unbound.clone();
            async move { role_unbound(&app, &received).await }
        })
        .on::<SubscriptionChanged, _, _>(move |received| {
            let app = plan.clone();
            async move { subscription_changed(&app, received).await }
        })
}

/// Closes the accounts of deleted users.
pub fn users(app: Arc<App>) -> Consumer {
    Consumer::new("users").on::<UserDeleted, _, _>(move |received| {
        let app = app.clone();
        async move {
            let user_id = UserId::parse(&received.payload.user_id)?;
            Ok(app.user_deleted(user_id).await?)
        }
    })
}

async fn role_bound(app: &App, received: &Received<RoleBound>) -> Result<()> {
    let event = &received.payload;
    match everywhere(&event.subject, &event.resource)? {
        Some(user_id) => Ok(app.role_bound(user_id, &event.role_name).await?),
        None => Ok(()),
    }
}

async fn role_unbound(app: &App, received: &Received<RoleUnbound>) -> Result<()> {
    let event = &received.payload;
    match everywhere(&event.subject, &event.resource)? {
        Some(user_id) => Ok(app.role_unbound(user_id, &event.role_name).await?),
        None => Ok(()),
    }
}

async fn subscription_changed(app: &App, received: Received<SubscriptionChanged>) -> Result<()> {
    let event = received.payload;
    let user_id = UserId::parse(&event.user_id)?;
    let plan =
        Plan { name: event.plan, subscription_id: event.subscription_id, version: event.version };
    Ok(app.plan_changed(user_id, &plan).await?)
}

/// The user of a binding that holds everywhere. Tokens name no roles that hold on one resource, and
/// services have no tokens.
fn everywhere(subject: &str, resource: &str) -> Result<Option<UserId>> {
    match subject.strip_prefix("user:") {
        Some(user_id) if resource.is_empty() => UserId::parse(user_id).map(Some),
        _ => Ok(None),
    }
}
