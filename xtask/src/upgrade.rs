//! `upgrade`: N-1 and N side by side on one database, as in a rolling update.
//!
//! The version before is built from its own commit and started whole on real servers, as an
//! installation runs it. While people use it, this version migrates the databases, and its processes
//! take the places of the others one service after the other; then the others come back on the new
//! schema, as in a rollback. No call may fail meanwhile, and everything that was written must in the
//! end be everywhere, once.

mod alike;
mod binaries;
pub(crate) mod edge;
mod fleet;
mod ground;
mod instance;
mod load;
mod machine;
pub(crate) mod person;
pub(crate) mod revision;
mod settled;
mod wait;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{anyhow, ensure};
use clap::Args;

use crate::home::Home;
use crate::infra::{self, Endpoints};
use crate::mesh::SERVICES;
use crate::{compile, workspace};
use edge::Edge;
use fleet::Fleet;
use ground::{Ground, Version};
use load::Load;
use machine::Waited;

/// How many errors of processes a fault shows.
const ERRORS: usize = 5;

/// What to upgrade from, and where.
#[derive(Debug, Args)]
pub(crate) struct UpgradeArgs {
    /// Upgrade from this commit or tag [default: the newest release before this one].
    #[arg(long, value_name = "REV")]
    from: Option<String>,
    /// Run the binaries of this version that are there already.
    #[arg(long)]
    no_build: bool,
    /// Use the servers of this file, and start none.
    #[arg(long, value_name = "FILE")]
    infra: Option<PathBuf>,
}

/// Does what the command line says.
pub(crate) fn run(home: &Home, args: &UpgradeArgs) -> anyhow::Result<ExitCode> {
    wait::listen()?;
    let revision = revision::find(&workspace::root(), args.from.as_deref())?;
    if args.infra.is_none() {
        infra::ensure(home, None)?;
    }
    if !args.no_build {
        compile::run(false)?;
    }
    let folder = workspace::target_folder().join("upgrade");
    println!("upgrade: n-1 is {}, n is what is here", revision.name);
    let before = binaries::of(&revision, &folder)?;
    let infra = args.infra.clone().unwrap_or_else(|| Endpoints::file(home));
    let binaries = [before, workspace::binary_folder(false)];
    upgrade(&folder.join("home"), &infra, binaries).map(|()| ExitCode::SUCCESS)
}

/// Whether this clone has the version before; one of the newest commit alone has not.
pub(crate) fn is_possible() -> bool {
    revision::find(&workspace::root(), None).is_ok()
}

/// On the binaries of this version that are there, and servers that run.
pub(crate) fn check(home: &Home) -> anyhow::Result<()> {
    let args = UpgradeArgs { from: None, no_build: true, infra: Some(Endpoints::file(home)) };
    run(home, &args).map(|_| ())
}

/// What is on the servers is removed however it goes.
fn upgrade(home: &Path, infra: &Path, binaries: [PathBuf; 2]) -> anyhow::Result<()> {
    machine::settle(&binaries);
    let waited = Waited::now();
    let ground = Ground::lay(home.to_owned(), infra, binaries)?;
    let edge = Arc::new(Edge::new());
    let outcome = roll_there_and_back(&ground, &edge);
    let cleared = ground.clear();
    match outcome {
        Ok(()) => cleared,
        Err(error) => {
            let waited = Waited::now().since(waited);
            Err(explain(&error, &edge.record().failures, waited, &ground))
        }
    }
}

fn roll_there_and_back(ground: &Ground, edge: &Arc<Edge>) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut fleet = Fleet::new(ground, edge);
    fleet.start_all(Version::Before)?;
    let load = Load::begin(edge, &ground.home)?;
    say(begun, "n-1 serves");
    fleet.migrate(Version::After)?;
    say(begun, "n has migrated every database, n-1 serves on");
    for to in [Version::After, Version::Before] {
        for service in &SERVICES {
            let rolled = fleet.roll(service, to)?;
            say(begun, &sentence(service.name, to, &rolled));
        }
    }
    let written = load.end();
    edge.record().require_none_failed()?;
    let events = settled::require(ground, edge, &written)?;
    fleet.stop_all()?;
    let errors = ground.errors();
    ensure!(errors.is_empty(), "processes wrote {} errors", errors.len());
    let record = edge.record();
    println!(
        "upgrade: there and back in {:.0} s; {} calls, none failed, the slowest took {} ms; {} \
         users, {} roles and {events} events are everywhere, once",
        begun.elapsed().as_secs_f64(),
        record.calls,
        record.slowest.as_millis(),
        written.users.len(),
        written.roles.len(),
    );
    Ok(())
}

/// A fault with what was seen of it from outside and what processes said.
fn explain(
    error: &anyhow::Error,
    failures: &[String],
    waited: Waited,
    ground: &Ground,
) -> anyhow::Error {
    let errors: Vec<String> = ground.errors().into_iter().take(ERRORS).collect();
    let mut text = format!("{error:#}");
    for (what, lines) in [("calls that failed", failures), ("errors that were written", &errors)] {
        if !lines.is_empty() {
            text.push_str(&format!("\n{what}, the first of them:\n{}", lines.join("\n")));
        }
    }
    anyhow!("{text}\n{waited}\nall logs are in {}", ground.home.path("logs").display())
}

fn sentence(service: &str, to: Version, rolled: &fleet::Rolled) -> String {
    let [old, new] = rolled.served;
    let (from, to) = (to.other().name(), to.name());
    format!(
        "{service}: {from} served {old} and {to} {new} calls side by side, both in {} consumer \
         groups; {from} ended {:.1} s after SIGTERM",
        rolled.groups,
        rolled.drained.as_secs_f64()
    )
}

fn say(begun: Instant, what: &str) {
    println!("upgrade: {:>4.0} s {what}", begun.elapsed().as_secs_f64());
}
