//! What there is to know about a kind of server, and the list of all kinds.

use std::process::Command;

use anyhow::bail;
use rustix::process::Signal;

use super::endpoints::Endpoint;
use super::program::{Missing, Program};
use super::site::Site;
use super::{consul, etcd, kafka, postgres, redis};
use crate::terminal::Screen;

/// A kind of server: how it is found, prepared, started and asked.
pub(crate) trait Server: Sync + std::fmt::Debug {
    /// Its name on the command line, in files and in `infra.json`.
    fn name(&self) -> &'static str;

    /// Its name for people.
    fn title(&self) -> &'static str;

    /// Its ports before the offset; clients use the first.
    fn ports(&self) -> &'static [u16];

    /// What keeps it from being started here, if anything does.
    fn missing(&self, site: &Site) -> Option<Missing>;

    /// Finds the program; fetches it where that needs no root, and says so.
    fn obtain(&self, site: &Site, screen: &Screen) -> anyhow::Result<Program>;

    /// Makes its data folder and writes its settings.
    fn prepare(&self, site: &Site, program: &Program) -> anyhow::Result<()>;

    /// The command that runs it in the foreground.
    fn command(&self, site: &Site, program: &Program) -> anyhow::Result<Command>;

    /// Whether it serves: asked by its own protocol, with the password that clients use.
    fn check(&self, site: &Site) -> anyhow::Result<()>;

    /// Where it is, for `infra.json`.
    fn endpoint(&self, site: &Site) -> Endpoint;

    /// The signal that ends it in order, without waiting for its clients.
    fn stop_signal(&self) -> Signal {
        Signal::TERM
    }
}

/// Every kind of server, in the order of their start.
pub(crate) static SERVERS: [&dyn Server; 5] =
    [&postgres::PostgreSql, &redis::Redis, &kafka::Kafka, &consul::Consul, &etcd::Etcd];

/// The server of a name; for clap.
pub(crate) fn parse(name: &str) -> anyhow::Result<&'static dyn Server> {
    match SERVERS.into_iter().find(|server| server.name() == name) {
        Some(server) => Ok(server),
        None => {
            let names: Vec<_> = SERVERS.iter().map(|server| server.name()).collect();
            bail!("no such server; there are {}", names.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_servers_share_a_port() {
        let ports: Vec<u16> = SERVERS.iter().flat_map(|server| server.ports()).copied().collect();
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), ports.len(), "{ports:?}");
    }

    #[test]
    fn an_unknown_server_is_refused_with_those_there_are() {
        assert_eq!(parse("kafka").unwrap().title(), "Kafka");
        let refused = parse("mysql").unwrap_err().to_string();
        assert!(refused.contains("postgres, redis, kafka, consul, etcd"), "{refused}");
    }
}
