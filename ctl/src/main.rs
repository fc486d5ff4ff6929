//! `mainstayctl`: the operator's command line of the Mainstay platform.
//!
//! | file | what it holds |
//! |---|---|
//! | `cli` | what can be typed |
//! | `settings` | where the platform is: flags over environment over file |
//! | `mesh` | the operator as a member of the mesh |
//! | `session` | the person for whom users, roles and the trail are asked |
//! | `command` | what each command does |
//! | `output` | tables for people, JSON for programs |
//! | `failure` | one line and an exit code for each error |
//! | `pace`, `time` | how fast, and since when |

mod cli;
mod command;
mod failure;
mod mesh;
mod output;
mod pace;
mod session;
mod settings;
mod time;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match command::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error),
    }
}
