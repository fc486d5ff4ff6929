//! The command line: what there is to type, and where it leads.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};

use crate::home::Home;
use crate::{
    api, bench, chart, checks, down, image, infra, launch, logs, mesh, proto, reset, restart,
    status, supervisor, terminal, tidy, up, upgrade, workspace,
};

/// Folder of the platform's state, when `--home` does not say.
const HOME_VARIABLE: &str = "MAINSTAY_HOME";

#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Every developer command of Mainstay"
)]
struct Cli {
    /// Keep state in this folder [default: .mainstay at the root; MAINSTAY_HOME].
    #[arg(long, global = true, value_name = "DIR")]
    home: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build and start the gateway and the five services.
    Up(UpArgs),
    /// Drain and stop everything.
    Down,
    /// Restart one service, or all of them one after the other, gracefully.
    Restart(RestartArgs),
    /// Show every service: process, ports, state, memory.
    Status {
        /// Print a JSON array, one object a service.
        #[arg(long)]
        json: bool,
    },
    /// Show what the services logged, merged by time.
    Logs(logs::LogArgs),
    /// Forget all data: accounts, events, certificates, secrets. Edited settings stay.
    Reset,
    /// Run PostgreSQL, Redis, Kafka, Consul and etcd on this machine.
    Infra(infra::InfraArgs),
    /// Measure how fast the platform is on this machine.
    Bench(bench::BenchArgs),
    /// Hold the OpenAPI document against the running platform, by tools that others wrote.
    Api(api::ApiArgs),
    /// Roll from the version before to this one and back, under load, on real servers.
    Upgrade(upgrade::UpgradeArgs),
    /// Check the Helm chart, run what it renders without a cluster, or install it on a control plane.
    Chart(chart::ChartArgs),
    /// Build container images.
    Image(image::ImageArgs),
    /// Build the workspace and run every test.
    Test {
        /// On real servers, started where they do not run: every test, and those that need them.
        #[arg(long)]
        real: bool,
        /// Handed to `cargo test`, such as `-- login`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// What CI runs: fmt, tidy, contracts, the chart, clippy, build, the chart run whole and
    /// installed, the API, doc, deny, tests, the upgrade, tests on real servers.
    Ci,
    /// Check the invariants of ARCHITECTURE.md and the habits of the house.
    Tidy,
    /// Compare the contracts with released ones, or keep those of a release.
    Proto(proto::ProtoArgs),
    /// Own the services of a detached `up`.
    #[command(hide = true)]
    Supervise(supervisor::SuperviseArgs),
    /// Become a service that dies with its supervisor.
    #[command(hide = true)]
    Launch(launch::LaunchArgs),
    /// Become a server that outlives this command.
    #[command(hide = true)]
    LaunchServer(infra::LaunchServerArgs),
}

/// How to bring the platform up.
#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// Run optimized binaries.
    #[arg(long)]
    pub(crate) release: bool,
    /// Return when everything is ready, and leave it running.
    #[arg(long)]
    pub(crate) detach: bool,
    /// Start the binaries that are there already.
    #[arg(long)]
    pub(crate) no_build: bool,
    /// Add N to every port, so that two checkouts can run at once [default: 0;
    /// MAINSTAY_PORT_OFFSET].
    #[arg(long, value_name = "N")]
    pub(crate) port_offset: Option<u16>,
    /// Run on PostgreSQL, Redis, Kafka and Consul, started where they do not run.
    #[arg(long)]
    pub(crate) real: bool,
    /// With --real: use the servers of this file, and start none.
    #[arg(long, value_name = "FILE", requires = "real")]
    pub(crate) infra: Option<PathBuf>,
    /// Show the traces, logs and metrics of every call on a page of this machine, whose address is
    /// printed; nothing else has to be installed.
    #[arg(long)]
    pub(crate) observe: bool,
    /// Take the binaries from this folder.
    #[arg(long, value_name = "DIR", hide = true)]
    pub(crate) bin_dir: Option<PathBuf>,
}

/// What to restart.
#[derive(Debug, Args)]
pub(crate) struct RestartArgs {
    /// The service; all of them when absent.
    #[arg(value_parser = mesh::parse_service)]
    pub(crate) service: Option<&'static mesh::Service>,
    /// Restart the binaries that are there already.
    #[arg(long)]
    pub(crate) no_build: bool,
}

/// Parses the command line and does what it says.
pub(crate) fn run() -> ExitCode {
    match dispatch(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            terminal::fail(&error);
            ExitCode::FAILURE
        }
    }
}

fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    let home = || Home::at(home_path(cli.home.clone())?);
    match cli.command {
        Command::Up(args) => up::run(&home()?, &args),
        Command::Down => down::run(&home()?),
        Command::Restart(args) => restart::run(&home()?, &args),
        Command::Status { json } => status::run(&home()?, json),
        Command::Logs(args) => logs::run(&home()?, &args),
        Command::Reset => reset::run(&home()?),
        Command::Infra(args) => infra::run(&home()?, &args),
        Command::Bench(args) => bench::run(&home()?, &args),
        Command::Api(args) => api::run(&args),
        Command::Upgrade(args) => upgrade::run(&home()?, &args),
        Command::Chart(args) => chart::run(&home()?, args),
        Command::Image(args) => image::run(&args),
        Command::Test { real: false, args } => checks::test(&args),
        Command::Test { real: true, args } => checks::test_real(&home()?, &args),
        Command::Ci => checks::ci(&home()?),
        Command::Tidy => tidy::run(),
        Command::Proto(args) => proto::run(&args),
        Command::Supervise(args) => supervisor::run_detached(&home()?, args),
        Command::Launch(args) => launch::run(&args),
        Command::LaunchServer(args) => infra::launch(&args),
    }
}

fn home_path(stated: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let path = stated
        .or_else(|| std::env::var_os(HOME_VARIABLE).map(PathBuf::from))
        .filter(|path| !path.as_os_str().is_empty())
        .unwrap_or_else(|| workspace::root().join(".mainstay"));
    std::path::absolute(&path)
        .with_context(|| format!("state folder {} has no absolute path", path.display()))
}
