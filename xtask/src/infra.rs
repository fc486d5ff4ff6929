//! `infra`: the real servers, on this machine: PostgreSQL, Redis, Kafka, Consul and etcd.
//!
//! Each runs natively, on loopback, from the packages of the system, with its data below
//! `.mainstay/infra/`. Servers outlive the command that started them. `infra.json` in that folder
//! says where they are and how to speak to them; it is there while they run. Nothing is installed
//! that needs root: what is missing is named with the command that installs it.

mod consul;
mod endpoints;
mod etcd;
mod kafka;
mod launch;
mod postgres;
mod program;
mod record;
mod redis;
mod resp;
mod server;
mod site;
mod status;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};

use crate::home::Home;
use crate::terminal::Screen;

pub(crate) use endpoints::Endpoints;
pub(crate) use kafka::Broker;
pub(crate) use launch::{LaunchServerArgs, run as launch};
pub(crate) use program::{Missing, find as find_program, last_lines, output, output_of_input};
use record::Record;
pub(crate) use resp::Connection as Redis;
use server::{SERVERS, Server};
use site::Site;
pub(crate) use site::random_uuid;

/// The variable that tells tests where the servers are.
pub(crate) const INFRA_VARIABLE: &str = "MAINSTAY_TEST_INFRA";

/// How long a server may take to answer: Kafka on a busy machine is the slowest.
const START_PATIENCE: Duration = Duration::from_secs(120);

/// How often a starting server is asked.
const POLL: Duration = Duration::from_millis(100);

/// What to do with the real servers.
#[derive(Debug, Args)]
pub(crate) struct InfraArgs {
    #[command(subcommand)]
    command: InfraCommand,
}

#[derive(Debug, Subcommand)]
enum InfraCommand {
    /// Start the servers that do not run yet, and wait until they answer.
    Up(Chosen),
    /// Stop the servers; their data stays.
    Down(ChosenOnly),
    /// Show every server: version, process, address, state, memory.
    Status {
        /// Print a JSON array, one object a server.
        #[arg(long)]
        json: bool,
    },
}

/// Which servers, and where.
#[derive(Debug, Args)]
struct Chosen {
    #[command(flatten)]
    only: ChosenOnly,
    /// Add N to every port [default: 0; MAINSTAY_PORT_OFFSET].
    #[arg(long, value_name = "N")]
    port_offset: Option<u16>,
    /// Print infra.json when everything answers.
    #[arg(long)]
    json: bool,
}

/// Which servers.
#[derive(Debug, Default, Args)]
struct ChosenOnly {
    /// Only these, with commas between: postgres, redis, kafka, consul, etcd.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = server::parse)]
    only: Vec<&'static dyn Server>,
}

/// Does what the command line says.
pub(crate) fn run(home: &Home, args: &InfraArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        InfraCommand::Up(chosen) => {
            up(home, &chosen.only.servers(), chosen.port_offset)?;
            if chosen.json {
                println!("{}", Endpoints::load(&Endpoints::file(home))?.to_json()?);
            } else {
                let file = Endpoints::file(home);
                println!("Addresses and passwords: {}", file.display());
                println!("Tests: cargo xtask test --real; platform: cargo xtask up --real");
            }
        }
        InfraCommand::Down(chosen) => {
            let stopped = down(home, &chosen.servers())?;
            match stopped.as_slice() {
                [] => println!("No server was running."),
                names => println!("{} stopped; their data stays.", names.join(", ")),
            }
        }
        InfraCommand::Status { json } => status::run(home, *json)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// All servers up; for commands that need them. Says which of them it started itself.
pub(crate) fn ensure(home: &Home, port_offset: Option<u16>) -> anyhow::Result<Vec<&'static str>> {
    up(home, &SERVERS, port_offset)
}

/// As [`ensure`], for commands that need only some of them.
pub(crate) fn ensure_some(home: &Home, names: &[&str]) -> anyhow::Result<Vec<&'static str>> {
    let servers: anyhow::Result<Vec<_>> = names.iter().map(|name| server::parse(name)).collect();
    up(home, &servers?, None)
}

/// Stops servers that a command started itself.
pub(crate) fn stop(home: &Home, names: &[&'static str]) -> anyhow::Result<()> {
    let servers: Vec<_> =
        SERVERS.into_iter().filter(|server| names.contains(&server.name())).collect();
    down(home, &servers).map(|_| ())
}

fn up(
    home: &Home,
    servers: &[&'static dyn Server],
    port_offset: Option<u16>,
) -> anyhow::Result<Vec<&'static str>> {
    let site = Site::open(home, port_offset)?;
    let _turn = site.turn()?;
    let screen = Screen::new(0);
    let absent: Vec<_> = servers
        .iter()
        .copied()
        .filter(|server| Record::running(&site, server.name()).is_none())
        .collect();
    require(&site, &absent)?;
    // All are started before any is waited for: the slow ones begin at once.
    let mut starting = Vec::new();
    for server in &absent {
        let program = server.obtain(&site, &screen)?;
        server.prepare(&site, &program)?;
        site.require_free_ports(*server)?;
        screen.doing(&format!("starting {}", server.title()));
        starting.push(Record::start(&site, *server, &program)?);
    }
    let waited = starting.into_iter().try_for_each(|record| wait(&site, record));
    // What runs is written down even when another one does not start.
    Endpoints::of_running(&site).save(&site)?;
    waited?;
    screen.close();
    for server in servers {
        if let Some(record) = Record::running(&site, server.name()) {
            println!("{}", record.sentence(&site, *server));
        }
    }
    Ok(absent.iter().map(|server| server.name()).collect())
}

/// Refuses to begin when a server cannot be had; names all that is missing at once.
fn require(site: &Site, servers: &[&'static dyn Server]) -> anyhow::Result<()> {
    let missing: Vec<String> = servers
        .iter()
        .filter_map(|server| server.missing(site))
        .map(|missing| missing.to_string())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    bail!(
        "{}\nmend: with Docker, `docker compose -f deploy/compose.yaml up --wait` is another way: see \
         docs/infrastructure.md",
        missing.join("\n")
    )
}

fn wait(site: &Site, mut starting: record::Starting) -> anyhow::Result<()> {
    let deadline = Instant::now() + START_PATIENCE;
    let server = starting.server;
    loop {
        let answer = server.check(site);
        if answer.is_ok() {
            return Ok(());
        }
        if let Some(how) = starting.ended()? {
            starting.forget(site)?;
            bail!(explain(site, server, &how));
        }
        if Instant::now() > deadline {
            let late = format!("does not answer after {} s", START_PATIENCE.as_secs());
            return answer.with_context(|| explain(site, server, &late));
        }
        std::thread::sleep(POLL);
    }
}

fn explain(site: &Site, server: &dyn Server, what: &str) -> String {
    let log = site.log_file(server.name());
    format!(
        "{} {what}; its last log lines:\n{}\nmend: remove the cause that the log names ({}), then \
         cargo xtask infra up",
        server.title(),
        record::tail(&log),
        log.display()
    )
}

/// Stops in the reverse order of the start; says whom.
fn down(home: &Home, servers: &[&'static dyn Server]) -> anyhow::Result<Vec<&'static str>> {
    let site = Site::open(home, None)?;
    let _turn = site.turn()?;
    let mut stopped = Vec::new();
    for server in SERVERS.iter().rev().filter(|server| contains(servers, **server)) {
        if let Some(record) = Record::running(&site, server.name()) {
            record.stop(&site, *server)?;
            stopped.push(server.title());
        }
    }
    Endpoints::of_running(&site).save(&site)?;
    Ok(stopped)
}

fn contains(servers: &[&'static dyn Server], wanted: &dyn Server) -> bool {
    servers.iter().any(|server| server.name() == wanted.name())
}

impl ChosenOnly {
    fn servers(&self) -> Vec<&'static dyn Server> {
        SERVERS
            .into_iter()
            .filter(|server| self.only.is_empty() || contains(&self.only, *server))
            .collect()
    }
}
