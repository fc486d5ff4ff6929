//! `up`: build, then run the platform here or hand it to a process of its own.

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;

use anyhow::{Context as _, bail};

use crate::cli::UpArgs;
use crate::home::Home;
use crate::infra::{self, Endpoints};
use crate::mesh::{PortOffset, SERVICES};
use crate::state::Binaries;
use crate::supervisor::{self, Audience, Plan, SuperviseArgs};
use crate::terminal::{Event, Screen};
use crate::{compile, ports, standing, summary, workspace};

/// Brings the platform up.
pub(crate) fn run(home: &Home, args: &UpArgs) -> anyhow::Result<ExitCode> {
    if standing::running(home)?.is_some() {
        bail!(supervisor::already_up(home));
    }
    let plan = plan(home, args)?;
    // What is in the way is told before a build that may take minutes.
    if let Some(lock) = home.take()? {
        let screen = Screen::new(0);
        for notice in standing::mend(home, &lock)? {
            screen.show(&Event::Notice(notice));
        }
        ports::check(plan.offset, plan.observe)?;
    }
    if args.real && args.infra.is_none() {
        infra::ensure(home, args.port_offset)?;
    }
    if plan.binaries.built_here && !args.no_build {
        compile::run(args.release)?;
    }
    if args.detach { detached(plan) } else { foreground(plan) }
}

fn plan(home: &Home, args: &UpArgs) -> anyhow::Result<Plan> {
    let folder = match &args.bin_dir {
        Some(folder) => std::path::absolute(folder)?,
        None => workspace::binary_folder(args.release),
    };
    let binaries = Binaries { folder, release: args.release, built_here: args.bin_dir.is_none() };
    let real = match &args.infra {
        Some(file) => Some(std::path::absolute(file)?),
        None => args.real.then(|| Endpoints::file(home)),
    };
    Ok(Plan {
        home: home.clone(),
        offset: PortOffset::from(args.port_offset)?,
        binaries,
        real,
        observe: args.observe,
    })
}

fn foreground(plan: Plan) -> anyhow::Result<ExitCode> {
    let screen = Arc::new(Screen::new(SERVICES.len() as u64));
    supervisor::run(plan, Audience::Person(screen))?;
    println!("Mainstay has stopped.");
    Ok(ExitCode::SUCCESS)
}

/// Starts the supervisor as a process of its own and follows its start by what it tells on its
/// standard output. If this command is interrupted meanwhile, the supervisor notices that its
/// standard input has ended, and stops what it had started.
fn detached(plan: Plan) -> anyhow::Result<ExitCode> {
    let screen = Screen::new(SERVICES.len() as u64);
    let mut supervisor = start_supervisor(&plan)?;
    let output = supervisor.stdout.take().context("the supervisor has no output")?;
    for line in BufReader::new(output).lines() {
        let event: Event = serde_json::from_str(&line?)
            .context("the supervisor said something that is not understood")?;
        screen.show(&event);
        match event {
            Event::Up => {
                println!("{}", summary::text(&plan.home)?);
                return Ok(ExitCode::SUCCESS);
            }
            Event::Failed(why) => {
                // It says so last; nothing of it is left when this command returns.
                supervisor.wait()?;
                bail!(why);
            }
            Event::Notice(_) | Event::Starting(_) | Event::Ready(..) => {}
        }
    }
    let status = supervisor.wait()?;
    bail!(
        "the supervisor ended before the platform was up ({status}); see {}",
        plan.home.log_file("supervisor").display()
    )
}

fn start_supervisor(plan: &Plan) -> anyhow::Result<Child> {
    let log = plan.home.log_file("supervisor");
    if let Some(folder) = log.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let errors = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&log)
        .with_context(|| format!("{} cannot be written", log.display()))?;
    Command::new("/proc/self/exe")
        .args(SuperviseArgs::of(plan))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(errors)
        .spawn()
        .context("the supervisor cannot be started")
}
