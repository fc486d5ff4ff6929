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

use mainstay::contract;
use mainstay::kernel::jobs::Job;
use mainstay::kernel::lifecycle::{Module, Platform};
use mainstay::kernel::watch::Feed;

use crate::app::App;
use crate::config::Config;

/// The port unless settings say otherwise.
pub const DEFAULT_PORT: u16 = 8092;

/// When old reports of the payment provider and old changes of plans are forgotten.
const PRUNE_SCHEDULE: &str = "13 * * * *";

/// The service: everything it is made of and depends on.
pub async fn module(platform: Platform<Config>) -> anyhow::Result<Module> {
    let config = platform.settings();
    let provider = provider::from_config(config)?;
    let catalogue = Arc::new(config.catalogue()?);
    let store = store::Store::new(platform.database(), provider.name());
    let app = App {
        verifier: Arc::new(provider::StripeWebhooks::new(config, Arc::clone(&catalogue))),
        store: Arc::new(store),
        catalogue,
        provider,
    };
    let plans = grpc::watch::Plans::new(app.clone(), platform.database().news());
    let plans = Feed::start(plans, platform.draining());
    let pruning = app.clone();
    Ok(Module::new(contract::DESCRIPTORS)
        .grpc(grpc::server(app.clone(), plans))
        .migrations(store::migrations())
        .consumer(events::users(app))
        .job(prune_provider_reports(pruning.clone()).cron(PRUNE_SCHEDULE))
        .job(prune_plan_changes(pruning).cron(PRUNE_SCHEDULE)))
}

/// Forgets reports of the payment provider that it no longer repeats.
fn prune_provider_reports(app: App) -> Job {
    Job::new("prune-provider-reports", move |_| {
        let app = app.clone();
        async move { app.report_prune().await }
    })
}

/// Forgets changes of plans that nobody asks for any more.
fn prune_plan_changes(app: App) -> Job {
    Job::new("prune-plan-changes", move |_| {
        let app = app.clone();
        async move { app.plan_change_prune().await }
    })
}
