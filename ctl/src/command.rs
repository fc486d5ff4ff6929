//! What each command does.

pub(crate) mod audit;
pub(crate) mod dlq;
pub(crate) mod events;
pub(crate) mod jobs;
mod outbox;
pub(crate) mod roles;
pub(crate) mod sagas;
mod services;
pub(crate) mod users;

use std::io::{BufRead as _, IsTerminal as _};

use anyhow::Context as _;
use clap::CommandFactory as _;

use crate::cli::{Cli, Command, Outbox};
use crate::failure::Usage;
use crate::mesh::Mesh;
use crate::settings::Settings;
use crate::{output, session};

/// What every command has at hand.
pub(crate) struct Desk {
    pub(crate) settings: Settings,
    pub(crate) mesh: Mesh,
}

impl Desk {
    /// The access token of the person to act for.
    pub(crate) async fn token(&self) -> anyhow::Result<String> {
        session::token(&self.settings, &self.mesh).await
    }
}

/// Runs a command to its end.
pub(crate) fn run(cli: Cli) -> anyhow::Result<()> {
    if let Command::Completions { shell } = cli.command {
        return completions(shell);
    }
    let settings = Settings::read(cli.global)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("the asynchronous runtime cannot be made")?;
    runtime.block_on(async {
        let mesh = Mesh::join(&settings)?;
        dispatch(&Desk { settings, mesh }, cli.command).await
    })
}

async fn dispatch(desk: &Desk, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Services => services::list(desk).await,
        Command::Events(command) => events::run(desk, command).await,
        Command::Dlq(command) => dlq::run(desk, command).await,
        Command::Outbox(Outbox::Status { service }) => outbox::status(desk, service).await,
        Command::Sagas(command) => sagas::run(desk, command).await,
        Command::Jobs(command) => jobs::run(desk, command).await,
        Command::Users(command) => users::run(desk, command).await,
        Command::Roles(command) => roles::run(desk, command).await,
        Command::Audit(command) => audit::run(desk, command).await,
        Command::Login { email, password_stdin } => {
            session::login(&desk.settings, &desk.mesh, email, password_stdin).await
        }
        Command::Logout => session::logout(&desk.settings, &desk.mesh).await,
        Command::Completions { shell } => completions(shell),
    }
}

fn completions(shell: clap_complete::Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "mainstayctl", &mut script);
    output::print(String::from_utf8_lossy(&script).trim_end())
}

/// Asks before something is changed, unless told not to.
pub(crate) fn confirm(yes: bool, what: &str) -> anyhow::Result<()> {
    if yes {
        return Ok(());
    }
    let input = std::io::stdin();
    if !input.is_terminal() {
        return Err(Usage(format!("{what}: state --yes to do it, or --dry-run to see it")).into());
    }
    output::say(&format!("{what}. Go on? [y/N]"));
    let mut answer = String::new();
    input.lock().read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => anyhow::bail!("nothing was changed"),
    }
}
