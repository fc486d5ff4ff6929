//! A platform that a command starts for itself, from nothing, and takes away again.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::credentials::{Credentials, read_secret};
use crate::files::{self, Access};
use crate::folder::settings_file;
use crate::home::Home;
use crate::http::Request;
use crate::mesh::{Service, gateway};
use crate::process::succeed;
use crate::{ports, proto, workspace};

/// Settings of the gateway with limits that no load of ours meets: its own would refuse most of it.
pub(crate) fn wide_limits() -> anyhow::Result<String> {
    let mut settings =
        "[gateway]\nip_rate = \"100000/1s\"\nip_burst = 100000\n[gateway.rates]\n".to_owned();
    let mut classes = proto::rate_classes(&workspace::root())?;
    classes.insert("default".to_owned());
    for class in classes {
        settings.push_str(&format!("{class} = {{ default = \"100000/1s\" }}\n"));
    }
    Ok(settings)
}

/// Which binaries run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    Dev,
    Release,
}

/// One that runs until it is stopped, with wide limits.
pub(crate) struct Platform {
    pub(crate) home: Home,
    pub(crate) edge: SocketAddr,
    is_up: bool,
}

impl Platform {
    /// Starts the binaries that are there, with their state in `folder`, which is emptied first, and at
    /// the first of the offsets at which ports are free. `own_settings` is what services have in their
    /// settings file, which the gateway has from us.
    pub(crate) fn start(
        folder: &Path,
        offsets: Range<u16>,
        profile: Profile,
        own_settings: &[(&Service, String)],
    ) -> anyhow::Result<Self> {
        // What an interrupted run has left.
        own(&Home::at(folder.to_owned())?, &["down"])?;
        files::remove(folder)?;
        let home = Home::at(folder.to_owned())?;
        std::fs::create_dir(home.path("settings"))?;
        let settings = settings_file(&home, gateway());
        files::write(&settings, wide_limits()?.as_bytes(), Access::Everybody)?;
        for (service, settings) in own_settings {
            let file = settings_file(&home, service);
            files::write(&file, settings.as_bytes(), Access::Everybody)?;
        }
        let offset = ports::free(offsets)?;
        let number = offset.get().to_string();
        let mut up = vec!["up", "--detach", "--no-build", "--port-offset", &number];
        if profile == Profile::Release {
            up.push("--release");
        }
        own(&home, &up)?;
        Ok(Self { home, edge: gateway().address(offset), is_up: true })
    }

    pub(crate) fn stop(&mut self) -> anyhow::Result<()> {
        self.is_up = false;
        own(&self.home, &["down"])
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.edge)
    }

    pub(crate) fn document(&self) -> anyhow::Result<String> {
        let answer = Request::get("/openapi.json").send(self.edge)?;
        ensure!(answer.status == 200, "the edge answers {} for its document", answer.status);
        Ok(answer.body)
    }

    /// What the first administrator logs in with, as JSON.
    pub(crate) fn administrator(&self) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(Credentials::of(&self.home).admin_file())?)
    }

    pub(crate) fn webhook_secret(&self) -> anyhow::Result<String> {
        let file = Credentials::of(&self.home).webhook_secret_file();
        read_secret(&file).with_context(|| format!("{} cannot be read", file.display()))
    }

    /// An access token of the administrator.
    pub(crate) fn token(&self) -> anyhow::Result<String> {
        let credentials: Value = serde_json::from_str(&self.administrator()?)?;
        let answer = Request::post("/api/v1/auth/login", &credentials).send(self.edge)?;
        let reply: Value = serde_json::from_str(&answer.body)?;
        let token = reply["data"]["access_token"].as_str();
        Ok(token.with_context(|| format!("no login: {}", answer.status))?.to_owned())
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        // Only after a panic.
        if self.is_up {
            let _ = self.stop();
        }
    }
}

/// Another command of this program, on a state folder.
fn own(home: &Home, arguments: &[&str]) -> anyhow::Result<()> {
    succeed(Command::new("/proc/self/exe").arg("--home").arg(home.root()).args(arguments))
}
