//! One process of one version.

use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rustix::process::Signal;
use serde_json::Value;

use super::ground::{Ground, Version};
use super::wait;
use crate::http::Request;
use crate::infra::last_lines;
use crate::log_line::readable;
use crate::mesh::{Service, gateway};
use crate::observe::exposition;
use crate::probe::{Readiness, readiness};
use crate::process::ProcessId;
use crate::workspace;

/// The longest that a process may take to be ready, on a machine that builds beside it.
const START_PATIENCE: Duration = Duration::from_secs(90);

/// How long Kubernetes waits between SIGTERM and SIGKILL: `mainstay.graceSeconds` of the chart.
pub(super) const GRACE: Duration = Duration::from_secs(27);

/// How much of a log a fault shows.
const LAST_LINES: usize = 12;

/// A running process; killed when it is dropped.
pub(super) struct Instance {
    pub(super) version: Version,
    pub(super) service: &'static Service,
    pub(super) address: SocketAddr,
    admin: SocketAddr,
    child: Child,
    log: PathBuf,
    /// Where the log of this process begins.
    log_begin: usize,
}

impl Instance {
    /// Starts a process. It cannot outlive this one.
    pub(super) fn start(
        ground: &Ground,
        version: Version,
        service: &'static Service,
    ) -> anyhow::Result<Self> {
        let log = ground.log_file(version, service);
        let log_begin = log.metadata().map_or(0, |data| data.len() as usize);
        let writer = OpenOptions::new().create(true).append(true).open(&log)?;
        let plan = ground.plan(version);
        let mut command = Command::new("/proc/self/exe");
        command.args(["launch", "--supervisor", &std::process::id().to_string()]);
        command.arg(plan.binaries.folder.join(service.binary));
        ground.settle(&mut command, version, service);
        // A group of its own: Ctrl-C reaches this process alone, which then tidies up.
        command.current_dir(workspace::root()).process_group(0).stdin(Stdio::null());
        command.stdout(writer.try_clone()?).stderr(writer);
        let child =
            command.spawn().with_context(|| format!("{} cannot be started", service.name))?;
        let (address, admin) = (service.address(plan.offset), service.admin_address(plan.offset));
        Ok(Self { version, service, address, admin, child, log, log_begin })
    }

    /// Until it says that it is ready.
    pub(super) fn wait_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_PATIENCE;
        loop {
            let said = readiness(self.admin);
            if said == Readiness::Ready {
                return Ok(());
            }
            self.require_running("before it was ready")?;
            if Instant::now() > deadline {
                bail!("{self} is not ready after {START_PATIENCE:?}: {said:?}\n{}", self.last());
            }
            wait::pause()?;
        }
    }

    /// Refuses to go on when the process has ended.
    pub(super) fn require_running(&mut self, when: &str) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{self} ended {when} ({status})\n{}", self.last()),
        }
    }

    /// SIGTERM, as a kubelet sends it.
    pub(super) fn terminate(&self) {
        if let Some(process) = ProcessId::of(self.child.id()) {
            process.signal(Signal::TERM);
        }
    }

    /// Until it has ended in order, within the grace; says after how long.
    pub(super) fn wait_end(&mut self) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                ensure!(
                    status.success(),
                    "{self} did not end in order ({status})\n{}",
                    self.last()
                );
                return Ok(begun.elapsed());
            }
            if begun.elapsed() > GRACE {
                bail!("{self} did not end within a grace of {GRACE:?}\n{}", self.last());
            }
            std::thread::sleep(Duration::from_millis(25));
        }
    }

    /// How often it has served a method of its contract; the gateway: a route.
    pub(super) fn served(&self, what: &str) -> anyhow::Result<u64> {
        let answer = Request::get("/metrics")
            .patience(Duration::from_secs(10))
            .send(self.admin)
            .with_context(|| format!("{self} shows no metrics"))?;
        let (name, label) = match self.service == gateway() {
            true => ("http_server_request_duration_seconds_count", "http_route"),
            false => ("rpc_server_call_duration_seconds_count", "rpc_method"),
        };
        let of_name = exposition::read(&answer.body, |found| found == name);
        let counts = of_name.into_iter().filter(|(series, _)| series.label(label).ends_with(what));
        Ok(counts.map(|(_, count)| count as u64).sum())
    }

    /// The consumer groups in which it has partitions, as it says itself.
    pub(super) fn groups(&self) -> Vec<String> {
        groups(&self.own_log())
    }

    fn own_log(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(log.get(self.log_begin..).unwrap_or_default()).into_owned()
    }

    fn last(&self) -> String {
        let log = self.own_log();
        let lines: Vec<String> = log
            .lines()
            .map(|line| readable(line).map_or_else(|| line.to_owned(), |line| line.text))
            .collect();
        let last = last_lines(&lines.join("\n"), LAST_LINES);
        format!("its last log lines ({}):\n{last}", self.log.display())
    }
}

impl std::fmt::Display for Instance {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} of {}", self.service.name, self.version.name())
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // One that has ended already cannot be killed, and needs not.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Groups of which partitions were assigned last.
fn groups(log: &str) -> Vec<String> {
    let mut held = std::collections::BTreeMap::new();
    for line in log.lines() {
        let Ok(record) = serde_json::from_str::<Value>(line) else { continue };
        let fields = if record["fields"].is_object() { &record["fields"] } else { &record };
        let (Some(group), Some(count)) = (fields["group"].as_str(), fields["partitions"].as_u64())
        else {
            continue;
        };
        if fields["message"] == "assigned" || record["message"] == "assigned" {
            held.insert(group.to_owned(), count);
        }
    }
    held.into_iter().filter(|(_, count)| *count > 0).map(|(group, _)| group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_assignment_of_a_group_counts() {
        let log = r#"{"level":"debug","message":"assigned","group":"a.x","partitions":6}
            no record
            {"level":"debug","fields":{"message":"assigned","group":"b.y","partitions":3}}
            {"level":"debug","message":"revoked","group":"a.x","partitions":6}
            {"level":"debug","message":"assigned","group":"a.x","partitions":0}"#;
        assert_eq!(groups(log), ["b.y"]);
    }
}
