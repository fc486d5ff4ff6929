//! The process that owns the services: starts them in order, starts again who dies, drains them.
//!
//! A foreground `up` is the supervisor itself; a detached one starts it as a process of its own. The
//! supervisor is one loop on the main thread. Threads beside it only bring news: signals, requests
//! of other commands, lines that services log.

mod control;
mod inbox;
mod log;
mod run;
mod slot;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::bail;
use clap::Args;

use crate::home::Home;
use crate::mesh::{PortOffset, SERVICES};
use crate::operator;
use crate::real::Real;
use crate::state::Binaries;
use crate::terminal::{Event, Screen};
use crate::{folder, ports, standing};

pub(crate) use control::{Request, ask};

/// What to run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The state folder.
    pub(crate) home: Home,
    /// How far ports are shifted.
    pub(crate) offset: PortOffset,
    /// Where the binaries are.
    pub(crate) binaries: Binaries,
    /// The file that says where real servers are, when the platform runs on them.
    pub(crate) real: Option<PathBuf>,
    /// Whether traces, logs and metrics are kept and shown on a page.
    pub(crate) observe: bool,
}

/// The plan, as a command line for the supervisor's own process.
#[derive(Debug, Args)]
pub(crate) struct SuperviseArgs {
    #[arg(long)]
    bin_dir: PathBuf,
    #[arg(long)]
    port_offset: u16,
    #[arg(long)]
    release: bool,
    #[arg(long)]
    built_here: bool,
    #[arg(long)]
    real: Option<PathBuf>,
    #[arg(long)]
    observe: bool,
}

/// Who hears how the start goes, and gets the log lines.
#[derive(Debug)]
pub(crate) enum Audience {
    /// A person at the terminal.
    Person(Arc<Screen>),
    /// The `up --detach` that waits on the other end of standard output.
    Starter,
}

/// Runs the platform until it is told to stop.
pub(crate) fn run(plan: Plan, audience: Audience) -> anyhow::Result<()> {
    let home = plan.home.clone();
    let Some(lock) = home.take()? else { bail!(already_up(&home)) };
    let mut notices = standing::mend(&home, &lock)?;
    notices.extend(folder::lay(&home)?);
    for notice in notices {
        audience.tell(&Event::Notice(notice));
    }
    require_binaries(&plan.binaries)?;
    let real = plan.real.as_ref().map(|infra| Real::provision(&home, infra)).transpose()?;
    operator::write(&home, real.as_ref())?;
    ports::check(plan.offset, plan.observe)?;
    let outcome = run::Supervisor::new(plan, audience).and_then(run::Supervisor::run);
    crate::files::remove(&home.run_folder())?;
    outcome
}

/// As [`run()`], as a process without a terminal that a detached `up` started.
pub(crate) fn run_detached(home: &Home, args: SuperviseArgs) -> anyhow::Result<ExitCode> {
    // A session of its own: Ctrl-C and the end of the terminal it came from do not reach it.
    rustix::process::setsid()?;
    let plan = Plan {
        home: home.clone(),
        offset: PortOffset::from(Some(args.port_offset))?,
        binaries: Binaries {
            folder: args.bin_dir,
            release: args.release,
            built_here: args.built_here,
        },
        real: args.real,
        observe: args.observe,
    };
    match run(plan, Audience::Starter) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            Audience::Starter.tell(&Event::Failed(format!("{error:#}")));
            Err(error)
        }
    }
}

/// What a second `up` says.
pub(crate) fn already_up(home: &Home) -> String {
    format!(
        "Mainstay is up already on {}\nmend: `cargo xtask status` shows it, `cargo xtask restart` \
         restarts it, `cargo xtask down` stops it",
        home.root().display()
    )
}

impl SuperviseArgs {
    /// The arguments for a plan.
    pub(crate) fn of(plan: &Plan) -> Vec<std::ffi::OsString> {
        let mut args: Vec<std::ffi::OsString> = vec![
            "--home".into(),
            plan.home.root().into(),
            "supervise".into(),
            "--bin-dir".into(),
            plan.binaries.folder.clone().into(),
            "--port-offset".into(),
            plan.offset.get().to_string().into(),
        ];
        args.extend(plan.binaries.release.then(|| "--release".into()));
        args.extend(plan.binaries.built_here.then(|| "--built-here".into()));
        args.extend(plan.observe.then(|| "--observe".into()));
        if let Some(infra) = &plan.real {
            args.extend(["--real".into(), infra.into()]);
        }
        args
    }
}

impl Audience {
    /// Tells an event. Once the platform is up the starter has gone, which is no fault.
    fn tell(&self, event: &Event) {
        match self {
            Self::Person(screen) => screen.show(event),
            Self::Starter => {
                if let Ok(line) = serde_json::to_string(event) {
                    let mut output = std::io::stdout().lock();
                    let _ = writeln!(output, "{line}").and_then(|()| output.flush());
                }
            }
        }
    }

    /// Where log lines are shown.
    fn screen(&self) -> Option<Arc<Screen>> {
        match self {
            Self::Person(screen) => Some(Arc::clone(screen)),
            Self::Starter => None,
        }
    }
}

fn require_binaries(binaries: &Binaries) -> anyhow::Result<()> {
    let missing: Vec<&str> = SERVICES
        .iter()
        .map(|service| service.binary)
        .filter(|binary| !binaries.folder.join(binary).is_file())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    bail!(
        "no {} in {}\nmend: build first, by cargo xtask up without --no-build",
        missing.join(", "),
        binaries.folder.display()
    )
}
