//! `chart`: the Helm chart, checked and run without a cluster.
//!
//! `check` renders it with every file of `helm/tests/values` for several versions of Kubernetes, and
//! looks at every object: by Kubernetes' own schemas, and by rules of our own, such as that whatever is
//! referred to is there. `run` starts the real binaries with exactly what was rendered for them.

mod callers;
mod dashboards;
mod exported;
mod helm;
mod install;
mod inventory;
mod kubernetes;
mod objects;
mod observed;
mod operators;
mod parallel;
mod readme;
mod references;
mod rules;
mod run;
mod runbooks;
mod security;
mod stories;
mod upgrade;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::bail;
use clap::{Args, Subcommand};

use crate::home::Home;
use crate::infra::{self, Endpoints};
use crate::workspace;
use exported::Exported;
pub(crate) use helm::default_values;
use helm::{Case, Helm};

/// What to do with the chart.
#[derive(Debug, Args)]
pub(crate) struct ChartArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lint it, render it in every way, and check every object.
    Check {
        /// Write down which objects and values there are, instead of comparing.
        #[arg(long)]
        bless: bool,
    },
    /// Check every rendered container with its binary, and run the evaluation on loopback.
    Run {
        /// Run production, too, on PostgreSQL, Redis, Kafka and Consul, started where they do not run.
        #[arg(long)]
        real: bool,
        /// With --real: use the servers of this file, and start none.
        #[arg(long, value_name = "FILE", requires = "real")]
        infra: Option<PathBuf>,
        /// Run the binaries that are there already.
        #[arg(long)]
        no_build: bool,
        /// Take the binaries from this folder.
        #[arg(long, value_name = "DIR", hide = true)]
        bin_dir: Option<PathBuf>,
    },
    /// Install it by Helm on a control plane of this machine, upgrade it from the version before, roll
    /// back and remove it.
    Install {
        /// Take the binaries from this folder.
        #[arg(long, value_name = "DIR", hide = true)]
        bin_dir: Option<PathBuf>,
    },
}

/// Versions of Kubernetes it is rendered for: the oldest it takes, one in between, the newest known.
const VERSIONS: [&str; 3] = ["1.27.0", "1.31.0", NEWEST];
const NEWEST: &str = "1.37.0";

/// The servers that production runs on.
const SERVERS: [&str; 4] = ["postgres", "redis", "kafka", "consul"];

/// Does what is asked.
pub(crate) fn run(home: &Home, args: ChartArgs) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::Check { bless } => check(bless)?,
        Action::Run { real: false, no_build, bin_dir, .. } => run::run(no_build, bin_dir, None)?,
        Action::Run { real: true, infra, no_build, bin_dir } => {
            let infra = match infra {
                Some(infra) => infra,
                None => {
                    infra::ensure_some(home, &SERVERS)?;
                    eprintln!("the servers go on running; cargo xtask infra down stops them");
                    Endpoints::file(home)
                }
            };
            run::run(no_build, bin_dir, Some(&infra))?;
        }
        Action::Install { bin_dir } => install::run(home, bin_dir)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Everything that was rendered, by the binaries that are there, on servers that run.
pub(crate) fn run_whole(home: &Home) -> anyhow::Result<()> {
    run::run(true, None, Some(&Endpoints::file(home)))
}

/// Installed on a control plane, by the binaries that are there.
pub(crate) fn install(home: &Home) -> anyhow::Result<()> {
    install::run(home, None)
}

/// Whether there is a go to make a control plane with.
pub(crate) fn is_installable() -> bool {
    install::is_possible()
}

/// Whether there is a helm to check it with.
pub(crate) fn is_checkable() -> bool {
    Helm::find(&workspace::root()).is_ok()
}

/// Everything that is known of the chart without a cluster.
pub(crate) fn check(bless: bool) -> anyhow::Result<()> {
    let begun = Instant::now();
    let root = workspace::root();
    let helm = Helm::find(&root)?;
    let cases = Case::all(&root)?;
    let mut faults = Vec::new();
    let mut rendered = Vec::new();
    for linted in parallel::map(&cases, |case| helm.lint(case)) {
        linted?;
    }
    let ways = cases.iter().flat_map(|case| VERSIONS.map(|version| (case, version)));
    let ways: Vec<_> = ways.collect();
    let outcomes = parallel::map(&ways, |(case, version)| helm.template(case, version));
    for ((case, version), objects) in ways.into_iter().zip(outcomes) {
        let objects = objects?;
        let found = references::faults(&objects).into_iter().chain(security::faults(&objects));
        faults.extend(found.map(|fault| format!("{case} on {version}: {fault}")));
        rendered.push((case, version, objects));
    }
    faults.extend(callers::faults(&root)?);
    faults.extend(inventory::faults(&root, &rendered, bless)?);
    faults.extend(readme::faults(&root, bless)?);
    faults.extend(stories::faults(&helm, &root)?);
    faults.extend(upgrade::faults(&helm, &cases)?);
    faults.extend(kubernetes::faults(&rendered)?);
    faults.extend(operators::faults(&rendered)?);
    let exported = Exported::read(&root)?;
    faults.extend(rules::faults(&root, &rendered, &exported)?);
    faults.extend(dashboards::faults(&root, &rendered, &exported, bless)?);
    faults.extend(observed::faults(&root, &rendered, bless)?);
    if !faults.is_empty() {
        bail!("{}\nthe chart has {} fault(s)", faults.join("\n"), faults.len());
    }
    println!(
        "chart: {} values x {} versions are sound ({} objects, {:.0} s)",
        cases.len(),
        VERSIONS.len(),
        rendered.iter().map(|(_, _, objects)| objects.len()).sum::<usize>(),
        begun.elapsed().as_secs_f64()
    );
    Ok(())
}
