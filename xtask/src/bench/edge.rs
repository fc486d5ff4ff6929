//! `bench edge`: the gateway beside its peers. The program `mainstay-bench` starts them all, measures
//! and judges; here it is built, and kept off the core on which they are measured.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, ensure};
use clap::Args;

use super::program;
use crate::{compile, workspace};

/// How to measure the edge.
#[derive(Debug, Args)]
pub(crate) struct EdgeArgs {
    /// Install the peers that are missing into the target folder: takes Go, cargo and some minutes.
    #[arg(long)]
    install_peers: bool,
    /// Measure without the peers.
    #[arg(long, conflicts_with = "install_peers")]
    no_peers: bool,
    /// So many rounds; the median counts.
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: u32,
    /// Each contender is measured so many seconds for each case of a round.
    #[arg(long, value_name = "N", default_value_t = 2.0)]
    seconds: f64,
    /// Only these cases: get, create, tree, list, stream.
    #[arg(long, value_name = "CASE", value_delimiter = ',')]
    cases: Vec<String>,
    /// Measure the programs that are there already.
    #[arg(long)]
    no_build: bool,
    /// Take the programs from this folder.
    #[arg(long, value_name = "DIR", hide = true, requires = "no_build")]
    bin_dir: Option<PathBuf>,
}

/// Does what the command line says.
pub(super) fn run(args: &EdgeArgs) -> anyhow::Result<ExitCode> {
    if !args.no_build {
        compile::run_bench(&["mainstay-bench", "gateway"])?;
    }
    let folder = args.bin_dir.clone().unwrap_or_else(|| workspace::binary_folder(true));
    let (bench, gateway) = (program::find(&folder)?, folder.join("mainstay-gateway"));
    let last = std::thread::available_parallelism()?.get() - 1;
    ensure!(last > 0, "the measured process needs a core of its own, and there is only one");
    // The first core is for what is measured.
    let mut command = Command::new("taskset");
    command
        .args(["--cpu-list", &format!("1-{last}")])
        .arg(bench)
        .args(["edge", "--gateway"])
        .arg(gateway);
    command.arg("--peers").arg(workspace::target_folder().join("bench-peers"));
    command.args(["--rounds", &args.rounds.to_string(), "--seconds", &args.seconds.to_string()]);
    for (set, flag) in [(args.install_peers, "--install-peers"), (args.no_peers, "--no-peers")] {
        if set {
            command.arg(flag);
        }
    }
    if !args.cases.is_empty() {
        command.args(["--cases", &args.cases.join(",")]);
    }
    let status = command
        .status()
        .context("taskset cannot be started\nmend: install util-linux, or measure on Linux")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
