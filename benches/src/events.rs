//! Events on PostgreSQL and Kafka: how fast a relay empties an outbox and with how much memory, how
//! long it takes from a commit to the effect elsewhere, and what a plain producer does with the same
//! records, which is the limit.
//!
//! The events are `UserCreated`, of a thousand aggregates; each has a payload of the same size.

mod ground;
mod latency;
mod observed;
mod produce;
mod relay;
mod sample;
mod seed;

use clap::Subcommand;

use crate::report;
use ground::Ground;

/// A phase, and where it takes place.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    ground: Ground,
    #[command(subcommand)]
    phase: Phase,
}

#[derive(Debug, Subcommand)]
enum Phase {
    /// Fill the writer's outbox by SQL, as if its relay had been away.
    Seed {
        /// How many events.
        #[arg(long)]
        events: u64,
    },
    /// Publish the same records with nothing but rdkafka.
    Produce {
        /// How many records.
        #[arg(long)]
        events: u64,
    },
    /// Publish what waits in the outbox by one relay.
    Relay {
        /// How many events wait.
        #[arg(long)]
        events: u64,
    },
    /// Commit events at a steady rate, and wait until a consumer has handled them.
    Latency {
        /// How many events.
        #[arg(long)]
        events: usize,
        /// How many of them a second.
        #[arg(long)]
        rate: u32,
    },
}

/// Runs a phase.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let Args { ground, phase } = args;
    match phase {
        Phase::Seed { events } => report::figures(&seed::run(&ground, events).await?),
        Phase::Produce { events } => report::figures(&produce::run(&ground, events).await?),
        Phase::Relay { events } => report::figures(&relay::run(&ground, events).await?),
        Phase::Latency { events, rate } => {
            report::figures(&latency::run(&ground, events, rate).await?)
        }
    }
}
