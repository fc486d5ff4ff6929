//! The authz service: who may do what.
//!
//! | room | what it holds |
//! |---|---|
//! | [`config`] | the service's settings |
//! | [`grpc`] | presentation: parse, call the app, render |
//! | [`app`] | the use cases |
//! | [`domain`] | permissions, roles, bindings, decisions, events, ports |
//! | [`store`] | roles and bindings in the database |
//! | [`events`] | what authz tells and hears |

pub mod app;
pub mod config;
pub mod domain;
pub mod events;
pub mod grpc;
pub mod store;

use std::sync::Arc;

use mainstay::contract::auth::{self, GrpcAuthClient, RemoteKeys};
use mainstay::kernel::lifecycle::{Module, Platform};
use mainstay::kernel::token::Verifier;
use mainstay::kernel::watch::Feed;

use app::App;
use config::Config;
use grpc::authorizer::LocalAuthorizer;
use grpc::watch::Revisions;
use store::DatabaseStore;

/// The port unless settings say otherwise.
pub const DEFAULT_PORT: u16 = 8083;

/// The service: everything it runs on and everything it offers. It decides with no other service,
/// because every other depends on it; auth's keys it needs for operators who speak for a user.
pub async fn module(platform: Platform<Config>) -> anyhow::Result<Module> {
    let store = Arc::new(DatabaseStore::new(platform.database()));
    let app = Arc::new(App::new(store, platform.settings().max_bindings_per_subject));

    let revisions = Revisions::new(app.clone(), platform.database().news());
    let revisions = Feed::start(revisions, platform.draining());

    let keys = Arc::new(RemoteKeys::new(GrpcAuthClient::new(platform.channel(auth::SERVICE))));
    let tokens = Verifier::new(platform.settings().tokens(), keys.clone(), keys);

    Ok(Module::new(mainstay::contract::DESCRIPTORS)
        .migrations(store::migrations())
        .grpc(grpc::service(app.clone(), revisions))
        .consumer(events::consumed::roles(app.clone()))
        .authorizer(Arc::new(LocalAuthorizer::new(app)))
        .token_verifier(tokens)
        .depends_on(auth::SERVICE)
        .permission("authz.roles.list", "List roles.")
        .permission("authz.roles.read", "Read any role.")
        .permission("authz.roles.create", "Create roles of permissions that one holds oneself.")
        .permission("authz.roles.update", "Change roles by permissions that one holds oneself.")
        .permission("authz.roles.delete", "Delete roles that no binding uses.")
        .permission("authz.bindings.list", "List who has which role.")
        .permission("authz.bindings.create", "Give roles whose permissions one holds oneself.")
        .permission("authz.bindings.delete", "Take roles from users and services.")
        .permission("authz.permissions.list", "List the permissions that services declare.")
        .permission_checked_in_code("authz.decisions.read", "Ask what somebody else may do."))
}
