//! A container that runs: what a kubelet asks it, and how it ends.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rustix::process::Signal;
use serde_json::Value;

use super::interrupt;
use crate::chart::objects::text;
use crate::http::Request;
use crate::infra::last_lines;
use crate::process::ProcessId;

/// How often it is looked whether something has come about.
const POLL: Duration = Duration::from_millis(100);

/// How many last lines of a log explain why a container ended.
const LAST_LINES: usize = 5;

/// A container that runs; killed when it is dropped.
pub(super) struct Running<'a> {
    pub(super) name: String,
    pub(super) rendered: &'a Value,
    pub(super) child: Child,
    pub(super) folder: PathBuf,
    pub(super) ports: Vec<(String, SocketAddr)>,
}

impl Running<'_> {
    /// The address of a port by name.
    pub(super) fn port(&self, name: &str) -> Option<SocketAddr> {
        self.ports.iter().find(|(own, _)| own == name).map(|(_, address)| *address)
    }

    /// Until its startup probe succeeds, for as long as the probe itself allows.
    pub(super) fn wait_started(&mut self) -> anyhow::Result<()> {
        let probe = self.rendered.get("startupProbe");
        let patience = probe.map(start_patience).with_context(|| self.lacks("startupProbe"))?;
        self.wait_for("startupProbe", patience)
    }

    /// Until its readiness probe succeeds.
    pub(super) fn wait_ready(&mut self, patience: Duration) -> anyhow::Result<()> {
        self.wait_for("readinessProbe", patience)
    }

    /// Asks a probe once, which must succeed.
    pub(super) fn ask(&self, probe: &str) -> anyhow::Result<()> {
        let status = self.probe(probe)?;
        ensure!(status == Some(200), "{}: the {probe} says {status:?}", self.place());
        Ok(())
    }

    /// Until a text stands in its log, while it runs.
    pub(super) fn wait_logged(&mut self, wanted: &str, patience: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + patience;
        // The end is looked for first: whoever says it and ends has not waited.
        while self.child.try_wait()?.is_none() {
            if self.log().contains(wanted) {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "{} does not log {wanted:?} within {patience:?}",
                self.place()
            );
            interrupt::pause(POLL)?;
        }
        bail!("{} ended and did not log {wanted:?} before: {}", self.place(), self.last_words())
    }

    /// Until it has done its errand.
    pub(super) fn wait_success(&mut self, patience: Duration) -> anyhow::Result<()> {
        match self.wait_end(patience)? {
            Some(0) => Ok(()),
            Some(code) => bail!("{} ended with {code}: {}", self.place(), self.last_words()),
            None => bail!("{} is not done within {patience:?}", self.place()),
        }
    }

    /// SIGTERM, as a kubelet sends it.
    pub(super) fn terminate(&self) {
        if let Some(process) = ProcessId::of(self.child.id()) {
            process.signal(Signal::TERM);
        }
    }

    /// Its exit code; `None` when it runs longer, and -1 for one that a signal ended.
    pub(super) fn wait_end(&mut self, patience: Duration) -> anyhow::Result<Option<i32>> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(status.code().unwrap_or(-1)));
            }
            if Instant::now() > deadline {
                return Ok(None);
            }
            interrupt::pause(POLL)?;
        }
    }

    fn wait_for(&mut self, probe: &str, patience: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            let status = self.probe(probe)?;
            if status == Some(200) {
                return Ok(());
            }
            if let Some(ended) = self.child.try_wait()? {
                bail!("{} ended with {ended}: {}", self.place(), self.last_words());
            }
            ensure!(
                Instant::now() < deadline,
                "{}: the {probe} still says {status:?} after {patience:?}",
                self.place()
            );
            interrupt::pause(POLL)?;
        }
    }

    /// The status that a rendered probe gets; `None` when nobody answers.
    fn probe(&self, probe: &str) -> anyhow::Result<Option<u16>> {
        let get = self.rendered.get(probe).and_then(|probe| probe.get("httpGet"));
        let get = get.with_context(|| self.lacks(probe))?;
        let port = self.port(text(get, "/port")).with_context(|| format!("{probe} has no port"))?;
        Ok(Request::get(text(get, "/path")).send(port).ok().map(|answer| answer.status))
    }

    fn lacks(&self, probe: &str) -> String {
        format!("{} has no {probe}", self.name)
    }

    /// Its name, and where its log is.
    pub(super) fn place(&self) -> String {
        format!("{} (log in {})", self.name, self.folder.display())
    }

    fn last_words(&self) -> String {
        format!("\n{}", last_lines(&self.log(), LAST_LINES))
    }

    fn log(&self) -> String {
        let log = std::fs::read(self.folder.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // One that has ended already cannot be killed, and needs not.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// After how long a kubelet starts a container anew; what is not stated has Kubernetes' defaults.
fn start_patience(probe: &Value) -> Duration {
    let number = |key: &str, default| probe.get(key).and_then(Value::as_u64).unwrap_or(default);
    let delay = number("initialDelaySeconds", 0);
    Duration::from_secs(delay + number("periodSeconds", 10) * number("failureThreshold", 3))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_start_may_take_as_long_as_its_probe_says() {
        let rendered = json!({"periodSeconds": 2, "failureThreshold": 90});
        assert_eq!(start_patience(&rendered), Duration::from_secs(180));
        assert_eq!(start_patience(&json!({})), Duration::from_secs(30));
    }
}
