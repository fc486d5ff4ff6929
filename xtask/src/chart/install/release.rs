//! One release in a namespace of its own, as somebody has it who installs the chart.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail, ensure};
use serde_json::{Value, json};

use super::api::Api;
use crate::chart::helm::{Case, Helm, RELEASE};
use crate::chart::objects::{id, list, name, text};
use crate::chart::run::interrupt;
use crate::infra::last_lines;

/// How long Helm waits for what it has installed.
const PATIENCE: &str = "90s";

/// How long a Job may take besides.
const JOB_PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(200);

/// What Helm keeps of its releases.
const OF_HELM: &str = "helm.sh/release.v1";

/// How many lines of Helm's, and how many events, explain a failure.
const LAST_LINES: usize = 20;

/// Why the parts of a release do not come about, as events tell it.
const FAILURES: [&str; 3] = ["FailedCreate", "BackoffLimitExceeded", "DeadlineExceeded"];

/// The level that the documentation promises pods keep to (Pod Security Standards).
const POD_SECURITY: &str = "restricted";

/// A release.
pub(super) struct Release<'a> {
    pub(super) api: &'a Api,
    pub(super) namespace: String,
    helm: &'a Helm,
    access: &'a Path,
}

/// Values of Secrets by the Secret's name and the key, as they are stored.
pub(super) type Secrets = BTreeMap<(String, String), String>;

impl<'a> Release<'a> {
    /// The namespace is made, in which only restricted pods are let in.
    pub(super) fn new(
        api: &'a Api,
        helm: &'a Helm,
        access: &'a Path,
        namespace: String,
    ) -> anyhow::Result<Self> {
        let labels = json!({"pod-security.kubernetes.io/enforce": POD_SECURITY});
        let metadata = json!({"name": namespace, "labels": labels});
        let made = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata});
        api.create("/api/v1/namespaces", &made)?;
        Ok(Self { api, namespace, helm, access })
    }

    /// `helm install` or `helm upgrade` by the chart of a tree, until all pods are ready.
    pub(super) fn deploy(
        &self,
        helm: &Helm,
        verb: &str,
        case: &Case,
        more: &[&str],
    ) -> anyhow::Result<()> {
        let mut command = helm.deploy(verb, case, (self.access, &self.namespace));
        command.args(["--wait", "--timeout", PATIENCE]).args(more);
        self.run(&mut command).with_context(|| format!("helm {verb} of {case}"))?;
        self.require_ready()
    }

    /// `helm rollback` to a revision of the release, until all pods are ready.
    pub(super) fn roll_back(&self, revision: u32) -> anyhow::Result<()> {
        let revision = revision.to_string();
        self.run(self.command("rollback").args([&revision, "--wait", "--timeout", PATIENCE]))
            .context("helm rollback")?;
        self.require_ready()
    }

    /// `helm test`.
    pub(super) fn test(&self) -> anyhow::Result<()> {
        self.run(self.command("test").args(["--timeout", PATIENCE])).context("helm test")
    }

    /// `helm uninstall`.
    pub(super) fn uninstall(&self) -> anyhow::Result<()> {
        self.run(self.command("uninstall").args(["--wait", "--timeout", PATIENCE]))
            .context("helm uninstall")
    }

    /// The Secrets of the release, but not Helm's own.
    pub(super) fn secrets(&self) -> anyhow::Result<Secrets> {
        let secrets = self.api.list(&self.path("api/v1", "secrets"))?;
        let own = secrets.iter().filter(|secret| text(secret, "/type") != OF_HELM);
        let values = own.flat_map(|secret| {
            let data = secret["data"].as_object().into_iter().flatten();
            data.map(|(key, value)| {
                ((name(secret).to_owned(), key.clone()), value.as_str().unwrap_or_default().into())
            })
        });
        Ok(values.collect())
    }

    /// Fails if a Secret has another value than before, or has gone.
    pub(super) fn require_kept(&self, before: &Secrets, after_what: &str) -> anyhow::Result<()> {
        let after = self.secrets()?;
        let changed: Vec<_> = before
            .iter()
            .filter(|(key, value)| after.get(*key) != Some(value))
            .map(|((secret, key), _)| format!("{key} of {secret}"))
            .collect();
        ensure!(changed.is_empty(), "after {after_what} there is another {}", changed.join(", "));
        Ok(())
    }

    /// Takes the Jobs away that have succeeded, as Kubernetes does when their time is over.
    pub(super) fn expire_jobs(&self) -> anyhow::Result<()> {
        let path = self.path("apis/batch/v1", "jobs");
        for job in self.api.list(&path)? {
            self.api.delete(&format!("{path}/{}", name(&job)))?;
        }
        Ok(())
    }

    /// Path of the objects of a resource in the namespace.
    pub(super) fn path(&self, version: &str, resource: &str) -> String {
        format!("/{version}/namespaces/{}/{resource}", self.namespace)
    }

    /// Fails if not all pods are there that were asked for, or a Job did not succeed, or the server let
    /// something not in.
    fn require_ready(&self) -> anyhow::Result<()> {
        let deployments = self.api.list(&self.path("apis/apps/v1", "deployments"))?;
        for deployment in &deployments {
            let count = |at: &str| deployment.pointer(at).and_then(Value::as_u64).unwrap_or(0);
            let (wanted, ready) = (count("/spec/replicas"), count("/status/readyReplicas"));
            ensure!(wanted == ready, "{}: {ready} of {wanted} pods are ready", name(deployment));
        }
        ensure!(!deployments.is_empty(), "no Deployment is there");
        self.wait_migrated()?;
        let failures = self.failures()?;
        ensure!(failures.is_empty(), "{}", failures.join("\n"));
        Ok(())
    }

    /// Until every Job has succeeded, for which Helm waits only as far as pods do: where the tables are
    /// there already, they do not.
    fn wait_migrated(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + JOB_PATIENCE;
        loop {
            let jobs = self.api.list(&self.path("apis/batch/v1", "jobs"))?;
            let is_done = |job: &&Value| job.pointer("/status/succeeded") == Some(&json!(1));
            let Some(job) = jobs.iter().find(|job| !is_done(job)) else { return Ok(()) };
            ensure!(Instant::now() < deadline, "{} did not succeed: {}", name(job), job["status"]);
            interrupt::pause(POLL)?;
        }
    }

    /// What events say about parts that did not come about.
    fn failures(&self) -> anyhow::Result<Vec<String>> {
        let events = self.api.list(&self.path("api/v1", "events"))?;
        let failures = events.iter().filter(|event| FAILURES.contains(&text(event, "/reason")));
        // The same is tried, and told, again and again.
        let told: BTreeSet<_> = failures
            .map(|event| {
                let (kind, name) = ("/involvedObject/kind", "/involvedObject/name");
                format!("{}/{}: {}", text(event, kind), text(event, name), text(event, "/message"))
            })
            .collect();
        Ok(told.into_iter().collect())
    }

    /// Pods that are not ready, and what keeps them.
    fn unready(&self) -> anyhow::Result<Vec<String>> {
        let pods = self.api.list(&self.path("api/v1", "pods"))?;
        let waiting = pods.iter().filter(|pod| text(pod, "/status/phase") == "Pending");
        Ok(waiting
            .map(|pod| {
                let init = list(pod, "/status/initContainerStatuses").iter();
                let runs = init.filter(|it| it.pointer("/state/running").is_some());
                let runs: Vec<_> = runs.map(|it| text(it, "/name")).collect();
                format!("{} waits: {}", id(&pod_of(pod)), runs.join(", "))
            })
            .collect())
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = self.helm.on_cluster(self.access, &self.namespace);
        command.args([verb, RELEASE]);
        command
    }

    /// A command of Helm's, which must succeed and must not be warned by the server: of fields that it
    /// does not know, of versions that end, of pods that it will not let in.
    fn run(&self, command: &mut Command) -> anyhow::Result<()> {
        let output = command.stdin(Stdio::null()).output().context("helm cannot be run")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            let mut told = vec![last_lines(&errors, LAST_LINES)];
            told.extend(self.failures().unwrap_or_default());
            told.extend(self.unready().unwrap_or_default());
            return Err(anyhow!("{} ({})", told.join("\n"), output.status));
        }
        if is_warned(&errors) {
            bail!("it succeeded with warnings:\n{}", last_lines(&errors, LAST_LINES));
        }
        Ok(())
    }
}

/// Lists name no kind for each of their objects.
fn pod_of(pod: &Value) -> Value {
    json!({"kind": "Pod", "metadata": pod["metadata"]})
}

/// Warnings of the server come in klog's form, `W1122 20:18:01.123456 …`, or with the word.
fn is_warned(errors: &str) -> bool {
    let is_klog = |line: &str| {
        line.strip_prefix('W').is_some_and(|rest| rest.starts_with(|it: char| it.is_ascii_digit()))
    };
    errors.lines().any(|line| is_klog(line) || line.to_lowercase().contains("warning"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_of_the_server_are_seen() {
        assert!(is_warned("W1122 20:18:01.123456   4711 warnings.go:70] unknown field \"spec.a\""));
        assert!(is_warned("WARNING: Kubernetes configuration file is group-readable"));
        assert!(!is_warned("Waiting for it\nI1122 20:18:01.123456   4711 client.go:1] ok\n"));
    }
}
