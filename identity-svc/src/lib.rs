//! The identity service: who the users are.
//!
//! | room | what it holds |
//! |---|---|
//! | [`config`] | the service's settings |
//! | [`grpc`] | presentation: parse, call the app, render |
//! | [`app`] | the use cases |
//! | [`domain`] | users, profiles, invariants, events, ports |
//! | [`store`] | users in the database |
//! | [`events`] | what identity tells and hears |

pub mod app;
pub mod config;
pub mod domain;
pub mod events;
pub mod grpc;
pub mod store;

use std::sync::Arc;

use mainstay::contract::auth::{self, GrpcAuthClient, RemoteKeys};
use mainstay::contract::authz::{self, GrpcAuthzClient, RemoteAuthorizer};
use mainstay::kernel::lifecycle::{Module, Platform};
use mainstay::kernel::token::{SharedRevocations, Verifier};

use app::App;
use config::Config;
use store::DatabaseUserStore;

/// The port unless settings say otherwise.
pub const DEFAULT_PORT: u16 = 8082;

/// The service: everything it runs on and everything it offers.
pub async fn module(platform: Platform<Config>) -> anyhow::Result<Module> {
    let users = Arc::new(DatabaseUserStore::new(platform.database()));
    let app = Arc::new(App::new(users));

    let keys = Arc::new(RemoteKeys::new(GrpcAuthClient::new(platform.channel(auth::SERVICE))));
    let ended = SharedRevocations::over(platform.redis(), keys.clone());
    let tokens = Verifier::new(platform.settings().tokens(), keys, ended);
    let authz = GrpcAuthzClient::new(platform.channel(authz::SERVICE));
    let authorizer = RemoteAuthorizer::new(authz, &platform.metrics());

    Ok(Module::new(mainstay::contract::DESCRIPTORS)
        .migrations(store::migrations())
        .grpc(grpc::service(app.clone()))
        .consumer(events::consumed::accounts(app))
        .authorizer(Arc::new(authorizer))
        .token_verifier(tokens)
        .depends_on(auth::SERVICE)
        .depends_on(authz::SERVICE)
        .permission("identity.users.read", "Read any user's profile.")
        .permission("identity.users.list", "List and search users.")
        .permission("identity.users.update", "Change any user's profile.")
        .permission("identity.users.delete", "Delete any user."))
}
