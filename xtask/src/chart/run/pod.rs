//! A pod as processes: its containers from their start to their end.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use super::binary;
use super::container::Container;
use super::interrupt;
use super::running::Running;
use super::sandbox::{Place, Sandbox};
use crate::chart::objects::{Pod, id, list};

/// The longest that a container which has started may take to be ready, on a machine that builds
/// beside it.
const READY_PATIENCE: Duration = Duration::from_secs(120);

/// One pod of those that an object makes, and where it is.
pub(super) struct Replica<'a> {
    name: String,
    pod: &'a Pod<'a>,
    place: Place,
}

/// A pod whose containers run.
pub(super) struct RunningPod<'a> {
    pod: &'a Pod<'a>,
    containers: Vec<Running<'a>>,
}

impl<'a> Replica<'a> {
    /// The one of this number, counted from 0.
    pub(super) fn new(
        sandbox: &Sandbox<'_>,
        pod: &'a Pod<'a>,
        number: u64,
        address: Ipv4Addr,
    ) -> Self {
        let name = format!("{}-{number}", id(pod.owner));
        Self { place: sandbox.place(&name, address), name, pod }
    }

    /// Starts its `initContainer`, if it has one.
    pub(super) fn start_first(
        &self,
        sandbox: &Sandbox<'_>,
        binaries: &Path,
    ) -> anyhow::Result<Option<Running<'a>>> {
        let rendered = list(self.pod.spec, "/initContainers");
        ensure!(rendered.len() <= 1, "{}: only one initContainer is known here", self.name);
        rendered.first().map(|rendered| self.start(sandbox, binaries, rendered)).transpose()
    }

    /// Starts its containers.
    pub(super) fn start_all(
        self,
        sandbox: &Sandbox<'_>,
        binaries: &Path,
    ) -> anyhow::Result<RunningPod<'a>> {
        let rendered = list(self.pod.spec, "/containers").iter();
        let containers = rendered.map(|rendered| self.start(sandbox, binaries, rendered));
        let containers = containers.collect::<anyhow::Result<_>>()?;
        Ok(RunningPod { pod: self.pod, containers })
    }

    fn start(
        &self,
        sandbox: &Sandbox<'_>,
        binaries: &Path,
        rendered: &'a Value,
    ) -> anyhow::Result<Running<'a>> {
        let name = &self.name;
        let binary = binary(rendered).with_context(|| format!("{name} has an image of others"))?;
        let path = binaries.join(binary);
        Container::new(sandbox, &self.place, self.pod, rendered, path)
            .and_then(Container::start)
            .with_context(|| name.clone())
    }
}

impl RunningPod<'_> {
    /// Until every startup and readiness probe has succeeded, and then every liveness probe must.
    pub(super) fn wait_ready(&mut self) -> anyhow::Result<()> {
        for container in &mut self.containers {
            container.wait_started()?;
            container.wait_ready(READY_PATIENCE)?;
            container.ask("livenessProbe")?;
        }
        Ok(())
    }

    /// Whether it is still ready and alive.
    pub(super) fn ask_again(&self) -> anyhow::Result<()> {
        for container in &self.containers {
            container.ask("readinessProbe")?;
            container.ask("livenessProbe")?;
        }
        Ok(())
    }

    /// Its containers do their errand and end.
    pub(super) fn wait_success(&mut self, patience: Duration) -> anyhow::Result<()> {
        self.containers.iter_mut().try_for_each(|container| container.wait_success(patience))
    }

    /// The address of a port by name.
    pub(super) fn port(&self, name: &str) -> Option<SocketAddr> {
        self.containers.iter().find_map(|container| container.port(name))
    }

    /// Whether a label selector chooses it.
    pub(super) fn is_selected(&self, labels: &Value) -> bool {
        self.pod.is_selected(labels)
    }

    fn grace(&self) -> anyhow::Result<Duration> {
        let seconds = self.pod.spec.get("terminationGracePeriodSeconds").and_then(Value::as_u64);
        seconds
            .map(Duration::from_secs)
            .with_context(|| format!("{}: no grace", id(self.pod.owner)))
    }
}

/// Ends all pods at once as a kubelet does: preStop hooks, SIGTERM, and all within the grace.
pub(super) fn end(pods: &mut [RunningPod<'_>]) -> anyhow::Result<()> {
    let asked = Instant::now();
    terminate(pods, asked)?;
    let mut ends = Vec::new();
    for pod in &mut *pods {
        let grace = pod.grace()?;
        for container in &mut pod.containers {
            match container.wait_end(grace.saturating_sub(asked.elapsed()))? {
                Some(0) => {}
                Some(code) => ends.push(format!("{} ended with {code}", container.place())),
                None => ends.push(format!("{} did not end within {grace:?}", container.place())),
            }
        }
    }
    if !ends.is_empty() {
        bail!("{}", ends.join("\n"));
    }
    println!(
        "chart: everything ended in order after {:.1} s, within its grace",
        asked.elapsed().as_secs_f64()
    );
    Ok(())
}

/// SIGTERM for each container when its preStop hook is over.
fn terminate(pods: &[RunningPod<'_>], asked: Instant) -> anyhow::Result<()> {
    let containers = pods.iter().flat_map(|pod| &pod.containers);
    let hooks = containers.map(|container| Ok((pre_stop(container.rendered)?, container)));
    let mut hooks = hooks.collect::<anyhow::Result<Vec<_>>>()?;
    hooks.sort_by_key(|(hook, _)| *hook);
    for (hook, container) in hooks {
        interrupt::pause(hook.saturating_sub(asked.elapsed()))?;
        container.terminate();
    }
    Ok(())
}

/// How long a container is left alone before SIGTERM.
fn pre_stop(container: &Value) -> anyhow::Result<Duration> {
    let Some(hook) = container.pointer("/lifecycle/preStop") else { return Ok(Duration::ZERO) };
    let seconds = hook.pointer("/sleep/seconds").and_then(Value::as_u64);
    seconds.map(Duration::from_secs).with_context(|| format!("preStop {hook} is not known here"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_container_is_left_alone_as_long_as_its_hook_sleeps() {
        let hook = |hook| json!({"lifecycle": {"preStop": hook}});
        let sleep = hook(json!({"sleep": {"seconds": 2}}));
        assert_eq!(pre_stop(&sleep).unwrap(), Duration::from_secs(2));
        assert_eq!(pre_stop(&json!({})).unwrap(), Duration::ZERO);
        let unknown = pre_stop(&hook(json!({"tcpSocket": {"port": 1}}))).unwrap_err().to_string();
        assert!(unknown.contains("tcpSocket"), "{unknown}");
    }
}
