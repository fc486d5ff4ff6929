//! Registrations of accounts, heard from auth.

use std::sync::Arc;

use mainstay::contract::auth::proto::AccountRegistered;
use mainstay::contract::identity::UserId;
use mainstay::kernel::Result;
use mainstay::kernel::events::{Consumer, Received};

use crate::app::App;
use crate::grpc::parse;

/// Creates the user of each registered account.
pub fn accounts(app: Arc<App>) -> Consumer {
    Consumer::new("accounts").on::<AccountRegistered, _, _>(move |received| {
        let app = app.clone();
        async move { account_registered(&app, received).await }
    })
}

async fn account_registered(app: &App, received: Received<AccountRegistered>) -> Result<()> {
    let Received { envelope, payload } = received;
    let id = UserId::parse(&payload.user_id)?;
    let register_time = payload.register_time.or(envelope.time).unwrap_or_default();
    let register_time = parse::time("register_time", register_time)?;
    app.user_create(id, &payload.email, &payload.display_name, register_time).await?;
    Ok(())
}
