//! `down`: drain and stop, from any terminal.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::Signal;

use crate::home::Home;
use crate::standing;
use crate::state::Stored;
use crate::supervisor::{self, Request};
use crate::terminal::{Event, Screen};

/// Two waves of services drain for at most 25 s each; then they are killed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Stops the platform and leaves nothing behind.
pub(crate) fn run(home: &Home) -> anyhow::Result<ExitCode> {
    let screen = Screen::new(0);
    let was_running = match standing::running(home)? {
        Some(stored) => {
            screen.doing("draining");
            ask(home, &stored)?;
            wait(home)?;
            true
        }
        None => false,
    };
    let lock = home.take()?.context("another command works on the state folder: try again")?;
    let notices = standing::mend(home, &lock)?;
    for notice in &notices {
        screen.show(&Event::Notice(notice.clone()));
    }
    screen.close();
    match (was_running, notices.is_empty()) {
        (true, _) => println!("Mainstay has stopped; its data stays in {}.", home.root().display()),
        (false, true) => println!("Mainstay is not running."),
        (false, false) => println!("Mainstay was not running; what it had left is removed."),
    }
    Ok(ExitCode::SUCCESS)
}

/// By the control socket; a supervisor that does not answer it gets a signal.
fn ask(home: &Home, stored: &Stored) -> anyhow::Result<()> {
    let Err(error) = supervisor::ask(home, &Request::Down) else { return Ok(()) };
    match stored {
        Stored::Present(state) if state.supervisor.signal(Signal::TERM) => Ok(()),
        _ if !home.is_held()? => Ok(()),
        _ => Err(error),
    }
}

fn wait(home: &Home) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while home.is_held()? {
        if Instant::now() > deadline {
            bail!(
                "the platform still drains after {} s\nmend: try again; `cargo xtask status` shows \
                 who is left",
                PATIENCE.as_secs()
            );
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
