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

use mainstay::contract::auth::{self, GrpcAuthClient, RemoteKeys};
use mainstay::contract::authz::{self, GrpcAuthzClient, RemoteAuthorizer};
use mainstay::contract::billing::{self, GrpcBillingClient, RemoteEntitlements};
use mainstay::kernel::lifecycle::{Module, Platform};
use mainstay::kernel::token::Verifier;

use app::App;
use config::Config;
use events::observe::Observer;
use store::DatabaseTrail;

/// The port unless settings say otherwise.
pub const DEFAULT_PORT: u16 = 8084;

/// The service: everything it runs on and everything it offers.
pub async fn module(platform: Platform<Config>) -> anyhow::Result<Module> {
    let config = platform.settings();
    let trail = Arc::new(DatabaseTrail::new(platform.database()));
    let app = Arc::new(App::new(trail, config.verify_batch_size));

    let observer = Observer::new(mainstay::contract::pool().clone(), config.max_details_bytes)?;
    let topics = [observer.topics(), config.extra_topics.clone()].concat();
    let billing = GrpcBillingClient::new(platform.channel(billing::SERVICE));
    let entitlements = RemoteEntitlements::new(billing).shared(platform.redis());
    let authorizer = RemoteAuthorizer::new(GrpcAuthzClient::new(platform.channel(authz::SERVICE)));
    let keys = Arc::new(RemoteKeys::new(GrpcAuthClient::new(platform.channel(auth::SERVICE))));
    let tokens = Verifier::new(config.tokens(), keys.clone(), keys);

    Ok(Module::new(mainstay::contract::DESCRIPTORS)
        .migrations(store::migrations())
        .grpc(grpc::service(app.clone()))
        .consumer(events::consumed::trail(app, observer, topics))
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
