//! Settings of authz: table `[authz]` of the settings file, `MAINSTAY_AUTHZ__*` in the environment.

use mainstay::contract::auth::{DEFAULT_AUDIENCE, DEFAULT_ISSUER};
use mainstay::kernel::settings::ServiceSettings;
use mainstay::kernel::token::TokenSettings;
use serde::{Deserialize, Serialize};

/// Settings of authz.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The most role bindings that one subject may have, in bindings. Each decision reads all
    /// bindings of its subject, so this bounds what a decision costs. Roles that come with an
    /// account are given regardless. Default: 1000.
    pub max_bindings_per_subject: u64,
    /// The claim `iss` of access tokens that operators forward here; as `auth.issuer`. Default:
    /// `http://localhost:8080`.
    pub token_issuer: String,
    /// The claim `aud` of access tokens that operators forward here; as `auth.audience`. Default:
    /// `mainstay`.
    pub token_audience: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_bindings_per_subject: 1000,
            token_issuer: DEFAULT_ISSUER.to_owned(),
            token_audience: DEFAULT_AUDIENCE.to_owned(),
        }
    }
}

impl ServiceSettings for Config {
    const SECTION: &'static str = "authz";

    fn validate(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.max_bindings_per_subject >= 1,
            "authz.max_bindings_per_subject is 0, so no role could be given: set it to 1 or more"
        );
        anyhow::ensure!(
            !self.token_issuer.is_empty(),
            "authz.token_issuer is empty; set auth's issuer"
        );
        anyhow::ensure!(
            !self.token_audience.is_empty(),
            "authz.token_audience is empty; set auth's audience"
        );
        Ok(())
    }
}

impl Config {
    /// Which access tokens are taken.
    pub fn tokens(&self) -> TokenSettings {
        TokenSettings { issuer: self.token_issuer.clone(), audience: self.token_audience.clone() }
    }
}
