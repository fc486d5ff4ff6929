//! The auth service: how users prove who they are.
//!
//! | room | what it holds |
//! |---|---|
//! | [`config`] | the service's settings |
//! | [`grpc`] | presentation: parse, call the app, render |
//! | [`app`] | the use cases |
//! | [`domain`] | accounts, passwords, sessions, API keys, tokens, signing keys, invariants, events, ports |
//! | [`store`] | accounts, sessions, API keys and signing keys in the database |
//! | [`events`] | what auth tells and hears |

pub mod app;
pub mod config;
pub mod domain;
pub mod events;
pub mod grpc;
pub mod store;

use std::sync::Arc;

use mainstay::contract::authz::{self, GrpcAuthzClient};
use mainstay::contract::identity::{self, GrpcIdentityClient};
use mainstay::kernel::jobs::Job;
use mainstay::kernel::lifecycle::{Module, Platform};
use mainstay::kernel::token::{RevocationFeed, TokenSettings, Verifier};

use app::{App, Ports};
use config::Config;
use grpc::authz::AuthzDirectory;
use grpc::identity::IdentityDirectory;
use grpc::verify::LocalKeys;
use store::{DatabaseStore, Sealer};

/// The port unless settings say otherwise.
pub const DEFAULT_PORT: u16 = 8081;

/// When sessions and API keys that have been over for long are forgotten.
const PRUNE_SCHEDULE: &str = "7 * * * *";

/// The service: everything it runs on and everything it offers.
pub async fn module(platform: Platform<Config>) -> anyhow::Result<Module> {
    let config = platform.settings();
    let sealer = Sealer::new(config.key_encryption_key()?)?;
    let store = Arc::new(DatabaseStore::new(platform.database(), sealer));
    let identity = GrpcIdentityClient::new(platform.channel(identity::SERVICE));
    let authz = GrpcAuthzClient::new(platform.channel(authz::SERVICE));
    let ports = Ports {
        accounts: store.clone(),
        sessions: store.clone(),
        api_keys: store.clone(),
        keys: store,
        users: Arc::new(IdentityDirectory::new(Arc::new(identity))),
        roles: Arc::new(AuthzDirectory::new(Arc::new(authz))),
    };
    let app = Arc::new(App::new(ports, config, &platform.metrics())?);

    let keys = Arc::new(LocalKeys::new(app.clone()));
    let issued = TokenSettings { issuer: config.issuer.clone(), audience: config.audience.clone() };
    if let Some(redis) = platform.redis() {
        RevocationFeed::new(redis, keys.clone()).spawn(platform.shutdown());
    }
    let tokens = Verifier::new(issued, keys.clone(), keys);

    let (start, rotate, prune) = (app.clone(), app.clone(), app.clone());
    Ok(Module::new(mainstay::contract::DESCRIPTORS)
        .migrations(store::migrations())
        .grpc(grpc::service(app.clone()))
        .consumer(events::consumed::grants(app.clone()))
        .consumer(events::consumed::users(app.clone()))
        .saga(app::registration(app))
        .on_start(move || async move {
            start.key_rotate().await?;
            Ok(start.bootstrap_admin_create().await?)
        })
        .job(rotate_signing_keys(rotate).every(config.signing_key_check_interval))
        .job(prune_sessions(prune).cron(PRUNE_SCHEDULE))
        .token_verifier(tokens)
        .depends_on(identity::SERVICE)
        .depends_on(authz::SERVICE))
}

/// Sees to it that there always is a key that signs.
fn rotate_signing_keys(app: Arc<App>) -> Job {
    Job::new("rotate-signing-keys", move |_| {
        let app = app.clone();
        async move { Ok(app.key_rotate().await?) }
    })
}

/// Forgets sessions and API keys that are over, and tokens that no longer matter.
fn prune_sessions(app: Arc<App>) -> Job {
    Job::new("prune-sessions", move |_| {
        let app = app.clone();
        async move {
            app.session_prune().await?;
            Ok(app.api_key_prune().await?)
        }
    })
}
