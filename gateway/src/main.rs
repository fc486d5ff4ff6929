//! The gateway's process.

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};
use gateway::standalone::{self, Standalone};
use mainstay::kernel::lifecycle;
use mainstay::kernel::settings::{Args, ServiceDefaults};

/// Each call allocates some fifty times, from every thread: the allocator of the system takes several
/// times as long for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The gateway of a platform, by its settings; or, with --upstream, alone before one gRPC server.
#[derive(clap::Parser)]
#[command(name = "mainstay-gateway", version)]
struct CommandLine {
    #[command(flatten)]
    platform: Args,
    #[command(flatten, next_help_heading = "Alone before one gRPC server")]
    standalone: Standalone,
}

fn main() -> ExitCode {
    let matches = CommandLine::command().get_matches();
    let line = CommandLine::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    if !line.standalone.is_wanted() {
        let defaults = ServiceDefaults { name: gateway::SERVICE, port: gateway::PORT };
        return lifecycle::run_with_args(&line.platform, defaults, VERSION, gateway::module);
    }
    match line.standalone.read() {
        Ok((settings, upstream)) => {
            lifecycle::run_with_settings(gateway::SERVICE, VERSION, settings, |platform| {
                standalone::module(platform, upstream)
            })
        }
        Err(error) => {
            eprintln!("{} cannot start: {error:#}", gateway::SERVICE);
            ExitCode::FAILURE
        }
    }
}
