//! Settings of authz: table `[authz]` of the settings file, `MAINSTAY_AUTHZ__*` in the environment.

use mainstay::kernel::settings::ServiceSettings;
use serde::{Deserialize, Serialize};

/// Settings of authz.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The most role bindings that one subject may have, in bindings. Each decision reads all
    /// bindings of its subject, so this bounds what a decision costs. Roles that come with an
    /// account are given regardless. Default: 1000.
    pub max_bindings_per_subject: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_bindings_per_subject: 1000 }
    }
}

impl ServiceSettings for Config {
    const SECTION: &'static str = "authz";

    fn validate(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.max_bindings_per_subject >= 1,
            "authz.max_bindings_per_subject is 0, so no role could be given: set it to 1 or more"
        );
        Ok(())
    }
}
