//! The evaluation from the start of its containers to their end.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Instant;

use anyhow::Context as _;

use super::pod::{self, Replica};
use super::sandbox::Sandbox;
use super::tour::{self, Edge};
use crate::chart::NEWEST;
use crate::chart::helm::{Case, Helm};
use crate::chart::objects::{kind, pods};

/// Runs it.
pub(super) fn run(helm: &Helm, case: &Case, folder: &Path, binaries: &Path) -> anyhow::Result<()> {
    let objects = helm.template(case, NEWEST)?;
    let sandbox = Sandbox::with_free_ports(folder.to_owned(), &objects)?;
    let pods = pods(&objects);
    let pod = pods.iter().find(|pod| kind(pod.owner) == "Deployment");
    let pod = pod.context("the evaluation has no pod")?;
    let begun = Instant::now();
    let replica = Replica::new(&sandbox, pod, 0, Ipv4Addr::LOCALHOST);
    let mut running = replica.start_all(&sandbox, binaries)?;
    running.wait_ready()?;
    println!("chart: the evaluation is ready after {:.1} s", begun.elapsed().as_secs_f64());
    let edge = running.port("http").context("no container has a port http")?;
    let password = Sandbox::generated(&objects, "admin-password")?;
    tour::take(&Edge::at(edge), &objects, &password)?;
    pod::end(&mut [running])
}
