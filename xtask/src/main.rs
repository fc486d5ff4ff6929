//! `cargo xtask`: every developer command of Mainstay.
//!
//! Nothing here links the product. xtask builds it, runs its binaries as processes and looks at
//! them from outside, so that it still works when the product does not build. It is synchronous but
//! for what serves: the observer, and TLS in front of servers. Running processes relies on Linux: `/proc`, `flock` and the parent-death signal.

mod api;
mod bench;
mod certificates;
mod chart;
mod checks;
mod cli;
mod compile;
mod credentials;
mod down;
mod environment;
mod files;
mod folder;
mod home;
mod http;
mod image;
mod infra;
mod launch;
mod log_line;
mod logs;
mod mesh;
mod npm;
mod observe;
mod operator;
mod platform;
mod ports;
mod probe;
mod process;
mod proto;
mod psql;
mod python;
mod real;
mod reset;
mod restart;
mod standing;
mod state;
mod status;
mod summary;
mod supervisor;
mod terminal;
mod tidy;
mod up;
mod upgrade;
mod workspace;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
