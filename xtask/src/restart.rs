//! `restart`: drain a service and start it again, from newly built binaries.

use std::process::ExitCode;

use anyhow::{Context as _, bail};

use crate::cli::RestartArgs;
use crate::compile;
use crate::home::Home;
use crate::standing;
use crate::state::{State, Stored};
use crate::supervisor::{self, Request};
use crate::terminal::Screen;

/// Restarts one service, or all of them one after the other.
pub(crate) fn run(home: &Home, args: &RestartArgs) -> anyhow::Result<ExitCode> {
    let state = running(home)?;
    if state.binaries.built_here && !args.no_build {
        compile::run(state.binaries.release).context("nothing was restarted")?;
    }
    let screen = Screen::new(0);
    let name = args.service.map(|service| service.name.to_owned());
    screen.doing(&format!("restarting {}", name.as_deref().unwrap_or("every service")));
    let word = supervisor::ask(home, &Request::Restart(name))?;
    screen.close();
    println!("{word}");
    Ok(ExitCode::SUCCESS)
}

fn running(home: &Home) -> anyhow::Result<State> {
    match standing::running(home)? {
        Some(Stored::Present(state)) => Ok(state),
        Some(_) => bail!("the supervisor has not written its state yet: try again"),
        None => bail!("Mainstay is not running\nmend: cargo xtask up"),
    }
}
