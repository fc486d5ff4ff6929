//! `chart run`: what was rendered, run by the real binaries, so that chart and binary cannot disagree.
//!
//! Every container of every rendered pod checks its settings with exactly the environment, arguments
//! and files that it was given. Then the evaluation runs whole: its probes are asked as a kubelet
//! would, a user logs in through the edge, and all containers get SIGTERM and end within the grace.
//! There is no cluster, so paths of mounts become folders, the pod's address becomes loopback, and the
//! evaluation's ports become free ones.

mod container;
mod sandbox;
mod tour;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use super::NEWEST;
use super::helm::{Case, Helm};
use super::objects::{Pod, id, image_name, pods, text};
use crate::mesh::SERVICES;
use crate::{compile, files, workspace};
use container::Container;
use sandbox::Sandbox;

/// The longest that the evaluation may take to be ready, on a machine that builds beside it.
const START_PATIENCE: Duration = Duration::from_secs(120);

/// Builds, checks and runs.
pub(super) fn run(no_build: bool, bin_dir: Option<PathBuf>) -> anyhow::Result<()> {
    let root = workspace::root();
    let helm = Helm::find(&root)?;
    if !no_build && bin_dir.is_none() {
        compile::run(false)?;
    }
    let binaries = bin_dir.unwrap_or_else(|| workspace::binary_folder(false));
    let folder = workspace::target_folder().join("chart/run");
    files::remove(&folder)?;
    let (mut checked, mut faults, mut strangers) = (0, Vec::new(), Vec::new());
    for case in Case::all(&root)? {
        let objects = helm.template(&case, NEWEST)?;
        let sandbox = Sandbox::new(folder.join(&case.name), &objects)?;
        for pod in pods(&objects).iter().filter(|pod| text(pod.owner, "/kind") != "Pod") {
            for rendered in pod.containers() {
                let Some(binary) = binary(rendered) else {
                    strangers.push(text(rendered, "/image").to_owned());
                    continue;
                };
                let container = Container::new(&sandbox, pod, rendered, binaries.join(binary))?;
                checked += 1;
                let fault = container.check().err();
                let place = || format!("{case}: {}, {}", id(pod.owner), container.name);
                faults.extend(fault.map(|fault| format!("{}: {fault:#}", place())));
            }
        }
    }
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    println!("chart: {checked} containers take their settings");
    strangers.dedup();
    strangers
        .iter()
        .for_each(|image| println!("chart: {image} is none of ours, and was not checked"));
    evaluation(&helm, &Case::evaluation(&root), &folder.join("evaluation-run"), &binaries)
}

/// The binary of a container's image; `None` for images of others.
fn binary(container: &Value) -> Option<&'static str> {
    let image = image_name(container);
    SERVICES.iter().find(|service| service.name == image).map(|service| service.binary)
}

/// The life of an evaluation's pod, from the start of its containers to their end.
fn evaluation(
    helm: &Helm,
    case: &Case,
    folder: &std::path::Path,
    binaries: &std::path::Path,
) -> anyhow::Result<()> {
    let objects = helm.template(case, NEWEST)?;
    let sandbox = Sandbox::with_free_ports(folder.to_owned(), &objects)?;
    let pods = pods(&objects);
    let is_evaluation = |pod: &&Pod<'_>| text(pod.owner, "/kind") == "Deployment";
    let pod = pods.iter().find(is_evaluation).context("the evaluation has no pod")?;
    let mut running = Vec::new();
    for rendered in pod.containers() {
        let binary = binary(rendered).context("an image of others")?;
        let container = Container::new(&sandbox, pod, rendered, binaries.join(binary))?;
        running.push(container.start()?);
    }
    let begun = Instant::now();
    for container in &mut running {
        container.wait_started(START_PATIENCE)?;
        container.wait_ready(START_PATIENCE)?;
        container.ask_alive()?;
    }
    println!("chart: the evaluation is ready after {:.1} s", begun.elapsed().as_secs_f64());
    let edge = running.iter().find_map(|container| container.port("http"));
    tour::take(edge.context("no container has a port http")?, &objects)?;

    let grace = pod.spec.get("terminationGracePeriodSeconds").and_then(Value::as_u64);
    let grace = Duration::from_secs(grace.context("no grace period")?);
    let asked = Instant::now();
    running.iter().for_each(container::Running::terminate);
    let mut ends = Vec::new();
    for container in &mut running {
        let left = grace.saturating_sub(asked.elapsed());
        match container.wait_end(left)? {
            Some(0) => {}
            Some(code) => ends.push(format!("{} ended with {code}", container.name)),
            None => ends.push(format!("{} did not end within {grace:?}", container.name)),
        }
    }
    if !ends.is_empty() {
        bail!("{}\nlogs are in {}", ends.join("\n"), folder.display());
    }
    println!(
        "chart: everything ended in order after {:.1} s, within a grace of {grace:?}",
        asked.elapsed().as_secs_f64()
    );
    Ok(())
}
