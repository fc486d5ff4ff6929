//! Billing: plans, subscriptions, entitlements and the payment provider behind them.
//!
//! | room | what it holds |
//! |---|---|
//! | [`config`] | the service's settings |
//! | [`grpc`] | presentation: parse, call the app, render |
//! | [`app`] | use cases over ports |
//! | [`domain`] | plans, subscriptions, reports, ports |
//! | [`store`] | rows, queries, migrations |
//! | [`provider`] | payment providers: manual and Stripe |
//! | [`events`] | what is published and consumed |

pub mod app;
pub mod config;
pub mod domain;
pub mod events;
pub mod grpc;
pub mod provider;
pub mod store;

use std::sync::Arc;
use std::time::Duration;

use mainstay::contract;
use mainstay::kernel::lifecycle::{Module, Platform};

use crate::app::App;
use crate::config::Config;

/// The port unless settings say otherwise.
pub const DEFAULT_PORT: u16 = 8092;

/// The service: everything it is made of and depends on.
pub async fn module(platform: Platform<Config>) -> anyhow::Result<Module> {
    let config = platform.settings();
    let provider = provider::from_config(config)?;
    let catalogue = Arc::new(config.catalogue()?);
    let app = App {
        verifier: Arc::new(provider::StripeWebhooks::new(config, Arc::clone(&catalogue))),
        store: Arc::new(store::Store::new(platform.database(), provider.name())),
        catalogue,
        provider,
    };
    let pruning = app.clone();
    Ok(Module::new(contract::DESCRIPTORS)
        .grpc(grpc::server(app.clone()))
        .migrations(store::migrations())
        .consumer(events::users(app))
        .job("prune-provider-reports", Duration::from_secs(3600), move || {
            let app = pruning.clone();
            async move { app.report_prune().await }
        }))
}
