//! The platform on real servers: `up --real`.
//!
//! Each service gets a database role and a schema of its own, all of them Redis, Kafka, and a token
//! of Consul that allows what registering takes and nothing else. What is kept lies in the state
//! folder: `real.json` says which servers, passwords are files below `secrets/`.

mod consul;
mod postgres;

use std::ffi::OsString;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::credentials::read_secret;
use crate::files::{self, Access};
use crate::home::Home;
use crate::infra::{Broker, Endpoints, Redis};
use crate::mesh::{Service, gateway};
use crate::psql::{self, Psql};

/// What topics and consumer groups, Redis keys and Consul services of a platform begin with, and
/// the name of its database, where nothing else is said.
const PLATFORM: &str = "mainstay";

/// How long a server may take for a connection, when it is asked whether it is there.
const PATIENCE: Duration = Duration::from_secs(1);

/// `real.json`: which servers a state folder was used with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Real {
    /// The file that says where the servers are.
    infra: PathBuf,
    kafka_brokers: String,
    consul_url: String,
    #[serde(default = "usual_platform")]
    platform: String,
}

/// The database, topics, keys and instances that platforms have when nothing else is said.
fn usual_platform() -> String {
    PLATFORM.to_owned()
}

impl Real {
    /// Makes what the services find on the servers, as often as it is called, and keeps where that
    /// is.
    pub(crate) fn provision(home: &Home, infra: &Path) -> anyhow::Result<Self> {
        Self::provision_as(home, infra, PLATFORM)
    }

    /// As [`provision`](Self::provision), for one of several platforms that share the servers. Its
    /// name is of lower-case letters and digits.
    pub(crate) fn provision_as(home: &Home, infra: &Path, platform: &str) -> anyhow::Result<Self> {
        let endpoints = Endpoints::load(infra)?;
        require_reachable(&endpoints)?;
        let real = Self {
            infra: infra.to_owned(),
            kafka_brokers: endpoints.kafka_brokers()?.to_owned(),
            consul_url: endpoints.url_of("consul")?.to_owned(),
            platform: platform.to_owned(),
        };
        // Written first, so that an interrupted run can be forgotten.
        files::write(&file(home), &serde_json::to_vec_pretty(&real)?, Access::Owner)?;
        postgres::provision(home, endpoints.url_of("postgres")?, platform)
            .context("PostgreSQL cannot be prepared")?;
        write_secret(&redis_url_file(home), endpoints.url_of("redis")?)?;
        let token = consul::provision(home, &real.consul_url, endpoints.consul_token(), platform)
            .context("Consul cannot be prepared")?;
        write_secret(&consul_token_file(home), &token)?;
        Ok(real)
    }

    /// What the state folder was used with, if it was.
    pub(crate) fn load(home: &Home) -> anyhow::Result<Option<Self>> {
        let file = file(home);
        match std::fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .with_context(|| format!("{} is damaged", file.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("{} cannot be read", file.display())),
        }
    }

    /// The settings of a service that runs on them.
    pub(crate) fn variables(
        &self,
        home: &Home,
        service: &Service,
    ) -> Vec<(&'static str, OsString)> {
        let mut variables: Vec<(&'static str, OsString)> = vec![
            ("MAINSTAY_REDIS__URL_FILE", redis_url_file(home).into()),
            ("MAINSTAY_REDIS__PREFIX", self.platform.clone().into()),
            ("MAINSTAY_CACHE__KIND", "redis".into()),
            ("MAINSTAY_EVENTS__KIND", "kafka".into()),
            ("MAINSTAY_EVENTS__TOPIC_PREFIX", self.topic_prefix().into()),
            ("MAINSTAY_EVENTS__KAFKA__BROKERS", self.kafka_brokers.clone().into()),
            ("MAINSTAY_REGISTRY__KIND", "consul".into()),
            ("MAINSTAY_REGISTRY__CONSUL__URL", self.consul_url.clone().into()),
            ("MAINSTAY_REGISTRY__CONSUL__PREFIX", self.platform.clone().into()),
            ("MAINSTAY_REGISTRY__CONSUL__TOKEN_FILE", consul_token_file(home).into()),
        ];
        if has_database(service) {
            let file = postgres::url_file(home, service);
            variables.push(("MAINSTAY_DATABASE__URL_FILE", file.into()));
        }
        variables
    }

    /// The table `[registry.consul]` for whoever looks for the services.
    pub(crate) fn consul(&self, home: &Home) -> anyhow::Result<serde_json::Value> {
        let file = consul_token_file(home);
        let token = std::fs::read_to_string(&file)
            .with_context(|| format!("{} cannot be read", file.display()))?;
        Ok(serde_json::json!({
            "url": self.consul_url,
            "prefix": self.platform,
            "token": token.trim_end(),
        }))
    }

    /// Where Kafka is.
    pub(crate) fn kafka_brokers(&self) -> &str {
        &self.kafka_brokers
    }

    /// What the topics of the platform begin with.
    pub(crate) fn topic_prefix(&self) -> String {
        format!("{}.", self.platform)
    }

    /// What Redis' keys and Consul's services of the platform begin with.
    pub(crate) fn prefix(&self) -> &str {
        &self.platform
    }

    /// The URL by which a service logs in at PostgreSQL.
    pub(crate) fn database_url(&self, home: &Home, service: &Service) -> anyhow::Result<String> {
        let file = postgres::url_file(home, service);
        read_secret(&file).with_context(|| format!("{} cannot be read", file.display()))
    }

    /// The names of its instances that are registered in Consul.
    pub(crate) fn registered(&self) -> anyhow::Result<Vec<String>> {
        let endpoints = Endpoints::load(&self.infra)?;
        consul::registered(&self.consul_url, endpoints.consul_token(), &self.platform)
    }

    /// Servers that take no connection now, each with the mend.
    pub(crate) fn faults(&self) -> Vec<String> {
        match Endpoints::load(&self.infra) {
            Ok(endpoints) => unreachable(&endpoints),
            Err(error) => vec![format!("{error:#}")],
        }
    }

    /// Removes what the platform has on the servers: its database and roles, keys, topics, registered
    /// instances, and what lets it speak to Consul.
    pub(crate) fn forget(&self, home: &Home) -> anyhow::Result<()> {
        let endpoints = Endpoints::load(&self.infra)?;
        require_reachable(&endpoints)?;
        remove(&endpoints, &self.platform)?;
        files::remove(&file(home))
    }

    /// The database of the platform, for its administrator.
    pub(crate) fn database(&self) -> anyhow::Result<Psql> {
        let endpoints = Endpoints::load(&self.infra)?;
        Psql::open(&psql::with_database(endpoints.url_of("postgres")?, &self.platform)?)
    }
}

/// Removes what a platform has on the servers. The database goes last: as long as it is there, it
/// tells that there was a platform.
pub(crate) fn remove(endpoints: &Endpoints, platform: &str) -> anyhow::Result<()> {
    Redis::open(endpoints.url_of("redis")?)?.forget(&format!("{platform}:"))?;
    let mut kafka = Broker::open(endpoints.kafka_brokers()?)?;
    let mut topics = kafka.topics()?;
    topics.retain(|topic| topic.starts_with(&format!("{platform}.")));
    kafka.delete(&topics)?;
    consul::forget(endpoints.url_of("consul")?, endpoints.consul_token(), platform)?;
    postgres::forget(endpoints.url_of("postgres")?, platform)
}

/// Whether a state folder was used with real servers.
pub(crate) fn file(home: &Home) -> PathBuf {
    home.path("real.json")
}

/// Every service but the gateway keeps something.
pub(crate) fn has_database(service: &Service) -> bool {
    service != gateway()
}

fn redis_url_file(home: &Home) -> PathBuf {
    home.path("secrets/redis-url")
}

fn consul_token_file(home: &Home) -> PathBuf {
    home.path("secrets/consul-token")
}

fn write_secret(path: &Path, value: &str) -> anyhow::Result<()> {
    files::write(path, format!("{value}\n").as_bytes(), Access::Owner)
}

fn require_reachable(endpoints: &Endpoints) -> anyhow::Result<()> {
    let faults = unreachable(endpoints);
    anyhow::ensure!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}

fn unreachable(endpoints: &Endpoints) -> Vec<String> {
    let away = |address: &str| {
        let candidates = address.to_socket_addrs().into_iter().flatten();
        !candidates.into_iter().any(|at| TcpStream::connect_timeout(&at, PATIENCE).is_ok())
    };
    endpoints
        .addresses()
        .into_iter()
        .filter(|(_, address)| away(address))
        .map(|(name, address)| {
            format!("{name} does not answer at {address}\nmend: cargo xtask infra up")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::parse_service;

    #[test]
    fn a_service_gets_files_for_its_secrets_and_the_gateway_no_database() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path().to_owned()).unwrap();
        let real = Real {
            infra: PathBuf::from("infra.json"),
            kafka_brokers: "127.0.0.1:19092".to_owned(),
            consul_url: "http://127.0.0.1:18500".to_owned(),
            platform: usual_platform(),
        };
        let names = |service: &str| -> Vec<&str> {
            let variables = real.variables(&home, parse_service(service).unwrap());
            variables.into_iter().map(|(name, _)| name).collect()
        };
        assert!(names("auth-svc").contains(&"MAINSTAY_DATABASE__URL_FILE"));
        assert!(!names("gateway").contains(&"MAINSTAY_DATABASE__URL_FILE"));
        assert!(names("gateway").contains(&"MAINSTAY_REDIS__URL_FILE"));
    }

    #[test]
    fn a_server_that_is_away_is_named_with_the_mend() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path().to_owned()).unwrap();
        let away = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let infra = home.path("infra.json");
        let text = format!(r#"{{"redis": {{"url": "redis://:secret@{away}"}}}}"#);
        std::fs::write(&infra, text).unwrap();
        let refused = Real::provision(&home, &infra).unwrap_err().to_string();
        assert!(refused.contains(&format!("redis does not answer at {away}")), "{refused}");
        assert!(refused.contains("mend:") && !refused.contains("secret"), "{refused}");
        assert_eq!(Real::load(&home).unwrap(), None);
    }
}
