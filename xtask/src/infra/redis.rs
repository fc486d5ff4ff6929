//! Redis: with a password, and every write in its append-only file.

use std::process::Command;

use anyhow::Context as _;

use super::endpoints::Endpoint;
use super::launch::Launch;
use super::program::{Missing, Program};
use super::resp::Connection;
use super::server::Server;
use super::site::Site;
use crate::files::{self, Access};
use crate::terminal::Screen;

const PORTS: [u16; 1] = [16379];
const PROGRAM: &str = "redis-server";

/// The Redis server.
#[derive(Debug)]
pub(crate) struct Redis;

impl Server for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn title(&self) -> &'static str {
        "Redis"
    }

    fn ports(&self) -> &'static [u16] {
        &PORTS
    }

    fn missing(&self, _site: &Site) -> Option<Missing> {
        let found = Program::on_path(PROGRAM, "--version");
        found.is_none().then(|| Missing::package(self.title(), PROGRAM))
    }

    fn obtain(&self, _site: &Site, _screen: &Screen) -> anyhow::Result<Program> {
        Program::on_path(PROGRAM, "--version").context("Redis is not installed")
    }

    fn prepare(&self, site: &Site, _program: &Program) -> anyhow::Result<()> {
        let folder = site.folder(self.name())?;
        let address = site.address_of(self);
        let settings = format!(
            "bind {}\nport {}\ndir {:?}\nrequirepass {}\nappendonly yes\nsave \"\"\ndaemonize no\n",
            address.ip(),
            address.port(),
            folder,
            site.passwords.redis
        );
        files::write(&folder.join("redis.conf"), settings.as_bytes(), Access::Owner)
    }

    fn command(&self, site: &Site, program: &Program) -> anyhow::Result<Command> {
        let mut command = Launch::default().command(&program.path);
        command.arg(site.folder(self.name())?.join("redis.conf"));
        Ok(command)
    }

    fn check(&self, site: &Site) -> anyhow::Result<()> {
        Connection::open(&url(self, site))?.call(&["PING"]).map(|_| ())
    }

    fn endpoint(&self, site: &Site) -> Endpoint {
        Endpoint::url(url(self, site))
    }
}

fn url(server: &Redis, site: &Site) -> String {
    format!("redis://:{}@{}", site.passwords.redis, site.address_of(server))
}
