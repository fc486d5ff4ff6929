//! Production from its migrations to its end, on real servers.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use super::installation::Installation;
use super::pod::{self, Replica, RunningPod};
use super::running::Running;
use super::sandbox::Sandbox;
use super::{interrupt, services, tour};
use crate::certificates::Certificates;
use crate::chart::NEWEST;
use crate::chart::helm::{Case, Helm};
use crate::chart::objects::{Pod, id, kind, list, pods};
use crate::infra::{Missing, find_program, output};

/// What a pod says that waits in `Init`, as docs/install.md promises.
const WAITS: &str = "waiting for migrations";

/// The longest that a migration may take, or a wait for it afterwards, on a machine that builds beside
/// it.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs it, and removes what it had on the servers.
pub(super) fn run(
    helm: &Helm,
    case: &Case,
    folder: &Path,
    binaries: &Path,
    infra: &Path,
) -> anyhow::Result<()> {
    interrupt::listen()?;
    // The sandbox's own, so that mesh and servers have one authority.
    let certificates = Certificates::at(folder.join("certificates"));
    let installation = Installation::prepare(folder.join("home"), &certificates, infra)?;
    let lived = live(helm, case, folder, binaries, &installation);
    let removed = installation.remove().context("something is left on the servers");
    match (lived, removed) {
        (Err(fault), Err(left)) => Err(fault.context(format!("{left:#}"))),
        (lived, removed) => lived.and(removed),
    }
}

/// All processes have ended when it returns.
fn live(
    helm: &Helm,
    case: &Case,
    folder: &Path,
    binaries: &Path,
    installation: &Installation,
) -> anyhow::Result<()> {
    let objects = helm.template_with(case, NEWEST, &installation.values);
    let objects = objects.map_err(anyhow::Error::msg)?;
    let secrets = installation.secrets.clone();
    let sandbox = Sandbox::with_secrets(folder.to_owned(), &objects, secrets)?;
    let all = pods(&objects);
    let begun = Instant::now();
    let mut running = start(&sandbox, &all, binaries)?;
    for pod in &mut running {
        pod.wait_ready()?;
    }
    let (count, taken) = (running.len(), begun.elapsed().as_secs_f64());
    println!("chart: {count} pods of production are ready after {taken:.1} s");
    let edge = services::ingress(&objects, &running)?;
    tour::take(&edge, &objects, &installation.password)?;
    test(&objects, &all, &running)?;
    running.iter().try_for_each(RunningPod::ask_again)?;
    pod::end(&mut running)?;
    installation.require_in_order()
}

/// Everything is there at once, as after `helm install`: pods wait for migrations, Jobs migrate, and
/// only then containers start.
fn start<'a>(
    sandbox: &Sandbox<'_>,
    all: &'a [Pod<'a>],
    binaries: &Path,
) -> anyhow::Result<Vec<RunningPod<'a>>> {
    let mut addresses = addresses();
    let mut first = Vec::new();
    for replica in replicas(sandbox, all, "Deployment", &mut addresses) {
        let running = replica.start_first(sandbox, binaries)?;
        first.push((replica, running));
    }
    require_waiting(first.iter_mut().filter_map(|(_, running)| running.as_mut()))?;
    let jobs = replicas(sandbox, all, "Job", &mut addresses);
    migrate(jobs, sandbox, binaries)?;
    let started = first.into_iter().map(|(replica, running)| {
        if let Some(mut running) = running {
            running.wait_success(PATIENCE)?;
        }
        replica.start_all(sandbox, binaries)
    });
    started.collect()
}

/// One that did not wait would have its container start on tables that are not there.
fn require_waiting<'a, 'b: 'a>(
    first: impl Iterator<Item = &'a mut Running<'b>>,
) -> anyhow::Result<()> {
    let mut count = 0;
    for container in first {
        container.wait_logged(WAITS, PATIENCE)?;
        count += 1;
    }
    println!("chart: {count} pods of production wait for migrations");
    Ok(())
}

/// All at once, as they would; each must succeed at its first attempt.
fn migrate(jobs: Vec<Replica<'_>>, sandbox: &Sandbox<'_>, binaries: &Path) -> anyhow::Result<()> {
    let started = jobs.into_iter().map(|job| job.start_all(sandbox, binaries));
    let mut jobs = started.collect::<anyhow::Result<Vec<_>>>()?;
    jobs.iter_mut().try_for_each(|job| job.wait_success(PATIENCE))?;
    println!("chart: {} Jobs of production have migrated", jobs.len());
    Ok(())
}

/// The pods of all objects of a kind, as many as there are before anything scales them.
fn replicas<'a>(
    sandbox: &Sandbox<'_>,
    all: &'a [Pod<'a>],
    wanted: &str,
    addresses: &mut impl Iterator<Item = Ipv4Addr>,
) -> Vec<Replica<'a>> {
    let count = |owner: &Value| owner.pointer("/spec/replicas").and_then(Value::as_u64);
    let wanted = all.iter().filter(|pod| kind(pod.owner) == wanted);
    let numbered =
        wanted.flat_map(|pod| (0..count(pod.owner).unwrap_or(1)).map(move |number| (pod, number)));
    numbered
        .zip(addresses)
        .map(|((pod, number), address)| Replica::new(sandbox, pod, number, address))
        .collect()
}

/// One for each pod, which has all its ports for itself: all of 127.0.0.0/8 is loopback (RFC 1122,
/// section 3.2.1.3). Runs at the same time have others.
fn addresses() -> impl Iterator<Item = Ipv4Addr> {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    (1..255).map(move |host| Ipv4Addr::new(127, high | 0x80, low, host))
}

/// `helm test`: the pods of its hooks, by the shell and the programs of this machine.
fn test(objects: &[Value], all: &[Pod<'_>], running: &[RunningPod<'_>]) -> anyhow::Result<()> {
    ensure!(find_program("wget").is_some(), "{}", Missing::package("wget", "wget"));
    for pod in all.iter().filter(|pod| kind(pod.owner) == "Pod") {
        for container in list(pod.spec, "/containers") {
            let words = ["/command", "/args"].into_iter().flat_map(|at| list(container, at));
            let words: Vec<_> = words.filter_map(Value::as_str).collect();
            let [program, arguments @ ..] = words.as_slice() else {
                bail!("{} has no command", id(pod.owner))
            };
            let mut command = Command::new(program);
            for argument in arguments {
                command.arg(services::resolved(objects, running, argument)?);
            }
            output(&mut command).with_context(|| id(pod.owner))?;
        }
        println!("chart: {} has passed", id(pod.owner));
    }
    Ok(())
}
