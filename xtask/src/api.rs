//! `api`: the OpenAPI document held against the running platform, by tools that others wrote.
//!
//! A platform of its own is started from nothing. Spectral lints the document that it publishes; a
//! TypeScript client is generated from it, and registers, logs in, reads a list page by page and
//! uploads; schemathesis makes up requests by the schemas and looks whether each reply is one that
//! the document knows. What these need comes from their registries, in versions that are written down
//! here and in `tests/api`.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Args;

use crate::platform::{Platform, Profile};
use crate::process::succeed;
use crate::{compile, npm, python, workspace};

/// The package that makes up requests.
const SCHEMATHESIS: &str = "schemathesis==4.32.5";

/// How many requests it makes up for each operation, by default.
const EXAMPLES: u32 = 20;

/// Offsets of ports that are tried.
const OFFSETS: std::ops::Range<u16> = 4_000..4_400;

/// Which files the tools work with.
const TESTS: &str = "tests/api";

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
    let mut platform = Platform::start(&folder.join("home"), OFFSETS, Profile::Dev, &[])?;
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
