//! The audit service: what happened.
//!
//! | room | what it holds |
//! |---|---|
//! | [`config`] | the service's settings |
//! | [`grpc`] | presentation: parse, call the app, render |
//! | [`app`] | the use cases |
//! | [`domain`] | records, the chain of hashes, its verification, the port |
//! | [`store`] | the chain in the database |
//! | [`events`] | what audit hears: everything |

pub mod app;
pub mod config;
pub mod domain;
pub mod events;
pub mod grpc;
pub mod store;

use std::sync::Arc;
use std::time::Duration;

use mainstay::contract::auth::{self, GrpcAuthClient, RemoteKeys};
use mainstay::contract::authz::{self, GrpcAuthzClient, RemoteAuthorizer};
use mainstay::contract::billing::{self, GrpcBillingClient, RemoteEntitlements};
use mainstay::kernel::jobs::Job;
use mainstay::kernel::lifecycle::{Module, Platform};
use mainstay::kernel::token::Verifier;

use app::App;
use config::Config;
use domain::Sealer;
use events::observe::Observer;
use store::DatabaseTrail;

/// The port unless settings say otherwise.
pub const DEFAULT_PORT: u16 = 8084;

/// How long one run of the verification may take; the next run goes on where one was cut off.
const VERIFY_TIMEOUT: Duration = Duration::from_secs(6 * 60 * 60);

/// The service: everything it runs on and everything it offers.
pub async fn module(platform: Platform<Config>) -> anyhow::Result<Module> {
    let config = platform.settings();
    let trail = Arc::new(DatabaseTrail::new(platform.database()));
    let sealer = Sealer::new(config.sealing_key()?);
    let app = Arc::new(App::new(trail, sealer, config.verify_rules()));

    let observer = Observer::new(mainstay::contract::pool().clone(), config.max_details_bytes)?;
    let topics = [observer.topics(), config.extra_topics.clone()].concat();
    let metrics = platform.metrics();
    let billing = GrpcBillingClient::new(platform.channel(billing::SERVICE));
    let entitlements = RemoteEntitlements::new(billing, platform.redis(), &metrics);
    let authz = GrpcAuthzClient::new(platform.channel(authz::SERVICE));
    let authorizer = RemoteAuthorizer::new(authz, &metrics);
    let keys = Arc::new(RemoteKeys::new(GrpcAuthClient::new(platform.channel(auth::SERVICE))));
    let tokens = Verifier::new(config.tokens(), keys.clone(), keys);

    Ok(Module::new(mainstay::contract::DESCRIPTORS)
        .migrations(store::migrations())
        .grpc(grpc::service(app.clone()))
        .consumer(events::consumed::trail(app.clone(), observer, topics))
        .job(extend_checkpoint(app.clone()).cron(&config.checkpoint_schedule))
        .job(verify_chain(app).cron(&config.verify_schedule))
        .authorizer(Arc::new(authorizer))
        .entitlements(Arc::new(entitlements))
        .token_verifier(tokens)
        .depends_on(auth::SERVICE)
        .depends_on(authz::SERVICE)
        .depends_on(billing::SERVICE)
        .permission("audit.events.list", "List and search the audit trail.")
        .permission("audit.events.read", "Read any record of the audit trail.")
        .permission("audit.events.verify", "Verify that the audit trail is as it was written."))
}

/// Moves the checkpoint on, so that a call of Verify has little left to walk.
fn extend_checkpoint(app: Arc<App>) -> Job {
    Job::new("extend-checkpoint", move |run| {
        let app = app.clone();
        async move { app.checkpoint_extend(&|| run.stopping().is_cancelled()).await }
    })
    .timeout(VERIFY_TIMEOUT)
}

/// Verifies the chain from its beginning: what the checkpoint vouches for is not taken on trust for
/// ever.
fn verify_chain(app: Arc<App>) -> Job {
    Job::new("verify-chain", move |run| {
        let app = app.clone();
        async move { app.chain_verify(&|| run.stopping().is_cancelled()).await }
    })
    .timeout(VERIFY_TIMEOUT)
}
