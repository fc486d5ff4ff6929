//! The service's settings: the table `[auth]`, or `MAINSTAY_AUTH__…` in the environment.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mainstay::contract::auth::{DEFAULT_AUDIENCE, DEFAULT_ISSUER};
use mainstay::kernel::settings::{Secret, ServiceSettings};
use serde::{Deserialize, Serialize};

use crate::domain::{Email, KeySchedule, Password, PasswordParameters, SessionLife};

/// Verifiers may be this far behind our clock; tokens count as valid for so much longer.
pub const CLOCK_LEEWAY: Duration = Duration::from_secs(60);

/// Verifiers refuse tokens that live longer, for they remember ended sessions only so long.
const MAX_ACCESS_TOKEN_LIFE: Duration = Duration::from_secs(3600);

/// Times further away cannot be told.
const MAX_API_KEY_LIFE: Duration = Duration::from_secs(100 * 366 * 86_400);

/// The most passwords that may be hashed, or wait to be, at the same time.
const MAX_PASSWORDS: usize = 100_000;

/// Settings of auth.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The claim `iss` of access tokens, and the public address from which those of the OpenID
    /// configuration are made; no slash at the end. Default: `http://localhost:8080`.
    pub issuer: String,
    /// The claim `aud` of access tokens. Default: `mainstay`.
    pub audience: String,
    /// How long an access token is valid. Default: 10 min.
    #[serde(with = "humantime_serde")]
    pub access_token_life: Duration,
    /// How long a session lasts from its login, however often it is refreshed. Default: 30 days.
    #[serde(with = "humantime_serde")]
    pub session_absolute_life: Duration,
    /// How long a session lasts without a refresh. Default: 7 days.
    #[serde(with = "humantime_serde")]
    pub session_idle_life: Duration,
    /// How long an API key lasts unless its owner says. Default: 90 days.
    #[serde(with = "humantime_serde")]
    pub api_key_life: Duration,
    /// The longest that an API key may last. Default: 366 days.
    #[serde(with = "humantime_serde")]
    pub api_key_max_life: Duration,
    /// How many live API keys a user may have; each has a rate limit of its own. Default: 20.
    pub api_keys_per_user: u32,
    /// How long sessions and API keys that are over are kept, so that a late reuse of a refresh token is still
    /// recognized; at least as long as an access token is valid. Default: 1 day.
    #[serde(with = "humantime_serde")]
    pub session_retention: Duration,
    /// How long a key signs before the next one does. Default: 30 days.
    #[serde(with = "humantime_serde")]
    pub signing_key_life: Duration,
    /// How long a key is published before it signs; longer than any verifier caches keys (the
    /// platform's own: 5 min). Default: 15 min.
    #[serde(with = "humantime_serde")]
    pub signing_key_publish_ahead: Duration,
    /// How often it is looked whether a new key is due, and how old the keys in memory may get.
    /// Default: 30 s.
    #[serde(with = "humantime_serde")]
    pub signing_key_check_interval: Duration,
    /// 32 bytes in base64 that encrypt signing keys in the database (AES-256-GCM). Empty keeps them in
    /// the clear, protected as the database is. Default: empty.
    pub key_encryption_key: Secret<String>,
    /// Memory of a password hash in KiB. Default: 19456, the floor of OWASP.
    pub password_memory_kib: u32,
    /// Passes of a password hash. Default: 2.
    pub password_passes: u32,
    /// Lanes of a password hash. Default: 1.
    pub password_lanes: u32,
    /// How many passwords are hashed at the same time; 0 for one a core. Default: 0.
    pub password_concurrency: usize,
    /// How many passwords may wait to be hashed before logins are refused as `OVERLOADED`.
    /// Default: 64.
    pub password_queue: usize,
    /// Wrong passwords for one account within the window before further attempts are refused as
    /// `RATE_LIMITED`. Default: 10.
    pub login_attempts: u32,
    /// The window of `login_attempts`. Default: 15 min.
    #[serde(with = "humantime_serde")]
    pub login_attempt_window: Duration,
    /// How long Register waits for the registration's saga to make the user visible; the registration
    /// has succeeded either way. Default: 1500 ms.
    #[serde(with = "humantime_serde")]
    pub user_create_timeout: Duration,
    /// E-mail address of the administrator that is registered at start unless an account has it.
    /// Empty registers nobody. Default: empty.
    pub bootstrap_admin_email: String,
    /// The administrator's first password. Default: empty.
    pub bootstrap_admin_password: Secret<String>,
}

impl Default for Config {
    fn default() -> Self {
        let days = |days: u64| Duration::from_secs(days * 86_400);
        let password = PasswordParameters::default();
        Self {
            issuer: DEFAULT_ISSUER.to_owned(),
            audience: DEFAULT_AUDIENCE.to_owned(),
            access_token_life: Duration::from_secs(600),
            session_absolute_life: days(30),
            session_idle_life: days(7),
            api_key_life: days(90),
            api_key_max_life: days(366),
            api_keys_per_user: 20,
            session_retention: days(1),
            signing_key_life: days(30),
            signing_key_publish_ahead: Duration::from_secs(900),
            signing_key_check_interval: Duration::from_secs(30),
            key_encryption_key: Secret::default(),
            password_memory_kib: password.memory_kib,
            password_passes: password.passes,
            password_lanes: password.lanes,
            password_concurrency: 0,
            password_queue: 64,
            login_attempts: 10,
            login_attempt_window: Duration::from_secs(900),
            user_create_timeout: Duration::from_millis(1500),
            bootstrap_admin_email: String::new(),
            bootstrap_admin_password: Secret::default(),
        }
    }
}

impl ServiceSettings for Config {
    const SECTION: &'static str = "auth";

    fn validate(&self) -> anyhow::Result<()> {
        ensure!(
            self.issuer.starts_with("http") && !self.issuer.ends_with('/'),
            "auth.issuer must be an address with no slash at the end, such as https://api.example.com"
        );
        ensure!(!self.audience.is_empty(), "auth.audience must not be empty");
        ensure!(
            (Duration::from_secs(1)..=MAX_ACCESS_TOKEN_LIFE).contains(&self.access_token_life),
            "auth.access_token_life must be between 1s and 1h"
        );
        ensure!(
            self.session_retention >= self.access_token_life + CLOCK_LEEWAY,
            "auth.session_retention must be at least a minute longer than auth.access_token_life"
        );
        ensure!(
            !self.session_absolute_life.is_zero() && !self.session_idle_life.is_zero(),
            "auth.session_absolute_life and auth.session_idle_life must not be zero"
        );
        ensure!(
            !self.api_key_life.is_zero()
                && self.api_key_life <= self.api_key_max_life
                && self.api_key_max_life <= MAX_API_KEY_LIFE,
            "auth.api_key_life must be above zero and at most auth.api_key_max_life, and that at \
             most 100 years"
        );
        ensure!(
            !self.signing_key_check_interval.is_zero()
                && self.signing_key_check_interval < self.signing_key_publish_ahead
                && self.signing_key_publish_ahead < self.signing_key_life,
            "auth.signing_key_check_interval must be shorter than auth.signing_key_publish_ahead, \
             and that shorter than auth.signing_key_life"
        );
        ensure!(self.login_attempts > 0, "auth.login_attempts must be at least 1");
        ensure!(
            self.password_concurrency.max(self.password_queue) <= MAX_PASSWORDS,
            "auth.password_concurrency and auth.password_queue must be at most {MAX_PASSWORDS}"
        );
        self.check_bootstrap_admin()?;
        self.password_parameters().checked().context("auth.password_*")?;
        self.key_encryption_key().map(|_| ())
    }
}

impl Config {
    fn check_bootstrap_admin(&self) -> anyhow::Result<()> {
        if self.bootstrap_admin_email.trim().is_empty() {
            return Ok(());
        }
        ensure!(
            Email::parse(&self.bootstrap_admin_email).is_ok(),
            "auth.bootstrap_admin_email must be an e-mail address"
        );
        let password = self.bootstrap_admin_password.expose().clone();
        ensure!(
            Password::chosen("", password).is_ok(),
            "auth.bootstrap_admin_email is set: auth.bootstrap_admin_password must be set too, to 8 \
             to 128 characters"
        );
        Ok(())
    }

    /// How long sessions last.
    pub fn session_life(&self) -> SessionLife {
        SessionLife { absolute: self.session_absolute_life, idle: self.session_idle_life }
    }

    /// When signing keys change.
    pub fn key_schedule(&self) -> KeySchedule {
        KeySchedule {
            life: self.signing_key_life,
            publish_ahead: self.signing_key_publish_ahead,
            token_life: self.access_token_life + CLOCK_LEEWAY,
        }
    }

    /// The cost of a password hash.
    pub fn password_parameters(&self) -> PasswordParameters {
        PasswordParameters {
            memory_kib: self.password_memory_kib,
            passes: self.password_passes,
            lanes: self.password_lanes,
        }
    }

    /// How many passwords are hashed at the same time.
    pub fn password_workers(&self) -> usize {
        match self.password_concurrency {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            workers => workers,
        }
    }

    /// The key that encrypts signing keys, when given.
    pub fn key_encryption_key(&self) -> anyhow::Result<Option<[u8; 32]>> {
        let text = self.key_encryption_key.expose().trim();
        if text.is_empty() {
            return Ok(None);
        }
        let bytes = STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Some).context("auth.key_encryption_key must be 32 bytes in base64")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(change: impl FnOnce(&mut Config)) -> String {
        let mut config = Config::default();
        change(&mut config);
        config.validate().expect_err("must be refused").to_string()
    }

    #[test]
    fn the_defaults_are_sound() {
        Config::default().validate().expect("sound");
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        let minute = Duration::from_secs(60);
        for (name, message) in [
            ("auth.issuer", refusal(|config| config.issuer = "https://example.com/".into())),
            ("auth.audience", refusal(|config| config.audience.clear())),
            ("auth.access_token_life", refusal(|config| config.access_token_life = 61 * minute)),
            ("auth.session_retention", refusal(|config| config.session_retention = minute)),
            ("auth.session_idle_life", refusal(|config| config.session_idle_life *= 0)),
            ("auth.api_key_life", refusal(|config| config.api_key_life *= 5)),
            ("auth.signing_key_life", refusal(|config| config.signing_key_life = minute)),
            ("auth.login_attempts", refusal(|config| config.login_attempts = 0)),
            ("auth.password_queue", refusal(|config| config.password_queue = usize::MAX)),
            ("auth.password", refusal(|config| config.password_passes = 0)),
            ("auth.key_encryption_key", refusal(|config| config.key_encryption_key = "x".into())),
            (
                "auth.bootstrap_admin_password",
                refusal(|config| config.bootstrap_admin_email = "admin@example.com".into()),
            ),
        ] {
            assert!(message.contains(name), "{name}: {message}");
        }
    }
}
