//! The gateway's process.

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};
use gateway::standalone::{self, Standalone, Upstream};
use mainstay::kernel::lifecycle;
use mainstay::kernel::settings::{Args, ServiceDefaults};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The gateway of a platform, by its settings; or, with --upstream, alone before one gRPC server.
#[derive(clap::Parser)]
#[command(name = "mainstay-gateway", version)]
struct CommandLine {
    #[command(flatten)]
    platform: Args,
    #[command(flatten, next_help_heading = "Alone before one gRPC server")]
    standalone: Option<Standalone>,
}

fn main() -> ExitCode {
    let matches = CommandLine::command().get_matches();
    let line = CommandLine::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match line.standalone {
        None => {
            let defaults = ServiceDefaults { name: gateway::SERVICE, port: gateway::PORT };
            lifecycle::run_with_args(&line.platform, defaults, VERSION, gateway::module)
        }
        Some(standalone) => match Upstream::from_arguments(standalone) {
            Ok((settings, upstream)) => {
                lifecycle::run_with_settings(gateway::SERVICE, VERSION, Ok(settings), |platform| {
                    standalone::module(platform, upstream)
                })
            }
            Err(error) => {
                lifecycle::run_with_settings(gateway::SERVICE, VERSION, Err(error), gateway::module)
            }
        },
    }
}
