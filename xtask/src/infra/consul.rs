//! HashiCorp Consul: one server, access control on, everything denied that no token allows.

mod package;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::endpoints::Endpoint;
use super::launch::Launch;
use super::program::{self, Missing, Program};
use super::server::Server;
use super::site::Site;
use crate::files::{self, Access};
use crate::http::Request;
use crate::terminal::Screen;

/// Clients; other servers; gossip. DNS, gRPC and gossip between data centres are off.
const PORTS: [u16; 3] = [18500, 18300, 18301];

/// Blocking queries hold a connection each, and all of a machine's come from one address.
const MAX_CONNECTIONS: u32 = 4000;

/// The Consul server.
#[derive(Debug)]
pub(crate) struct Consul;

impl Server for Consul {
    fn name(&self) -> &'static str {
        "consul"
    }

    fn title(&self) -> &'static str {
        "Consul"
    }

    fn ports(&self) -> &'static [u16] {
        &PORTS
    }

    fn missing(&self, site: &Site) -> Option<Missing> {
        if program(site).is_some() || package::source().is_some() {
            return None;
        }
        Some(Missing::new(
            self.title(),
            "install HashiCorp's package or binary, so that `consul` is on the path",
        ))
    }

    fn obtain(&self, site: &Site, screen: &Screen) -> anyhow::Result<Program> {
        if program(site).is_none() {
            screen.note("fetching Consul, the package of Debian 11");
            package::fetch(site)?;
        }
        Program::at(program(site).context("the package holds no consul")?, "version")
    }

    fn prepare(&self, site: &Site, program: &Program) -> anyhow::Result<()> {
        let folder = site.folder(self.name())?;
        let settings = serde_json::to_vec_pretty(&settings(site, program))?;
        files::write(&folder.join("consul.json"), &settings, Access::Owner)
    }

    fn command(&self, site: &Site, program: &Program) -> anyhow::Result<Command> {
        let mut command = Launch::default().command(&program.path);
        command.args(["agent", "-config-file"]).arg(site.folder(self.name())?.join("consul.json"));
        Ok(command)
    }

    fn check(&self, site: &Site) -> anyhow::Result<()> {
        let address = site.address_of(self);
        let leader = Request::get("/v1/status/leader").send(address)?;
        ensure!(leader.body.contains(':'), "Consul has no leader yet");
        let token = Request::get("/v1/acl/token/self")
            .header("x-consul-token", &site.passwords.consul)
            .send(address)?;
        ensure!(token.status == 200, "Consul does not know its management token yet");
        Ok(())
    }

    fn endpoint(&self, site: &Site) -> Endpoint {
        Endpoint::url(format!("http://{}", site.address_of(self)))
            .with_token(&site.passwords.consul)
    }
}

/// On the path, or out of the package.
fn program(site: &Site) -> Option<PathBuf> {
    let unpacked = site.path(package::PROGRAM);
    program::find("consul").or_else(|| program::is_program(&unpacked).then_some(unpacked))
}

fn settings(site: &Site, program: &Program) -> Value {
    let address = site.address(PORTS[0]);
    let version = (program.major(), program.minor());
    // Consul 1.11 gave the token a new name.
    let management = if version < (1, 11) { "master" } else { "initial_management" };
    let token = &site.passwords.consul;
    let mut ports = json!({
        "http": address.port(),
        "server": site.address(PORTS[1]).port(),
        "serf_lan": site.address(PORTS[2]).port(),
        "serf_wan": -1,
        "dns": -1,
        "grpc": -1,
    });
    // Consul 1.14 opens one more by itself.
    if version >= (1, 14) {
        ports["grpc_tls"] = json!(-1);
    }
    json!({
        "server": true,
        "bootstrap_expect": 1,
        "node_name": "mainstay",
        "data_dir": site.path("consul/data"),
        "bind_addr": address.ip(),
        "client_addr": address.ip(),
        "ports": ports,
        "acl": {
            "enabled": true,
            "default_policy": "deny",
            "tokens": {management: token, "agent": token},
        },
        "limits": {"http_max_conns_per_client": MAX_CONNECTIONS},
        // Elections as fast as one node on loopback can have them.
        "performance": {"raft_multiplier": 1},
        "disable_update_check": true,
        // Each probe of a service is worth five lines to it otherwise.
        "log_level": "warn",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::Home;

    #[test]
    fn settings_speak_the_language_of_their_version() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path().to_owned()).unwrap();
        let site = Site::open(&home, Some(100)).unwrap();
        let settings = |version: &str| {
            let program = Program { path: PathBuf::new(), version: version.to_owned() };
            settings(&site, &program)
        };
        let old = settings("1.8.7");
        assert_eq!(old["acl"]["tokens"]["master"], site.passwords.consul);
        assert_eq!(old["ports"]["http"], 18600);
        assert_eq!(old["ports"]["grpc_tls"], Value::Null);
        let new = settings("1.18.0");
        assert_eq!(new["acl"]["tokens"]["initial_management"], site.passwords.consul);
        assert_eq!(new["ports"]["grpc_tls"], -1);
    }
}
