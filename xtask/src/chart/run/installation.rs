//! What whoever installs brings, as docs/install.md tells: servers and what is on them, Secrets, and
//! the values that name all of it. It carries the id of this process on the servers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use super::front::{self, Opening};
use super::sandbox::Brought;
use crate::certificates::Certificates;
use crate::credentials::{PASSWORD_LENGTH, password_of};
use crate::home::Home;
use crate::infra::Endpoints;
use crate::mesh::{SERVICES, gateway};
use crate::observe::{self, Memory};
use crate::process::gone;
use crate::psql::Psql;
use crate::real::{self, Real};

/// How the platforms of runs are called on the servers; the id of the process follows.
const PREFIX: &str = "mainstaychart";

/// How the URL of a database asks for TLS, by a path of the pod.
const VERIFIED: &str = "?sslmode=verify-full&sslrootcert=/etc/mainstay/trust/ca.crt";

/// The length of keys, in bytes.
const KEY_BYTES: usize = 32;

/// A platform's part of the servers, and what stands between.
pub(super) struct Installation {
    endpoints: Endpoints,
    platform: String,
    real: Real,
    /// What goes on with it: TLS in front of servers, and the collector.
    _runtime: Runtime,
    collected: Arc<Memory>,
    /// Values of Helm beside those of the case.
    pub(super) values: Value,
    /// The Secrets that the values name.
    pub(super) secrets: Brought,
    /// The administrator's password, which is in one of them.
    pub(super) password: String,
}

impl Installation {
    /// Makes it, and removes what runs that were killed have left.
    pub(super) fn prepare(
        folder: PathBuf,
        certificates: &Certificates,
        infra: &Path,
    ) -> anyhow::Result<Self> {
        let endpoints = Endpoints::load(infra)?;
        let databases = format!("select datname from pg_database where datname like '{PREFIX}%'");
        let databases = Psql::open(endpoints.url_of("postgres")?)?.run(&databases)?;
        for process in gone(databases.lines(), PREFIX) {
            real::remove(&endpoints, &format!("{PREFIX}{process}"))?;
        }
        let home = Home::at(folder)?;
        std::fs::create_dir(home.path("secrets"))?;
        let platform = format!("{PREFIX}{}", std::process::id());
        let made = Real::provision_as(&home, infra, &platform)
            .and_then(|real| Self::bring(&home, endpoints.clone(), &platform, real, certificates));
        if made.is_err() {
            // The next run removes what this one cannot.
            let _ = real::remove(&endpoints, &platform);
        }
        made
    }

    /// Removes what it has on the servers; done when all processes have ended.
    pub(super) fn remove(&self) -> anyhow::Result<()> {
        real::remove(&self.endpoints, &self.platform)
    }

    /// Whether processes that have ended left nothing in Consul, and all have sent their spans.
    pub(super) fn require_in_order(&self) -> anyhow::Result<()> {
        let left = self.real.registered()?;
        ensure!(left.is_empty(), "still registered in Consul: {}", left.join(", "));
        let sent = self.collected.services();
        let silent = SERVICES.iter().map(|service| service.name).filter(|it| !sent.contains(*it));
        let silent: Vec<_> = silent.collect();
        ensure!(silent.is_empty(), "no spans came from {}", silent.join(", "));
        Ok(())
    }

    fn bring(
        home: &Home,
        endpoints: Endpoints,
        platform: &str,
        real: Real,
        certificates: &Certificates,
    ) -> anyhow::Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let behind_tls = |name: &str, url: &str, opening| {
            let addresses = endpoints.addresses();
            let mut named = addresses.iter().filter(|(server, _)| *server == name);
            let (_, server) = named.next().with_context(|| format!("no address of {name}"))?;
            let front = front::start(runtime.handle(), certificates, server, opening)?;
            moved(url, server, &front.to_string())
        };
        let mut databases = BTreeMap::new();
        for service in SERVICES.iter().filter(|service| *service != gateway()) {
            let url = real.database_url(home, service)?;
            let url = behind_tls("postgres", &url, Opening::Postgres)?;
            databases.insert(service.section, format!("{url}{VERIFIED}"));
        }
        let redis = behind_tls("redis", endpoints.url_of("redis")?, Opening::Tls)?;
        let redis = redis.replacen("redis://", "rediss://", 1);
        let token = real.consul(home)?["token"].as_str().unwrap_or_default().to_owned();
        let (collected, collector) = observe::receive(runtime.handle())?;
        let password = password_of(PASSWORD_LENGTH);
        Ok(Self {
            values: values(&real, endpoints.url_of("consul")?, &format!("http://{collector}")),
            secrets: secrets(databases, redis, token, &password),
            platform: platform.to_owned(),
            _runtime: runtime,
            endpoints,
            real,
            collected,
            password,
        })
    }
}

/// Where the servers are, that instances are found by Consul, and what this platform is called on
/// servers that others use, too.
fn values(real: &Real, consul: &str, collector: &str) -> Value {
    let prefix = real.prefix();
    json!({
        "registry": {
            "kind": "consul",
            "consul": {"url": consul, "existingSecret": "brought-consul"},
        },
        "events": {"kafka": {"brokers": real.kafka_brokers()}},
        "telemetry": {"otlpEndpoint": collector},
        "settings": {
            "registry": {"consul": {"prefix": prefix}},
            "events": {"topic_prefix": real.topic_prefix()},
            "redis": {"prefix": prefix},
        },
    })
}

/// The Secrets that production.yaml and [`values`] name.
fn secrets(
    databases: BTreeMap<&'static str, String>,
    redis: String,
    token: String,
    password: &str,
) -> Brought {
    let key = || STANDARD.encode(password_of(KEY_BYTES));
    let text = str::to_owned;
    // Nobody listens at the port that discards.
    let dsn = text("http://word@127.0.0.1:9/1");
    BTreeMap::from([
        ("brought-database", databases),
        ("brought-redis", BTreeMap::from([("url", redis)])),
        ("brought-consul", BTreeMap::from([("token", token)])),
        (
            "brought-kafka",
            BTreeMap::from([("client", text("{ \"security.protocol\" = \"plaintext\" }"))]),
        ),
        ("brought-errors", BTreeMap::from([("dsn", dsn)])),
        (
            "brought-stripe",
            BTreeMap::from([("api-key", text("sk_word")), ("webhook-secrets", text("whsec_word"))]),
        ),
        (
            "brought-secrets",
            BTreeMap::from([
                ("admin-password", text(password)),
                ("key-encryption-key", key()),
                ("checkpoint-key", key()),
                ("cursor-key", key()),
                ("subject-key", key()),
            ]),
        ),
    ])
}

/// The URL of a server by another address.
fn moved(url: &str, from: &str, to: &str) -> anyhow::Result<String> {
    let (before, after) = url.split_once(from).context("a URL that does not name its server")?;
    ensure!(!after.contains('?'), "a URL with parameters: TLS takes its own");
    Ok(format!("{before}{to}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_leads_elsewhere_and_keeps_who_logs_in() {
        let url = "postgres://mainstay_auth:word@127.0.0.1:15432/mainstay";
        let elsewhere = moved(url, "127.0.0.1:15432", "127.0.0.1:9").unwrap();
        assert_eq!(elsewhere, "postgres://mainstay_auth:word@127.0.0.1:9/mainstay");
        assert!(moved(url, "db:5432", "127.0.0.1:9").is_err());
        assert!(moved("redis://db:1?a=b", "db:1", "127.0.0.1:9").is_err());
    }

    #[test]
    fn keys_are_as_long_as_their_settings_ask() {
        let secrets = secrets(BTreeMap::new(), String::new(), String::new(), "word");
        let key = &secrets["brought-secrets"]["key-encryption-key"];
        assert_eq!(STANDARD.decode(key).unwrap().len(), KEY_BYTES);
        assert_eq!(secrets["brought-secrets"]["admin-password"], "word");
    }
}
