//! etcd: one node.

use std::process::Command;

use anyhow::{Context as _, ensure};

use super::endpoints::Endpoint;
use super::launch::Launch;
use super::program::{Missing, Program};
use super::server::Server;
use super::site::Site;
use crate::http::Request;
use crate::terminal::Screen;

/// Clients; other nodes, of which there are none.
const PORTS: [u16; 2] = [12379, 12380];
const PROGRAM: &str = "etcd";
const NODE: &str = "mainstay";

/// The etcd server.
#[derive(Debug)]
pub(crate) struct Etcd;

impl Server for Etcd {
    fn name(&self) -> &'static str {
        "etcd"
    }

    fn title(&self) -> &'static str {
        "etcd"
    }

    fn ports(&self) -> &'static [u16] {
        &PORTS
    }

    fn missing(&self, _site: &Site) -> Option<Missing> {
        let found = Program::on_path(PROGRAM, "--version");
        found.is_none().then(|| Missing::package(self.title(), "etcd-server"))
    }

    fn obtain(&self, _site: &Site, _screen: &Screen) -> anyhow::Result<Program> {
        Program::on_path(PROGRAM, "--version").context("etcd is not installed")
    }

    fn prepare(&self, site: &Site, _program: &Program) -> anyhow::Result<()> {
        site.folder(self.name()).map(|_| ())
    }

    fn command(&self, site: &Site, program: &Program) -> anyhow::Result<Command> {
        let clients = format!("http://{}", site.address(PORTS[0]));
        let nodes = format!("http://{}", site.address(PORTS[1]));
        let mut command = Launch::default().command(&program.path);
        // Versions before 3.5 want to be told that this is meant.
        if cfg!(target_arch = "aarch64") {
            command.env("ETCD_UNSUPPORTED_ARCH", "arm64");
        }
        command
            .args(["--name", NODE, "--data-dir"])
            .arg(site.folder(self.name())?.join("data"))
            .args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients])
            .args(["--listen-peer-urls", &nodes, "--initial-advertise-peer-urls", &nodes])
            .args(["--initial-cluster", &format!("{NODE}={nodes}")]);
        Ok(command)
    }

    fn check(&self, site: &Site) -> anyhow::Result<()> {
        let answer = Request::get("/health").send(site.address_of(self))?;
        let healthy = answer.status == 200 && answer.body.contains("\"true\"");
        ensure!(healthy, "etcd says: {} {}", answer.status, answer.body.trim());
        Ok(())
    }

    fn endpoint(&self, site: &Site) -> Endpoint {
        Endpoint::url(format!("http://{}", site.address_of(self)))
    }
}
