//! Becomes a service that cannot outlive its supervisor.
//!
//! The parent-death signal must be asked for by the child itself, between its birth and its program.
//! This short life does so in safe code: it asks, makes sure that the supervisor was still there,
//! and turns into the service by `exec`, which keeps both process id and signal. The signal is tied
//! to the thread that started the child, so the supervisor starts all of them from its main thread.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, ensure};
use clap::Args;
use rustix::process::{Signal, getppid, set_parent_process_death_signal};

/// What to become.
#[derive(Debug, Args)]
pub(crate) struct LaunchArgs {
    /// Process id of the supervisor.
    #[arg(long)]
    supervisor: i32,
    /// The service's binary.
    program: PathBuf,
    /// Its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Does not return when it succeeds.
pub(crate) fn run(args: &LaunchArgs) -> anyhow::Result<ExitCode> {
    // KILL and not TERM: nobody would be there to end a service that does not drain, and services
    // are built to survive it.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let parent = getppid().map(|pid| pid.as_raw_nonzero().get());
    ensure!(parent == Some(args.supervisor), "the supervisor died before the service started");
    let error = Command::new(&args.program).args(&args.arguments).exec();
    Err(error).with_context(|| format!("{} cannot be run", args.program.display()))
}
