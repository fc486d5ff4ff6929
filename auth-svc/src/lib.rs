//! The auth service: how users prove who they are.
//!
//! | room | what it holds |
//! |---|---|
//! | [`config`] | the service's settings |
//! | [`grpc`] | presentation: parse, call the app, render |
//! | [`app`] | the use cases |
//! | [`domain`] | accounts, passwords, sessions, tokens, keys, invariants, events, ports |
//! | [`store`] | accounts, sessions and keys in the database |
//! | [`events`] | what auth tells and hears |

pub mod app;
pub mod config;
pub mod domain;
pub mod events;
pub mod grpc;
pub mod store;

use std::sync::Arc;
use std::time::Duration;

use mainstay::contract::identity::{self, GrpcIdentityClient};
use mainstay::kernel::lifecycle::{Module, Platform};
use mainstay::kernel::token::{TokenSettings, Verifier};

use app::{App, Ports};
use config::Config;
use grpc::identity::IdentityDirectory;
use grpc::verify::LocalKeys;
use store::{DatabaseStore, Sealer};

/// The port unless settings say otherwise.
pub const DEFAULT_PORT: u16 = 8081;

/// How often sessions that have been over for long are forgotten.
const PRUNE_INTERVAL: Duration = Duration::from_secs(3600);

/// The service: everything it runs on and everything it offers.
pub async fn module(platform: Platform<Config>) -> anyhow::Result<Module> {
    let config = platform.settings();
    let sealer = Sealer::new(config.key_encryption_key()?)?;
    let store = Arc::new(DatabaseStore::new(platform.database(), sealer));
    let identity = GrpcIdentityClient::new(platform.channel(identity::SERVICE));
    let ports = Ports {
        accounts: store.clone(),
        sessions: store.clone(),
        keys: store,
        users: Arc::new(IdentityDirectory::new(Arc::new(identity))),
    };
    let app = Arc::new(App::new(ports, config)?);

    let keys = Arc::new(LocalKeys::new(app.clone()));
    let issued = TokenSettings { issuer: config.issuer.clone(), audience: config.audience.clone() };
    let tokens = Verifier::new(issued, keys.clone(), keys);

    let (start, rotate, prune) = (app.clone(), app.clone(), app.clone());
    Ok(Module::new(mainstay::contract::DESCRIPTORS)
        .migrations(store::migrations())
        .grpc(grpc::service(app.clone()))
        .consumer(events::consumed::grants(app.clone()))
        .consumer(events::consumed::users(app))
        .on_start(move || async move {
            start.key_rotate().await?;
            Ok(start.bootstrap_admin_create().await?)
        })
        .job("rotate-signing-keys", config.signing_key_check_interval, move || {
            let app = rotate.clone();
            async move { app.key_rotate().await }
        })
        .job("prune-sessions", PRUNE_INTERVAL, move || {
            let app = prune.clone();
            async move { app.session_prune().await }
        })
        .token_verifier(tokens)
        .depends_on(identity::SERVICE))
}
