//! The settings of Redis and of what may be kept in it: effect, unit and default of each.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use super::secret::Secret;

/// The longest prefix of keys, in bytes: it is part of every key.
const MAX_PREFIX_BYTES: usize = 64;

/// The Redis that the processes of a platform share.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisSettings {
    /// Where it is: `redis://user:password@host:port/database`, or `rediss://` for TLS. Default:
    /// empty, there is none and every process keeps to itself.
    #[serde(skip_serializing_if = "is_empty")]
    pub url: Secret<String>,
    /// What every key begins with, so that several platforms can share one server; 1 to 64 letters,
    /// digits, `-`, `_` and `.`. Default: `mainstay`.
    pub prefix: String,
    /// PEM file with the authorities whose certificates a `rediss://` server may show. Default: those
    /// of the system.
    pub ca_file: Option<PathBuf>,
    /// How long a connection may take to open, TLS and login included. Default: 2 s.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// How long a caller waits for an answer before it does without. Default: 250 ms.
    #[serde(with = "humantime_serde")]
    pub command_timeout: Duration,
    /// How often a connection on which nothing happens is tried. Default: 1 s.
    #[serde(with = "humantime_serde")]
    pub heartbeat: Duration,
    /// The longest wait between two attempts to connect; the first is a twentieth of it. Default:
    /// 2 s.
    #[serde(with = "humantime_serde")]
    pub max_reconnect_backoff: Duration,
}

impl Default for RedisSettings {
    fn default() -> Self {
        Self {
            url: Secret::default(),
            prefix: "mainstay".to_owned(),
            ca_file: None,
            connect_timeout: Duration::from_secs(2),
            command_timeout: Duration::from_millis(250),
            heartbeat: Duration::from_secs(1),
            max_reconnect_backoff: Duration::from_secs(2),
        }
    }
}

impl RedisSettings {
    /// Whether there is a Redis at all.
    pub fn is_set(&self) -> bool {
        !is_empty(&self.url)
    }

    pub(super) fn validate(&self) -> anyhow::Result<()> {
        let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        ensure!(
            (1..=MAX_PREFIX_BYTES).contains(&self.prefix.len()) && self.prefix.chars().all(sound),
            "redis.prefix `{}` must be 1 to {MAX_PREFIX_BYTES} letters, digits, `-`, `_` and `.`",
            self.prefix
        );
        for (name, value) in [
            ("redis.connect_timeout", self.connect_timeout),
            ("redis.command_timeout", self.command_timeout),
            ("redis.heartbeat", self.heartbeat),
            ("redis.max_reconnect_backoff", self.max_reconnect_backoff),
        ] {
            ensure!(value > Duration::ZERO, "{name} must be longer than 0 s");
        }
        if self.is_set() { self.validate_url() } else { Ok(()) }
    }

    /// The messages leave the URL out, for it holds a password.
    fn validate_url(&self) -> anyhow::Result<()> {
        let form = "write redis://user:password@host:port/database, or rediss:// for TLS";
        let Ok(url) = url::Url::parse(self.url.expose()) else {
            anyhow::bail!("redis.url is no address: {form}");
        };
        let scheme = url.scheme();
        ensure!(matches!(scheme, "redis" | "rediss"), "redis.url begins with {scheme}://: {form}");
        ensure!(
            url.host_str().is_some_and(|host| !host.is_empty()),
            "redis.url has no host: {form}"
        );
        ensure!(
            url.fragment().is_none(),
            "redis.url ends with #…, which would switch the check of certificates off: leave it out, \
             and name the server's authority in redis.ca_file"
        );
        ensure!(
            self.ca_file.is_none() || scheme == "rediss",
            "redis.ca_file is set and redis.url is not encrypted: begin it with rediss://"
        );
        Ok(())
    }
}

/// An address that is not there must not look as if it were a secret.
fn is_empty(url: &Secret<String>) -> bool {
    url.expose().is_empty()
}

/// Where values are kept that may be forgotten at any time.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheSettings {
    /// `local`, the memory of each process, or `redis`, shared by all; needs `redis.url`. Default:
    /// `local`.
    pub kind: CacheKind,
    /// The most bytes of keys and values that the cache `local` keeps. Default: 64 MiB.
    pub max_bytes: u64,
    /// The most bytes of one value in the cache `redis`; a larger one is not kept. Default: 1 MiB.
    pub max_value_bytes: usize,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self { kind: CacheKind::Local, max_bytes: 64 * 1024 * 1024, max_value_bytes: 1024 * 1024 }
    }
}

impl CacheSettings {
    pub(super) fn validate(&self, redis: &RedisSettings) -> anyhow::Result<()> {
        ensure!(self.max_bytes > 0, "cache.max_bytes must be 1 or more");
        ensure!(self.max_value_bytes > 0, "cache.max_value_bytes must be 1 or more");
        ensure!(
            self.kind != CacheKind::Redis || redis.is_set(),
            "cache.kind is redis and redis.url is not set: set it, or cache.kind = \"local\""
        );
        Ok(())
    }
}

/// The caches there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CacheKind {
    /// The memory of each process.
    Local,
    /// Redis, shared by all processes.
    Redis,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut RedisSettings)) -> String {
        let mut settings =
            RedisSettings { url: "redis://:hunter2@localhost".into(), ..RedisSettings::default() };
        settings.validate().expect("sound before the change");
        change(&mut settings);
        let refusal = settings.validate().expect_err("unsound").to_string();
        assert!(!refusal.contains("hunter2"), "{refusal}");
        refusal
    }

    #[test]
    fn what_cannot_work_is_refused_without_the_password() {
        let with_url = |url: &'static str| refused(|settings| settings.url = url.into());
        assert!(with_url("hunter2@nowhere").contains("no address"));
        assert!(with_url("http://:hunter2@localhost").contains("http://"));
        assert!(with_url("rediss://:hunter2@localhost/#insecure").contains("redis.ca_file"));
        assert!(refused(|settings| settings.ca_file = Some("ca.pem".into())).contains("rediss://"));
        assert!(refused(|settings| settings.prefix = "a:b".into()).contains("redis.prefix"));
        assert!(refused(|settings| settings.prefix = String::new()).contains("redis.prefix"));
        let zero = refused(|settings| settings.command_timeout = Duration::ZERO);
        assert!(zero.contains("redis.command_timeout"), "{zero}");
    }

    #[test]
    fn a_cache_on_redis_needs_redis() {
        let cache = CacheSettings { kind: CacheKind::Redis, ..CacheSettings::default() };
        let refusal = cache.validate(&RedisSettings::default()).expect_err("no redis").to_string();
        assert!(refusal.contains("redis.url"), "{refusal}");
    }
}
