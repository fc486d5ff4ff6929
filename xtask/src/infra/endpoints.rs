//! `infra.json`: where the servers are, and how to speak to them as their administrator.
//!
//! The stories read the same file (`testing/src/infra.rs`), and `--infra FILE` takes one of your own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use super::record::Record;
use super::server::SERVERS;
use super::site::Site;
use crate::files::{self, Access};
use crate::home::Home;

/// The servers, by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Endpoints(BTreeMap<String, Endpoint>);

/// Where a server is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Endpoint {
    /// Its URL, with user and password where it has them.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    /// `host:port`, several of them with commas between; Kafka alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    brokers: Option<String>,
    /// The token of an administrator; Consul alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

impl Endpoint {
    /// A server that has a URL.
    pub(crate) fn url(url: String) -> Self {
        Self { url: Some(url), ..Self::default() }
    }

    /// A Kafka cluster.
    pub(crate) fn brokers(brokers: String) -> Self {
        Self { brokers: Some(brokers), ..Self::default() }
    }

    /// `host:port`, without who logs in there; the first broker of Kafka.
    fn address(&self) -> Option<&str> {
        if let Some(brokers) = &self.brokers {
            return brokers.split(',').next().map(str::trim);
        }
        let (_, rest) = self.url.as_deref()?.split_once("://")?;
        let place = rest.split(['/', '?']).next()?;
        Some(place.rsplit_once('@').map_or(place, |(_, place)| place))
    }

    /// With the token of an administrator.
    pub(crate) fn with_token(self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self }
    }
}

impl Endpoints {
    /// The file of a state folder.
    pub(crate) fn file(home: &Home) -> PathBuf {
        home.path("infra/infra.json")
    }

    /// Those of the servers that run.
    pub(crate) fn of_running(site: &Site) -> Self {
        let running = SERVERS.iter().filter_map(|server| {
            let record = Record::running(site, server.name())?;
            let endpoint = server.endpoint(&site.with_offset(record.port_offset));
            Some((server.name().to_owned(), endpoint))
        });
        Self(running.collect())
    }

    /// Reads a file.
    pub(crate) fn load(file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read(file).with_context(|| {
            format!("{} cannot be read\nmend: cargo xtask infra up", file.display())
        })?;
        serde_json::from_slice(&text).with_context(|| {
            format!("{} does not say where servers are: see docs/infrastructure.md", file.display())
        })
    }

    /// Writes the file of a site; removes it when nothing runs.
    pub(crate) fn save(&self, site: &Site) -> anyhow::Result<()> {
        let file = site.path("infra.json");
        if self.0.is_empty() {
            return files::remove(&file);
        }
        files::write(&file, format!("{}\n", self.to_json()?).as_bytes(), Access::Owner)
    }

    /// As the file has it.
    pub(crate) fn to_json(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string_pretty(self)?)
    }

    /// The URL of a server.
    pub(crate) fn url_of(&self, server: &str) -> anyhow::Result<&str> {
        self.value(server, "url", |endpoint| endpoint.url.as_deref())
    }

    /// Where Kafka is.
    pub(crate) fn kafka_brokers(&self) -> anyhow::Result<&str> {
        self.value("kafka", "brokers", |endpoint| endpoint.brokers.as_deref())
    }

    /// The token of an administrator of Consul; empty where Consul asks for none.
    pub(crate) fn consul_token(&self) -> &str {
        self.0.get("consul").and_then(|consul| consul.token.as_deref()).unwrap_or_default()
    }

    /// `host:port` of each server that the file states.
    pub(crate) fn addresses(&self) -> Vec<(&str, &str)> {
        self.0
            .iter()
            .filter_map(|(name, endpoint)| Some((name.as_str(), endpoint.address()?)))
            .collect()
    }

    fn value<'a>(
        &'a self,
        server: &str,
        key: &str,
        value: impl Fn(&'a Endpoint) -> Option<&'a str>,
    ) -> anyhow::Result<&'a str> {
        match self.0.get(server).and_then(value) {
            Some(value) => Ok(value),
            None => bail!("infra.json states no `{key}` of {server}\nmend: cargo xtask infra up"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_ones_own_may_leave_out_what_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("infra.json");
        let text = r#"{"postgres": {"url": "postgres://a:b@db:5432/postgres"}}"#;
        std::fs::write(&file, text).unwrap();
        let endpoints = Endpoints::load(&file).unwrap();
        assert_eq!(endpoints.url_of("postgres").unwrap(), "postgres://a:b@db:5432/postgres");
        let refused = endpoints.kafka_brokers().unwrap_err().to_string();
        assert!(refused.contains("`brokers` of kafka"), "{refused}");
        assert_eq!(endpoints.consul_token(), "");
        assert_eq!(endpoints.addresses(), [("postgres", "db:5432")]);
    }

    #[test]
    fn a_file_that_is_not_there_names_the_mend() {
        let refused = Endpoints::load(Path::new("/nowhere/infra.json")).unwrap_err().to_string();
        assert!(refused.contains("cargo xtask infra up"), "{refused}");
    }
}
