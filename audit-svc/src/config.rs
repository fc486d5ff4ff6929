//! The service's settings: the table `[audit]`, or `MAINSTAY_AUDIT__…` in the environment.

use mainstay::contract::auth::{DEFAULT_AUDIENCE, DEFAULT_ISSUER};
use mainstay::kernel::settings::ServiceSettings;
use mainstay::kernel::token::TokenSettings;
use serde::{Deserialize, Serialize};

/// Settings of audit.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Topics that are recorded beside those that the platform's contracts declare, for events of
    /// services whose contracts are not compiled in. Their payloads are not shown. Default: none.
    pub extra_topics: Vec<String>,
    /// The longest details that a record keeps, in bytes of JSON. Of longer ones it keeps their
    /// size alone; a page of 200 records must stay below the 4 MiB of a gRPC message. Default:
    /// 16384.
    pub max_details_bytes: usize,
    /// How many records a verification reads at a time, which bounds its memory. Default: 500.
    pub verify_batch_size: u64,
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
            extra_topics: Vec::new(),
            max_details_bytes: 16 * 1024,
            verify_batch_size: 500,
            token_issuer: DEFAULT_ISSUER.to_owned(),
            token_audience: DEFAULT_AUDIENCE.to_owned(),
        }
    }
}

impl ServiceSettings for Config {
    const SECTION: &'static str = "audit";

    fn validate(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.verify_batch_size >= 1,
            "audit.verify_batch_size is 0, so nothing could be verified: set it to 1 or more"
        );
        anyhow::ensure!(
            self.extra_topics.iter().all(|topic| !topic.trim().is_empty()),
            "audit.extra_topics has an empty name: remove it"
        );
        anyhow::ensure!(
            !self.token_issuer.is_empty(),
            "audit.token_issuer is empty; set auth's issuer"
        );
        anyhow::ensure!(
            !self.token_audience.is_empty(),
            "audit.token_audience is empty; set auth's audience"
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
