//! `chart run`: what was rendered, run by the real binaries, so that chart and binary cannot disagree.
//!
//! Every container of every rendered pod checks its settings with exactly the environment, arguments
//! and files that it was given. Then the evaluation runs whole: its probes are asked as a kubelet
//! would, a user logs in through the edge, and all containers get SIGTERM and end within the grace.
//!
//! With `--real` production runs whole, too, in as many replicas as were rendered: pods wait for the
//! migrations, Jobs migrate, the Ingress and Services lead to the pods, the pod of `helm test` asks;
//! in the end nobody is left in Consul, and the collector has spans of all.
//! What docs/install.md has people bring is brought as they would, by values and Secrets: the
//! addresses of servers and collector, a database with one role for each service, keys. Nobody is an API server
//! here, so that production is rendered with Consul in the place of the `kubernetes` registry; and
//! because the servers are shared, with prefixes of its own for topics, keys and registrations.
//!
//! There is no cluster, so that this differs from what was rendered:
//! - paths of mounts become folders, in environment, settings and secret files;
//! - the pod's address becomes loopback's, where it listens instead of everywhere: in production an
//!   address for each pod with the rendered ports, in the evaluation one with free ports;
//! - certificates of cert-manager are issued here, for the rendered names;
//! - servers that speak no TLS have it put in front of them, for URLs that ask for it as production's do;
//! - names of Services become addresses of their pods, and images are the binaries that were built,
//!   that of `helm test` this machine's shell and wget.
//!
//! What only a cluster does is not done: users and file modes, limits of resources, network policies,
//! scaling, rolling updates. Of a probe's figures only those count that say how long a start may take.

mod container;
mod evaluation;
mod front;
mod installation;
pub(super) mod interrupt;
mod pod;
mod production;
mod running;
mod sandbox;
mod services;
mod tour;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::ensure;
use serde_json::Value;

use super::NEWEST;
use super::helm::{Case, Helm};
use super::objects::{id, image_name, pods, text};
use crate::mesh::SERVICES;
use crate::{compile, files, workspace};
use container::Container;
use sandbox::Sandbox;

/// Builds, checks and runs; production on the servers of a file, if one is named.
pub(super) fn run(
    no_build: bool,
    bin_dir: Option<PathBuf>,
    infra: Option<&Path>,
) -> anyhow::Result<()> {
    let root = workspace::root();
    let helm = Helm::find(&root)?;
    if !no_build && bin_dir.is_none() {
        compile::run(false)?;
    }
    let binaries = bin_dir.unwrap_or_else(|| workspace::binary_folder(false));
    let folder = workspace::target_folder().join("chart/run");
    files::remove(&folder)?;
    check(&helm, &Case::all(&root)?, &folder, &binaries)?;
    let case = Case::evaluation(&root);
    evaluation::run(&helm, &case, &folder.join("evaluation-run"), &binaries)?;
    let Some(infra) = infra else { return Ok(()) };
    let case = Case::production(&root);
    production::run(&helm, &case, &folder.join("production-run"), &binaries, infra)
}

/// Every container checks its settings.
fn check(helm: &Helm, cases: &[Case], folder: &Path, binaries: &Path) -> anyhow::Result<()> {
    let (mut checked, mut faults, mut strangers) = (0, Vec::new(), Vec::new());
    for case in cases {
        let objects = helm.template(case, NEWEST)?;
        let sandbox = Sandbox::new(folder.join(&case.name), &objects)?;
        for pod in pods(&objects).iter().filter(|pod| text(pod.owner, "/kind") != "Pod") {
            let place = sandbox.place(&id(pod.owner), Ipv4Addr::LOCALHOST);
            for rendered in pod.containers() {
                let Some(binary) = binary(rendered) else {
                    strangers.push(text(rendered, "/image").to_owned());
                    continue;
                };
                let path = binaries.join(binary);
                let container = Container::new(&sandbox, &place, pod, rendered, path)?;
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
    Ok(())
}

/// The binary of a container's image; `None` for images of others.
fn binary(container: &Value) -> Option<&'static str> {
    let image = image_name(container);
    SERVICES.iter().find(|service| service.name == image).map(|service| service.binary)
}
