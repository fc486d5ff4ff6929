//! The service's settings: the table `[audit]`, or `MAINSTAY_AUDIT__…` in the environment.

use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mainstay::contract::auth::{DEFAULT_AUDIENCE, DEFAULT_ISSUER};
use mainstay::kernel::settings::{Secret, ServiceSettings};
use mainstay::kernel::token::TokenSettings;
use serde::{Deserialize, Serialize};

use crate::app::VerifyRules;

/// How long a call of Verify walks what is behind the checkpoint: with `verify_budget` below the
/// deadline of the call.
const TAIL_BUDGET: Duration = Duration::from_secs(4);

/// The longest `verify_budget` that leaves a call time for the rest.
const MAX_VERIFY_BUDGET: Duration = Duration::from_secs(5);

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
    /// How long a call of Verify walks the chain from its beginning; of a longer chain it tells what
    /// the verification in the background found, and what is newer. Default: 4 s.
    #[serde(with = "humantime_serde")]
    pub verify_budget: Duration,
    /// Seals how far the chain was verified (HMAC-SHA256); 32 random bytes in base64, the same in
    /// every replica. Empty seals against accidents only. Changed, every call of Verify reports the
    /// checkpoint as broken until its row is removed. Default: empty.
    pub checkpoint_key: Secret<String>,
    /// When the checkpoint moves on, by a cron pattern in UTC. Default: every minute.
    pub checkpoint_schedule: String,
    /// When the chain is verified from its beginning in the background, by a cron pattern in UTC.
    /// Default: every hour at 29 minutes.
    pub verify_schedule: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            extra_topics: Vec::new(),
            max_details_bytes: 16 * 1024,
            verify_batch_size: 500,
            token_issuer: DEFAULT_ISSUER.to_owned(),
            token_audience: DEFAULT_AUDIENCE.to_owned(),
            verify_budget: Duration::from_secs(4),
            checkpoint_key: Secret::default(),
            checkpoint_schedule: "* * * * *".to_owned(),
            verify_schedule: "29 * * * *".to_owned(),
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
            self.verify_budget <= MAX_VERIFY_BUDGET,
            "audit.verify_budget must be {MAX_VERIFY_BUDGET:?} at most, for a call has 10 s"
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
        self.sealing_key().map(drop)
    }
}

impl Config {
    /// The key that seals checkpoints.
    pub fn sealing_key(&self) -> anyhow::Result<Vec<u8>> {
        let key = STANDARD
            .decode(self.checkpoint_key.expose().trim())
            .context("audit.checkpoint_key is no base64: write 32 random bytes")?;
        anyhow::ensure!(
            key.is_empty() || key.len() >= 32,
            "audit.checkpoint_key is shorter than 32 bytes: write 32 random ones in base64"
        );
        Ok(key)
    }

    /// How verification goes about it.
    pub fn verify_rules(&self) -> VerifyRules {
        VerifyRules {
            verify_batch_size: self.verify_batch_size,
            verify_budget: self.verify_budget,
            tail_budget: TAIL_BUDGET,
        }
    }
}

impl Config {
    /// Which access tokens are taken.
    pub fn tokens(&self) -> TokenSettings {
        TokenSettings { issuer: self.token_issuer.clone(), audience: self.token_audience.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(change: impl FnOnce(&mut Config)) -> String {
        let mut config = Config::default();
        change(&mut config);
        config.validate().expect_err("these settings are unsound").to_string()
    }

    #[test]
    fn the_defaults_are_sound() {
        Config::default().validate().expect("sound");
        assert!(Config::default().sealing_key().expect("no key is one").is_empty());
    }

    #[test]
    fn settings_of_verification_that_cannot_work_are_refused_with_their_name() {
        let seconds = Duration::from_secs;
        for (setting, refusal) in [
            ("audit.verify_budget", refusal(|config| config.verify_budget = seconds(6))),
            ("audit.checkpoint_key", refusal(|config| config.checkpoint_key = "?".into())),
            (
                "audit.checkpoint_key",
                refusal(|config| config.checkpoint_key = STANDARD.encode([1; 31]).into()),
            ),
        ] {
            assert!(refusal.contains(setting), "{setting}: {refusal}");
        }
    }
}
