//! `mainstay-bench`: what `cargo xtask bench` measures with, one phase of a benchmark a process.
//!
//! A phase runs the kernel as services do, on servers that were prepared for it, and tells on
//! standard output what it does: lines of JSON, the last of which holds the figures. xtask prepares,
//! runs one phase after the other, judges and cleans up; a process for each phase means that memory
//! and CPU time are those of the phase alone.
//!
//! | file | what it holds |
//! |---|---|
//! | `edge` | the gateway beside its peers |
//! | `events` | the outbox, the relay and a consumer on PostgreSQL and Kafka |
//! | `usage` | CPU time and memory of this process |
//! | `report` | what is told to xtask |

mod edge;
mod events;
mod report;
mod usage;

use clap::{Parser, Subcommand};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

#[derive(Debug, Parser)]
#[command(name = "mainstay-bench", about = "Phases of `cargo xtask bench`")]
struct Cli {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Debug, Subcommand)]
enum Benchmark {
    /// The gateway and its peers.
    Edge(edge::Args),
    /// Events, from the outbox to a consumer.
    Events(events::Args),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // Spans as a service has them by default, so that what they cost is paid here too.
    let filter =
        Targets::new().with_default(LevelFilter::INFO).with_target("sqlx", LevelFilter::WARN);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    tracing_subscriber::registry().with(lines).with(filter).init();
    match Cli::parse().benchmark {
        Benchmark::Edge(args) => edge::run(args).await,
        Benchmark::Events(args) => events::run(args).await,
    }
}
