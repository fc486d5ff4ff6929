//! The real servers that a run of the tests may use: PostgreSQL, Redis, Kafka, Consul and etcd.
//!
//! `cargo xtask infra up` starts them and writes down where they are; [`INFRA_VARIABLE`] names that
//! file to the tests. Without the variable the stories run on the embedded adapters. With it they
//! run on the real ones, and a server that cannot be had fails them: it is never skipped in silence.

use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;
use url::Url;

/// The environment variable that names the file with the servers' addresses.
pub const INFRA_VARIABLE: &str = "MAINSTAY_TEST_INFRA";

/// How long a server may take to take a connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where the servers are, and how to speak to them as their administrator.
#[derive(Clone, Debug, Deserialize)]
pub struct Infra {
    /// PostgreSQL.
    pub postgres: Postgres,
    /// Redis.
    pub redis: Redis,
    /// Apache Kafka.
    pub kafka: Kafka,
    /// HashiCorp Consul.
    pub consul: Consul,
    /// etcd.
    pub etcd: Etcd,
}

/// A PostgreSQL server.
#[derive(Clone, Debug, Deserialize)]
pub struct Postgres {
    /// `postgres://user:password@host:port/database` of a superuser.
    pub url: String,
}

/// A Redis server.
#[derive(Clone, Debug, Deserialize)]
pub struct Redis {
    /// `redis://:password@host:port`.
    pub url: String,
}

/// A Kafka cluster.
#[derive(Clone, Debug, Deserialize)]
pub struct Kafka {
    /// `host:port`, several of them with commas between.
    pub brokers: String,
}

/// A Consul agent.
#[derive(Clone, Debug, Deserialize)]
pub struct Consul {
    /// `http://host:port`.
    pub url: String,
    /// A token that may do everything.
    pub token: String,
}

/// An etcd server.
#[derive(Clone, Debug, Deserialize)]
pub struct Etcd {
    /// `http://host:port`.
    pub url: String,
}

/// The servers of this run; `None` if it runs on the embedded adapters.
///
/// # Panics
/// If [`INFRA_VARIABLE`] names no file that says where all of them are; the message names the mend.
pub fn infra() -> Option<&'static Infra> {
    static INFRA: OnceLock<Option<Infra>> = OnceLock::new();
    INFRA.get_or_init(stated).as_ref()
}

fn stated() -> Option<Infra> {
    let path = std::env::var_os(INFRA_VARIABLE)?;
    Some(Infra::read(Path::new(&path)).unwrap_or_else(|error| {
        panic!(
            "the real servers of {INFRA_VARIABLE}={} cannot be used: {error:#}\n\
             mend: cargo xtask infra up, or unset the variable to test on the embedded adapters",
            path.display()
        )
    }))
}

impl Infra {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read(path).context("the file cannot be read")?;
        serde_json::from_slice(&text).context("the file does not say where all servers are")
    }

    /// Whether every server takes a connection; an error names the first that does not.
    pub fn check(&self) -> anyhow::Result<()> {
        let urls = [
            ("PostgreSQL", &self.postgres.url),
            ("Redis", &self.redis.url),
            ("Consul", &self.consul.url),
            ("etcd", &self.etcd.url),
        ];
        for (name, url) in urls {
            connect(&address(url)?).with_context(|| format!("{name} does not answer"))?;
        }
        let brokers: Vec<&str> = self.kafka.brokers.split(',').map(str::trim).collect();
        ensure!(
            brokers.iter().any(|broker| connect(broker).is_ok()),
            "Kafka does not answer at {}",
            self.kafka.brokers
        );
        Ok(())
    }
}

/// `host:port` of a URL.
fn address(url: &str) -> anyhow::Result<String> {
    // The message leaves the URL out, for it may hold a password.
    let url = Url::parse(url).context("a server's address is no URL")?;
    match (url.host_str(), url.port_or_known_default()) {
        (Some(host), Some(port)) => Ok(format!("{host}:{port}")),
        _ => bail!("a {} URL lacks host or port", url.scheme()),
    }
}

fn connect(address: &str) -> anyhow::Result<()> {
    let mut reason = anyhow::anyhow!("no such host");
    for candidate in address.to_socket_addrs().with_context(|| address.to_owned())? {
        match TcpStream::connect_timeout(&candidate, PATIENCE) {
            Ok(_) => return Ok(()),
            Err(error) => reason = error.into(),
        }
    }
    Err(reason.context(address.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::ports::free_address;

    #[test]
    fn a_file_that_lacks_a_server_is_refused_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("infra.json");
        std::fs::write(&file, r#"{"postgres": {"url": "postgres://a@127.0.0.1:1/a"}}"#).unwrap();
        let refused = format!("{:#}", Infra::read(&file).unwrap_err());
        assert!(refused.contains("redis"), "{refused}");
    }

    #[test]
    fn a_server_that_is_away_is_named_without_its_password() {
        let here = TcpListener::bind("127.0.0.1:0").unwrap();
        let away = free_address();
        let here = here.local_addr().unwrap();
        let infra = |redis| Infra {
            postgres: Postgres { url: format!("postgres://postgres:secret@{here}/postgres") },
            redis: Redis { url: format!("redis://:secret@{redis}") },
            kafka: Kafka { brokers: format!("{away}, {here}") },
            consul: Consul { url: format!("http://{here}"), token: "secret".to_owned() },
            etcd: Etcd { url: format!("http://{here}") },
        };
        infra(here).check().unwrap();
        let refused = format!("{:#}", infra(away).check().unwrap_err());
        assert!(refused.contains("Redis does not answer"), "{refused}");
        assert!(refused.contains(&away.to_string()), "{refused}");
        assert!(!refused.contains("secret"), "{refused}");
    }
}
