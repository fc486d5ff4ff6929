//! `chart install`: the chart, installed by Helm on a real control plane.
//!
//! etcd, the API server and the controllers run on loopback, the definitions of cert-manager, the
//! Prometheus operator and the Gateway API are those that these publish, and Helm is Helm. So the
//! server judges each object with its admission, pods are made by controllers or refused, Secrets are
//! looked up, and an upgrade is a three-way merge with what is there. There is no kubelet: [node] says
//! of pods that they run, in the order that a kubelet would keep to, and no image is pulled.
//!
//! For each file of values: installed anew, tested, upgraded to other settings when its Jobs are gone,
//! and removed. For the evaluation and production: installed by the chart of the version before,
//! upgraded to this one, rolled back, upgraded again, removed, and installed again over what it has
//! kept. Every time all pods must become ready, nothing may be refused or warned of, and Secrets that
//! Helm has made once must be the same as before.
//!
//! What needs a kubelet, a scheduler, a network or an operator is not seen here: `chart run` runs the
//! containers, and nobody checks here that a Secret is there which a pod mounts.

mod api;
mod cluster;
mod discovery;
mod leftovers;
mod node;
mod programs;
mod proxy;
mod release;
mod rights;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::NEWEST;
use super::helm::{Case, Helm};
use super::objects::{list, name};
use super::parallel;
use super::run::interrupt;
use crate::home::Home;
use crate::infra::output;
use crate::upgrade::revision::{self, Revision, git};
use crate::{files, workspace};
use api::Api;
use cluster::Cluster;
use leftovers::Resources;
use node::Node;
use release::Release;

/// N-1 while there is no release: the oldest commit whose chart has values for production.
const UNRELEASED: &str = "37efa25";

/// The values that are upgraded from it.
const UPGRADED: [&str; 2] = ["evaluation", "production"];

/// A priority class that values name, and so somebody brings.
const PRIORITY_CLASS: &str = "platform";

/// What it is installed from and on.
struct Ground<'a> {
    cluster: &'a Cluster,
    helm: &'a Helm,
    resources: Resources,
    cases: Vec<Case>,
    /// The chart of the version before, and the values that it has.
    before: Option<(Revision, Helm, Vec<Case>)>,
}

/// What happens to a release.
enum Story<'a> {
    Anew { case: &'a Case, folder: &'a Path, binaries: &'a Path },
    Over { revision: &'a Revision, helm: &'a Helm, case: &'a Case },
}

impl Story<'_> {
    fn take_place(&self, ground: &Ground<'_>) -> anyhow::Result<()> {
        match self {
            Self::Anew { case, folder, binaries } => {
                ground.anew(case, folder, binaries).with_context(|| case.to_string())
            }
            Self::Over { revision, helm, case } => ground
                .over(revision, helm, case)
                .with_context(|| format!("{case}, over {}", revision.name)),
        }
    }
}

/// Whether there is a `go` that makes a control plane.
pub(super) fn is_possible() -> bool {
    programs::are_buildable()
}

/// Starts the control plane, installs, and ends it.
pub(super) fn run(home: &Home, bin_dir: Option<PathBuf>) -> anyhow::Result<()> {
    let begun = Instant::now();
    interrupt::listen()?;
    let root = workspace::root();
    let helm = Helm::find(&root)?;
    let programs = programs::folder(home)?;
    let definitions = programs::definitions(home)?;
    let folder = workspace::target_folder().join("chart/install");
    let started = Instant::now();
    let mut cluster = Cluster::start(&folder.join("cluster"), &programs)?;
    prepare(&cluster.api, &definitions)?;
    let node = Node::start(&cluster.api)?;
    println!("chart: a control plane serves after {:.1} s", started.elapsed().as_secs_f64());
    let ground = Ground {
        cluster: &cluster,
        helm: &helm,
        resources: Resources::of(&cluster.api)?,
        cases: Case::all(&root)?,
        before: before(&root, &helm, &folder.join("before"))?,
    };
    let binaries = bin_dir.unwrap_or_else(|| workspace::binary_folder(false));
    let lived = ground.live(&folder, &binaries);
    // Whichever of them has given up explains why a release did not come about.
    let outcome = node.stop().and(cluster.require_alive()).and(lived);
    drop(cluster);
    outcome?;
    println!("chart: installed and removed in {:.0} s", begun.elapsed().as_secs_f64());
    Ok(())
}

/// What installations find there: the kinds of operators, and what values name.
fn prepare(api: &Api, definitions: &[Value]) -> anyhow::Result<()> {
    let kinds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    for definition in definitions {
        api.create(kinds, definition)?;
    }
    for definition in definitions {
        wait_established(api, &format!("{kinds}/{}", name(definition)))?;
    }
    let class = json!({
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": PRIORITY_CLASS},
        "value": 1000,
    });
    api.create("/apis/scheduling.k8s.io/v1/priorityclasses", &class).map(drop)
}

/// Until the server serves a kind.
fn wait_established(api: &Api, path: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let definition = api.get(path)?;
        let mut conditions = list(&definition, "/status/conditions").iter();
        if conditions.any(|it| it["type"] == "Established" && it["status"] == "True") {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{path} is not served: {definition}");
        interrupt::pause(Duration::from_millis(100))?;
    }
}

/// The chart of the version before, taken out of this clone; `None` where the clone has no history.
fn before(
    root: &Path,
    helm: &Helm,
    folder: &Path,
) -> anyhow::Result<Option<(Revision, Helm, Vec<Case>)>> {
    let Ok(revision) = revision::newest_release(root, UNRELEASED) else {
        println!("chart: the version before is not in this clone; cargo xtask upgrade says how");
        return Ok(None);
    };
    files::remove(folder)?;
    std::fs::create_dir_all(folder)?;
    let archive = folder.join("helm.tar").to_string_lossy().into_owned();
    git(root, &["archive", "--format=tar", "--output", &archive, &revision.commit, "helm"])?;
    let mut tar = std::process::Command::new("tar");
    output(tar.arg("-xf").arg(&archive).arg("-C").arg(folder))?;
    let cases = Case::all(folder)?;
    Ok(Some((revision, helm.of_tree(folder), cases)))
}

impl Ground<'_> {
    /// Both stories of all values, side by side: most of their time is waiting.
    fn live(&self, folder: &Path, binaries: &Path) -> anyhow::Result<()> {
        let anew = self.cases.iter().map(|case| Story::Anew { case, folder, binaries });
        let stories: Vec<_> = anew.chain(self.overs()).collect();
        let outcomes = parallel::map(&stories, |story| story.take_place(self));
        let faults = outcomes.into_iter().filter_map(Result::err);
        let faults: Vec<_> = faults.map(|fault| format!("{fault:#}")).collect();
        ensure!(faults.is_empty(), "{}", faults.join("\n"));
        Ok(())
    }

    /// The values stay those of the version before: nobody who upgrades has others. What is fixed of the
    /// rest, `chart check` compares.
    fn overs(&self) -> Vec<Story<'_>> {
        let Some((revision, helm, cases)) = &self.before else { return Vec::new() };
        let old = cases.iter().filter(|old| UPGRADED.contains(&old.name.as_str()));
        old.map(|case| Story::Over { revision, helm, case }).collect()
    }

    fn release(&self, namespace: String) -> anyhow::Result<Release<'_>> {
        let cluster = self.cluster;
        Release::new(&cluster.api, self.helm, &cluster.kubeconfig, namespace)
    }

    /// Installed where nothing was.
    fn anew(&self, case: &Case, folder: &Path, binaries: &Path) -> anyhow::Result<()> {
        let begun = Instant::now();
        let rendered = &self.helm.template(case, NEWEST)?;
        let release = self.release(case.name.clone())?;
        release.deploy(self.helm, "install", case, &[])?;
        release.test()?;
        let accounts = rights::require(&release, rendered)?;
        if discovery::is_used(rendered) {
            discovery::require(&release, rendered, folder, binaries)?;
        }
        let secrets = release.secrets()?;
        release.expire_jobs()?;
        release.deploy(self.helm, "upgrade", case, &["--set", "telemetry.logFilter=debug"])?;
        release.require_kept(&secrets, "an upgrade")?;
        release.uninstall()?;
        let kept = self.resources.require_only_kept(&release, rendered)?;
        println!(
            "chart: {case} is installed, tested, upgraded and removed in {:.0} s; {accounts} accounts \
             may what they must, {kept} Secrets are left",
            begun.elapsed().as_secs_f64()
        );
        Ok(())
    }

    /// Installed over the version before.
    fn over(&self, revision: &Revision, before: &Helm, case: &Case) -> anyhow::Result<()> {
        let begun = Instant::now();
        let release = self.release(format!("{}-upgraded", case.name))?;
        release.deploy(before, "install", case, &[]).context("n-1")?;
        let old = release.secrets()?;
        release.deploy(self.helm, "upgrade", case, &[])?;
        release.require_kept(&old, "an upgrade from n-1")?;
        release.roll_back(1)?;
        release.require_kept(&old, "a rollback")?;
        release.deploy(self.helm, "upgrade", case, &[])?;
        let new = release.secrets()?;
        release.require_kept(&old, "an upgrade after a rollback")?;
        release.uninstall()?;
        release.deploy(self.helm, "install", case, &[]).context("over what was kept")?;
        release.require_kept(&new, "an installation over what was kept")?;
        release.uninstall()?;
        self.resources.require_only_kept(&release, &self.helm.template(case, NEWEST)?)?;
        println!(
            "chart: {case} is upgraded from {}, rolled back, upgraded again, removed and installed \
             again in {:.0} s; {} values of Secrets are the same",
            revision.name,
            begun.elapsed().as_secs_f64(),
            new.len()
        );
        Ok(())
    }
}
