//! The service's settings: the table `[identity]`, or `MAINSTAY_IDENTITY__…` in the environment.

use anyhow::ensure;
use mainstay::contract::auth::{DEFAULT_AUDIENCE, DEFAULT_ISSUER};
use mainstay::kernel::settings::ServiceSettings;
use mainstay::kernel::token::TokenSettings;
use serde::{Deserialize, Serialize};

/// Settings of identity.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The claim `iss` of access tokens that services forward here; as `auth.issuer`. Default:
    /// `http://localhost:8080`.
    pub token_issuer: String,
    /// The claim `aud` of access tokens that services forward here; as `auth.audience`. Default:
    /// `mainstay`.
    pub token_audience: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            token_issuer: DEFAULT_ISSUER.to_owned(),
            token_audience: DEFAULT_AUDIENCE.to_owned(),
        }
    }
}

impl ServiceSettings for Config {
    const SECTION: &'static str = "identity";

    fn validate(&self) -> anyhow::Result<()> {
        ensure!(!self.token_issuer.is_empty(), "identity.token_issuer is empty; set auth's issuer");
        ensure!(
            !self.token_audience.is_empty(),
            "identity.token_audience is empty; set auth's audience"
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
