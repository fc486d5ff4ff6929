//! The gateway's settings: the table `gateway`.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use mainstay::contract::auth::{DEFAULT_AUDIENCE, DEFAULT_ISSUER};
use mainstay::kernel::settings::{Secret, ServiceSettings};
use serde::{Deserialize, Serialize};

mod cors;
mod rate;
mod tls;

pub use cors::CorsGroup;
pub use rate::{Rate, RateTable};
pub use tls::EdgeTls;

/// The rate class of methods that state none that the table knows.
pub(crate) const DEFAULT_CLASS: &str = "default";

/// The plan of callers whose own has no column in the table, and of those who have none.
pub(crate) const DEFAULT_PLAN: &str = "default";

/// What a gateway runs with.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewaySettings {
    /// `[gateway.tls]`
    pub tls: EdgeTls,
    /// How many proxies in front of the gateway are ours. The client's address is the entry that
    /// the outermost of them added to `X-Forwarded-For`; with 0, the default, the header is not
    /// read and the client is whoever connects.
    pub trusted_hops: usize,
    /// Origins whose pages may call from a browser, such as `https://app.example.com`; `*` is every
    /// origin. Default: none.
    pub cors_origins: Vec<String>,
    /// How long a browser may remember what CORS allowed. Default: `10m`. These two change without a
    /// restart.
    #[serde(with = "humantime_serde")]
    pub cors_max_age: Duration,
    /// `[[gateway.cors_groups]]`: routes with pages of their own, by the beginning of their paths. What
    /// belongs to none is by `cors_origins`. A change takes effect without a restart. Default: none.
    pub cors_groups: Vec<CorsGroup>,
    /// Headers of every reply that does not state them itself, beside or in the place of the default
    /// ones; an empty value leaves one out. A change takes effect without a restart. Default:
    /// `content-security-policy`, `permissions-policy`, `referrer-policy`, `x-content-type-options` and
    /// `x-frame-options` that allow nothing.
    pub security_headers: BTreeMap<String, String>,
    /// For how long browsers are told to speak TLS with this host and those below it, where the request
    /// came over TLS: to a proxy of ours, which says so in `X-Forwarded-Proto`, or to us. `0s` tells them
    /// nothing. A change takes effect without a restart. Default: `365days`.
    #[serde(with = "humantime_serde")]
    pub hsts_max_age: Duration,
    /// The most requests that one client address may send, of whatever kind, as `count/period`.
    /// An IPv6 client is its /64 network. Default: `6000/1m`.
    pub ip_rate: Rate,
    /// How many requests an address may send at once before `ip_rate` slows it down. Default: 600.
    pub ip_burst: u32,
    /// How many calls a caller may make: class x plan. The classes are those that contracts state;
    /// the plan `default` is for plans without an entry and for callers without a plan.
    /// Entries given here replace those of the default table one by one. A change takes effect
    /// without a restart. Default: see `--print-settings`.
    #[serde(deserialize_with = "rate::overlay")]
    pub rates: RateTable,
    /// Rate classes that are counted and logged and not enforced, to try a limit before it bites. A
    /// change takes effect without a restart. Default: none.
    pub rates_shadow: Vec<String>,
    /// How several gateways count one caller's calls together: `fast`, `strict` or `local`. Without
    /// `redis.url` `fast` is `local`. Default: `fast`.
    pub rate_mode: RateMode,
    /// For how many callers a gateway itself remembers limits at once. Default: 100000.
    pub rate_keys: usize,
    /// How long it is kept what came of a request with an `Idempotency-Key`. Default: `24h`.
    #[serde(with = "humantime_serde")]
    pub idempotency_keep: Duration,
    /// The largest reply that is kept for such a request, in bytes. Default: 262144.
    pub idempotency_max_bytes: usize,
    /// How many such requests one gateway without Redis remembers at once; more are refused. Default:
    /// 100000.
    pub idempotency_keys: usize,
    /// Signs cursors: the same on every gateway, at least 32 random characters. Empty, the default,
    /// makes a key of its own and keeps it in the data folder, which is right for one gateway.
    pub cursor_key: Secret<String>,
    /// `iss` of the access tokens that are accepted, equal to auth's. Default:
    /// `http://localhost:8080`.
    pub token_issuer: String,
    /// `aud` of the access tokens that are accepted, equal to auth's. Default: `mainstay`.
    pub token_audience: String,
    /// How old what is known of a user's plan may be before billing is asked about it, in the
    /// background. Changes of plans are told by billing itself; while it tells nothing, no more than
    /// a second. Default: `1m`.
    #[serde(with = "humantime_serde")]
    pub entitlements_fresh: Duration,
    /// How long what is known of a user's plan is used while billing is away. Default: `5m`.
    #[serde(with = "humantime_serde")]
    pub entitlements_kept: Duration,
    /// How long a request's body may take to arrive. Default: `30s`.
    #[serde(with = "humantime_serde")]
    pub body_timeout: Duration,
    /// How long a stream of server-sent events is silent before a comment says that it lives, so that
    /// nobody on the way takes it for dead. Default: `15s`.
    #[serde(with = "humantime_serde")]
    pub stream_heartbeat: Duration,
    /// How often a WebSocket on which nothing happens is asked for a sign of life; after two without
    /// one it is closed. Default: `30s`.
    #[serde(with = "humantime_serde")]
    pub socket_ping: Duration,
    /// The most messages that a caller may send over one WebSocket, as `count/period`. Default:
    /// `600/1m`.
    pub socket_rate: Rate,
    /// The smallest reply in bytes that is compressed, if the caller accepts gzip, br or zstd. Default:
    /// 1024.
    pub compression_min_bytes: usize,
    /// The longest path and query in bytes. Default: 8192.
    pub uri_max_bytes: usize,
}

/// How limits are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RateMode {
    /// Each gateway decides at once by what it knows and compares with the others every 100 ms: n
    /// gateways let at most n full buckets through where one was meant, beside what comes back. A
    /// gateway that is started again counts as one more.
    Fast,
    /// Each call is decided in Redis, for all gateways together; needs `redis.url`.
    Strict,
    /// In each gateway for itself: n gateways let n times the limit through.
    Local,
}

/// The settings that take effect without a restart.
pub(crate) const RELOADABLE: &[&str] = &[
    "gateway.rates",
    "gateway.rates_shadow",
    "gateway.cors_origins",
    "gateway.cors_max_age",
    "gateway.cors_groups",
    "gateway.security_headers",
    "gateway.hsts_max_age",
];

impl Default for GatewaySettings {
    fn default() -> Self {
        Self {
            tls: EdgeTls::default(),
            trusted_hops: 0,
            cors_origins: Vec::new(),
            cors_max_age: Duration::from_secs(600),
            cors_groups: Vec::new(),
            security_headers: BTreeMap::new(),
            hsts_max_age: Duration::from_secs(365 * 24 * 60 * 60),
            ip_rate: Rate::per_minute(6000),
            ip_burst: 600,
            rates: rate::defaults(),
            rates_shadow: Vec::new(),
            rate_mode: RateMode::Fast,
            rate_keys: 100_000,
            idempotency_keep: Duration::from_secs(24 * 60 * 60),
            idempotency_max_bytes: 256 * 1024,
            idempotency_keys: 100_000,
            cursor_key: Secret::default(),
            token_issuer: DEFAULT_ISSUER.to_owned(),
            token_audience: DEFAULT_AUDIENCE.to_owned(),
            entitlements_fresh: Duration::from_secs(60),
            entitlements_kept: Duration::from_secs(300),
            body_timeout: Duration::from_secs(30),
            stream_heartbeat: Duration::from_secs(15),
            socket_ping: Duration::from_secs(30),
            socket_rate: Rate::per_minute(600),
            compression_min_bytes: 1024,
            uri_max_bytes: 8192,
        }
    }
}

impl ServiceSettings for GatewaySettings {
    const SECTION: &'static str = "gateway";

    fn validate(&self) -> anyhow::Result<()> {
        self.tls.files()?;
        ensure!(self.ip_burst > 0, "gateway.ip_burst is 0: nobody could call; set it above 0");
        ensure!(self.rate_keys > 0, "gateway.rate_keys is 0; set it above 0");
        ensure!(
            !self.stream_heartbeat.is_zero(),
            "gateway.stream_heartbeat is 0s; set it above 0, such as 15s"
        );
        ensure!(
            !self.socket_ping.is_zero(),
            "gateway.socket_ping is 0s; set it above 0, such as 30s"
        );
        for (class, plans) in &self.rates {
            ensure!(
                plans.contains_key(DEFAULT_PLAN),
                "gateway.rates.{class} has no `{DEFAULT_PLAN}`: add one, it is for every other plan"
            );
        }
        ensure!(
            self.rates.contains_key(DEFAULT_CLASS),
            "gateway.rates has no class `{DEFAULT_CLASS}`: add it, it is for every other class"
        );
        cors::validate_origins(&self.cors_origins).context("gateway.cors_origins")?;
        for group in &self.cors_groups {
            group.validate()?;
        }
        for class in &self.rates_shadow {
            ensure!(
                self.rates.contains_key(class),
                "gateway.rates_shadow names {class}, which gateway.rates does not: add it there, or \
                 take it out here"
            );
        }
        ensure!(
            self.idempotency_keep >= Duration::from_secs(60),
            "gateway.idempotency_keep is shorter than 1m: who repeats a request may come later"
        );
        let key = self.cursor_key.expose().len();
        ensure!(
            key == 0 || key >= 32,
            "gateway.cursor_key has {key} characters: give it at least 32, or none for a key of its own"
        );
        ensure!(!self.token_issuer.is_empty(), "gateway.token_issuer is empty; set auth's issuer");
        ensure!(!self.token_audience.is_empty(), "gateway.token_audience is empty; set auth's");
        Ok(())
    }
}
