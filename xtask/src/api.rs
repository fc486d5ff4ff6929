//! `api`: the OpenAPI document held against the running platform, by tools that others wrote.
//!
//! A platform of its own is started from nothing. Spectral lints the document that it publishes; a
//! TypeScript client is generated from it, and registers, logs in, reads a list page by page and
//! uploads; schemathesis makes up requests by the schemas and looks whether each reply is one that
//! the document knows. What these need comes from their registries, in versions that are written down
//! here and in `tests/api`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, ensure};
use clap::Args;
use serde_json::Value;

use crate::credentials::{Credentials, read_secret};
use crate::files::Access;
use crate::folder::settings_file;
use crate::home::Home;
use crate::http::Request;
use crate::mesh::gateway;
use crate::{compile, files, npm, ports, python, workspace};

/// The package that makes up requests.
const SCHEMATHESIS: &str = "schemathesis==4.32.5";

/// How many requests it makes up for each operation, by default.
const EXAMPLES: u32 = 20;

/// Offsets of ports that are tried.
const OFFSETS: std::ops::Range<u16> = 4_000..4_400;

/// Which files the tools work with.
const TESTS: &str = "tests/api";

/// The limits of the platform: its own would refuse most of what is made up.
pub(crate) const SETTINGS: &str = "[gateway]\n\
    ip_rate = \"100000/1s\"\nip_burst = 100000\n\
    [gateway.rates]\n\
    default = { default = \"100000/1s\" }\nread = { default = \"100000/1s\" }\n\
    write = { default = \"100000/1s\" }\nsearch = { default = \"100000/1s\" }\n\
    auth = { default = \"100000/1s\" }\nwebhook = { default = \"100000/1s\" }\n";

/// How to look at it.
#[derive(Debug, Args)]
pub(crate) struct ApiArgs {
    /// Run the binaries that are there already.
    #[arg(long)]
    no_build: bool,
    /// Requests that are made up for each operation.
    #[arg(long, value_name = "N", default_value_t = EXAMPLES)]
    examples: u32,
    /// Make up the same requests as a run that printed this seed.
    #[arg(long)]
    seed: Option<String>,
}

/// Does what the command line says.
pub(crate) fn run(args: &ApiArgs) -> anyhow::Result<ExitCode> {
    let folder = workspace::target_folder().join("api");
    let tools = Tools::install(&folder)?;
    if !args.no_build {
        compile::run(false)?;
    }
    let mut platform = Platform::start(&folder.join("home"))?;
    let looked = tools.look(&platform, args);
    let stopped = platform.stop();
    looked.and(stopped).map(|()| ExitCode::SUCCESS)
}

/// On the binaries that are there, with the same requests each time: what fails is due to a change.
pub(crate) fn check() -> anyhow::Result<()> {
    let seed = Some("1".to_owned());
    run(&ApiArgs { no_build: true, examples: EXAMPLES, seed }).map(|_| ())
}

/// The installed tools.
struct Tools {
    /// The programs of Python.
    python: PathBuf,
    npm: PathBuf,
    /// Copies of the files in [`TESTS`] beside the packages that they use.
    work: PathBuf,
}

impl Tools {
    fn install(folder: &Path) -> anyhow::Result<Self> {
        let python = python::with_package(&folder.join("python"), SCHEMATHESIS)?;
        let work = folder.join("node");
        let npm = npm::install(TESTS, &work)?;
        Ok(Self { python, npm, work })
    }

    /// Every look, the quick ones first.
    fn look(&self, platform: &Platform, args: &ApiArgs) -> anyhow::Result<()> {
        std::fs::write(self.work.join("openapi.json"), platform.document()?)?;
        eprintln!("==> spectral");
        succeed(&mut self.npm("lint"))?;
        eprintln!("==> a client generated from the document");
        let mut client = self.npm("client");
        client.env("MAINSTAY_API_URL", platform.url());
        client.env("MAINSTAY_API_ADMINISTRATOR", platform.administrator()?);
        client.env("MAINSTAY_API_WEBHOOK_SECRET", platform.webhook_secret()?);
        succeed(&mut client)?;
        eprintln!("==> schemathesis");
        succeed(&mut self.schemathesis(platform, args)?)
    }

    fn npm(&self, script: &str) -> Command {
        let mut command = Command::new(&self.npm);
        command.current_dir(&self.work).args(["run", "--silent", script]);
        command
    }

    fn schemathesis(&self, platform: &Platform, args: &ApiArgs) -> anyhow::Result<Command> {
        let mut command = Command::new(self.python.join("schemathesis"));
        command.current_dir(&self.work);
        command.args(["--config-file", "schemathesis.toml", "run", "openapi.json"]);
        command.args(["--url", &platform.url(), "--max-examples", &args.examples.to_string()]);
        command.env("MAINSTAY_API_TOKEN", platform.token()?);
        if let Some(seed) = &args.seed {
            command.args(["--seed", seed]);
        }
        Ok(command)
    }
}

/// Runs a program that speaks for itself.
fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let status = command.stdin(Stdio::null()).status();
    let name = command.get_program().to_string_lossy().into_owned();
    let status = status.with_context(|| format!("{name} cannot be run"))?;
    ensure!(status.success(), "{name} failed ({status})");
    Ok(())
}

/// A platform that was started for this.
struct Platform {
    home: Home,
    edge: SocketAddr,
    is_up: bool,
}

impl Platform {
    fn start(folder: &Path) -> anyhow::Result<Self> {
        // What an interrupted run has left.
        own(&Home::at(folder.to_owned())?, &["down"])?;
        files::remove(folder)?;
        let home = Home::at(folder.to_owned())?;
        std::fs::create_dir(home.path("settings"))?;
        let settings = settings_file(&home, gateway());
        files::write(&settings, SETTINGS.as_bytes(), Access::Everybody)?;
        let offset = ports::free(OFFSETS)?;
        own(&home, &["up", "--detach", "--no-build", "--port-offset", &offset.get().to_string()])?;
        Ok(Self { home, edge: gateway().address(offset), is_up: true })
    }

    fn stop(&mut self) -> anyhow::Result<()> {
        self.is_up = false;
        own(&self.home, &["down"])
    }

    fn url(&self) -> String {
        format!("http://{}", self.edge)
    }

    fn document(&self) -> anyhow::Result<String> {
        let answer = Request::get("/openapi.json").send(self.edge)?;
        ensure!(answer.status == 200, "the edge answers {} for its document", answer.status);
        Ok(answer.body)
    }

    /// What the first administrator logs in with, as JSON.
    fn administrator(&self) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(Credentials::of(&self.home).admin_file())?)
    }

    fn webhook_secret(&self) -> anyhow::Result<String> {
        let file = Credentials::of(&self.home).webhook_secret_file();
        read_secret(&file).with_context(|| format!("{} cannot be read", file.display()))
    }

    /// An access token of the administrator.
    fn token(&self) -> anyhow::Result<String> {
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
