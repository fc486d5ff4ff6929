//! The use cases. [`App`] is a struct of ports and rules; each file below adds one group of cases.

mod api_keys;
mod bootstrap;
mod grants;
mod key_cache;
mod keys;
mod login;
mod password;
mod password_pool;
mod register;
mod registration;
mod sessions;
mod tokens;

use std::sync::Arc;

use mainstay::kernel::telemetry::Metrics;
use prometheus_client::metrics::gauge::Gauge;

use crate::config::Config;
use crate::domain::{
    AccountStore, ApiKeyStore, AuthError, KeyStore, LoginThrottle, RoleDirectory, SessionStore,
    UserDirectory,
};
use key_cache::KeyCache;
use password_pool::PasswordPool;

pub use api_keys::{ApiKeyPage, Exchanged};
pub use keys::PublishedKey;
pub use registration::registration;
pub use sessions::{Revocations, SessionPage};
pub use tokens::Tokens;

/// What stands around the use cases.
pub struct Ports {
    /// Where accounts are kept.
    pub accounts: Arc<dyn AccountStore>,
    /// Where sessions are kept.
    pub sessions: Arc<dyn SessionStore>,
    /// Where API keys are kept.
    pub api_keys: Arc<dyn ApiKeyStore>,
    /// Where signing keys are kept.
    pub keys: Arc<dyn KeyStore>,
    /// Where users live.
    pub users: Arc<dyn UserDirectory>,
    /// Where roles are bound.
    pub roles: Arc<dyn RoleDirectory>,
}

/// What auth can do.
pub struct App {
    accounts: Arc<dyn AccountStore>,
    sessions: Arc<dyn SessionStore>,
    api_keys: Arc<dyn ApiKeyStore>,
    users: Arc<dyn UserDirectory>,
    roles: Arc<dyn RoleDirectory>,
    keys: KeyCache,
    passwords: PasswordPool,
    throttle: LoginThrottle,
    config: Config,
}

impl App {
    /// The use cases over their ports. Hashes one password, for users who do not exist.
    pub fn new(ports: Ports, config: &Config, metrics: &Metrics) -> Result<Self, AuthError> {
        let parameters = config.password_parameters();
        let workers = config.password_workers();
        let waiting = Gauge::default();
        let help = "Callers who wait for their password to be hashed";
        metrics.register("auth_password_queue", help, waiting.clone());
        Ok(Self {
            accounts: ports.accounts,
            sessions: ports.sessions,
            api_keys: ports.api_keys,
            users: ports.users,
            roles: ports.roles,
            keys: KeyCache::new(ports.keys, config.signing_key_check_interval),
            passwords: PasswordPool::new(parameters, workers, config.password_queue, waiting)?,
            throttle: LoginThrottle::new(config.login_attempts, config.login_attempt_window),
            config: config.clone(),
        })
    }

    /// The issuer of tokens, as the claim `iss` names it.
    pub fn issuer(&self) -> &str {
        &self.config.issuer
    }
}
