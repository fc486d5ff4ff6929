//! `bench`: how fast the platform is on this machine.
//!
//! The kernel that is measured runs in a program of its own, `mainstay-bench`, one process a phase:
//! xtask links no product. It prepares the servers, runs the phases, holds the figures against the
//! goals and takes away what it made, also when it is interrupted.

mod edge;
mod figures;
mod ground;
mod platform;
mod program;
mod resources;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::home::Home;
use crate::infra::{self, Endpoints};
use crate::{compile, workspace};
use figures::Figures;
use ground::Ground;
use program::Program;

/// The servers that events need.
const SERVERS: [&str; 2] = ["postgres", "kafka"];

/// The large backlog is so many times as large as the small one beside which it is held.
const BACKLOG_RATIO: u64 = 100;

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    command: BenchCommand,
}

#[derive(Debug, Subcommand)]
enum BenchCommand {
    /// Events on PostgreSQL and Kafka: the relay's speed and memory, beside a plain producer, and
    /// how long it takes from a commit to the effect in another service.
    Events(EventArgs),
    /// The gateway alone before one backend, beside its peers: CPU time of each request, requests a
    /// second, latency.
    Edge(edge::EdgeArgs),
    /// What each kind of call costs each process of the platform, and their memory, beside what the
    /// chart gives them.
    Platform(platform::PlatformArgs),
}

/// How to measure events.
#[derive(Debug, Args)]
struct EventArgs {
    /// Use the servers of this file, and start none.
    #[arg(long, value_name = "FILE")]
    infra: Option<PathBuf>,
    /// So many events measure the speed of the relay and of the plain producer.
    #[arg(long, value_name = "N", default_value_t = 200_000, value_parser = at_least_one())]
    events: u64,
    /// So many events wait when the relay's memory is measured, and a hundredth of them beside.
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = at_least_one())]
    backlog: u64,
    /// So many events a second are committed when their way to the consumer is timed.
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = at_least_one())]
    rate: u64,
    /// For so many seconds.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = at_least_one())]
    seconds: u64,
    /// Print the figures as one line of JSON, the last one.
    #[arg(long)]
    json: bool,
    /// Measure the program that is there already.
    #[arg(long)]
    no_build: bool,
    /// Take the program from this folder.
    #[arg(long, value_name = "DIR", hide = true, requires = "no_build")]
    bin_dir: Option<PathBuf>,
}

fn at_least_one() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(1..)
}

/// Does what the command line says.
pub(crate) fn run(home: &Home, args: &BenchArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        BenchCommand::Events(args) => events(home, args),
        BenchCommand::Edge(args) => edge::run(args),
        BenchCommand::Platform(args) => platform::run(args),
    }
}

fn events(home: &Home, args: &EventArgs) -> anyhow::Result<ExitCode> {
    let endpoints = match &args.infra {
        Some(file) => Endpoints::load(file)?,
        None => {
            infra::ensure_some(home, &SERVERS)?;
            eprintln!("the servers go on running; cargo xtask infra down stops them");
            Endpoints::load(&Endpoints::file(home))?
        }
    };
    if !args.no_build {
        compile::run_bench(&["mainstay-bench"])?;
    }
    let folder = args.bin_dir.clone().unwrap_or_else(|| workspace::binary_folder(true));
    let path = program::find(&folder)?;
    let ground = Ground::prepare(&endpoints)?;
    let measured = Program::open(path, &ground).and_then(|program| measure(&program, args));
    // What was measured is of no less worth when something is left behind.
    if let Err(error) = ground.remove() {
        eprintln!("something is left on the servers, which the next run removes: {error:#}");
    }
    let figures = measured?;
    match args.json {
        true => println!("{}", serde_json::to_string(&figures)?),
        false => println!("{}", figures.text()),
    }
    Ok(ExitCode::SUCCESS)
}

/// The phases, one after the other.
fn measure(program: &Program, args: &EventArgs) -> anyhow::Result<Figures> {
    let EventArgs { events, backlog, rate, .. } = *args;
    let few = backlog.div_ceil(BACKLOG_RATIO);
    let produced = program.run("produce", "a plain producer publishes", events, &[])?;
    let seed = |events| program.run("seed", "writing events that wait", events, &[]);
    let relay = |events| program.run("relay", "the relay publishes", events, &[]);
    let sample = seed(events)?;
    let relayed = relay(events)?;
    seed(few)?;
    let of_few = relay(few)?;
    seed(backlog)?;
    let of_backlog = relay(backlog)?;
    let way = "events are committed and consumed";
    let latency = program.run("latency", way, rate * args.seconds, &[("--rate", rate)])?;
    Ok(Figures { sample, produced, relayed, of_few, of_backlog, latency })
}
