//! Discovery by Kubernetes: the real gateway follows EndpointSlices that controllers make.
//!
//! It runs outside of the cluster with the token of its own ServiceAccount, which somebody in between
//! adds to its questions as `kubectl proxy` does. Its own metric says whom it has found.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::proxy;
use super::release::Release;
use crate::certificates::Certificates;
use crate::chart::objects::{kind, name, of_kind, text};
use crate::chart::run::interrupt;
use crate::credentials::{PASSWORD_LENGTH, password_of};
use crate::files::{self, Access};
use crate::http::Request;
use crate::infra::last_lines;
use crate::mesh::{Service, gateway};
use crate::process::ProcessId;

/// Instances of the services that are called, by service and state (docs/observability.md).
const METRIC: &str = "mainstay_endpoints{";

/// How long news may take from the controllers to the gateway.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(200);
const LAST_LINES: usize = 10;

/// Whether processes are found by Kubernetes.
pub(super) fn is_used(rendered: &[Value]) -> bool {
    rendered.iter().any(|object| kind(object) == "RoleBinding")
}

/// Fails if the gateway does not find the pods of every service, one more of each that is scaled up,
/// and one fewer when it is scaled down again.
pub(super) fn require(
    release: &Release<'_>,
    rendered: &[Value],
    folder: &Path,
    binaries: &Path,
) -> anyhow::Result<()> {
    let edge = gateway();
    // The gateway itself has no port for gRPC, and is called by nobody.
    let called: Vec<_> = of_kind(rendered, "Deployment")
        .filter(|deployment| text(deployment, SERVICE) != edge.name)
        .collect();
    let account = rendered
        .iter()
        .find(|object| kind(object) == "ServiceAccount" && text(object, SERVICE) == edge.name);
    let account = name(account.context("the gateway has no ServiceAccount")?);
    let runtime = Runtime::new()?;
    let token = release.api.token(&release.namespace, account)?;
    let address = runtime.block_on(proxy::start(&release.api.by(&token)))?;
    let mut running = Running::start(edge, &release.namespace, address, folder, binaries)?;
    for more in [0, 1, 0] {
        for deployment in &called {
            scale(release, deployment, more)?;
        }
        for deployment in &called {
            running.wait(text(deployment, SERVICE), replicas(deployment) + more)?;
        }
    }
    running.end()?;
    println!(
        "chart: the gateway finds the pods of {} services, and follows as they come and go",
        called.len()
    );
    Ok(())
}

/// Of which service an object is.
const SERVICE: &str = "/metadata/labels/app.kubernetes.io~1component";

fn replicas(deployment: &Value) -> u64 {
    deployment.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(1)
}

fn scale(release: &Release<'_>, deployment: &Value, more: u64) -> anyhow::Result<()> {
    let path =
        format!("{}/{}/scale", release.path("apis/apps/v1", "deployments"), name(deployment));
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut scale = release.api.get(&path)?;
        scale["spec"] = json!({"replicas": replicas(deployment) + more});
        // Controllers write there as well.
        if release.api.replace(&path, &scale)? {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{path} cannot be changed");
        interrupt::pause(POLL)?;
    }
}

/// The gateway; killed when it is dropped.
struct Running {
    child: Child,
    admin: SocketAddr,
    log: PathBuf,
}

impl Running {
    fn start(
        edge: &Service,
        namespace: &str,
        cluster: SocketAddr,
        folder: &Path,
        binaries: &Path,
    ) -> anyhow::Result<Self> {
        let folder = folder.join("gateway");
        files::remove(&folder)?;
        std::fs::create_dir_all(&folder)?;
        let certificates = Certificates::at(folder.join("tls"));
        certificates.ensure([edge.name])?;
        let cursor_key = folder.join("cursor-key");
        files::write(&cursor_key, password_of(PASSWORD_LENGTH * 2).as_bytes(), Access::Owner)?;
        let [listen, admin] = super::cluster::free_addresses()?;
        let log = folder.join("log");
        let output = File::create(&log)?;
        let mut command = Command::new("/proc/self/exe");
        command.args(["launch", "--supervisor", &std::process::id().to_string(), "--"]);
        command.arg(binaries.join(edge.binary)).current_dir(&folder);
        // Settings of the caller are for another gateway.
        let settings = std::env::vars_os().map(|(name, _)| name);
        let settings = settings.filter(|name| name.to_string_lossy().starts_with("MAINSTAY_"));
        for name in settings {
            command.env_remove(name);
        }
        command
            .env("MAINSTAY_LISTEN", listen.to_string())
            .env("MAINSTAY_ADMIN_LISTEN", admin.to_string())
            .env("MAINSTAY_DATA_DIR", folder.join("data"))
            .env("MAINSTAY_EVENTS__PATH", folder.join("broker.db"))
            .env("MAINSTAY_TLS__CA_FILE", certificates.authority())
            .env("MAINSTAY_TLS__CERT_FILE", certificates.certificate(edge.name))
            .env("MAINSTAY_TLS__KEY_FILE", certificates.key(edge.name))
            .env("MAINSTAY_GATEWAY__CURSOR_KEY_FILE", cursor_key)
            .env("MAINSTAY_REGISTRY__KIND", "kubernetes")
            .env("MAINSTAY_REGISTRY__KUBERNETES__URL", format!("http://{cluster}"))
            .env("MAINSTAY_REGISTRY__KUBERNETES__NAMESPACE", namespace);
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().context("the gateway cannot be started")?;
        Ok(Self { child, admin, log })
    }

    /// Until it knows so many instances of a service.
    fn wait(&mut self, service: &str, wanted: u64) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let metrics = Request::get("/metrics").send(self.admin);
            let found = metrics.map(|answer| instances(&answer.body, service)).unwrap_or_default();
            if found == wanted {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the gateway ended with {status}:\n{}", self.last_words());
            }
            ensure!(
                Instant::now() < deadline,
                "the gateway finds {found} instances of {service}, not {wanted}:\n{}",
                self.last_words()
            );
            interrupt::pause(POLL)?;
        }
    }

    fn end(&mut self) -> anyhow::Result<()> {
        let process = ProcessId::of(self.child.id()).context("the gateway has gone")?;
        process.signal(Signal::TERM);
        let is_gone = process.wait_gone(PATIENCE);
        ensure!(is_gone, "the gateway goes on after SIGTERM:\n{}", self.last_words());
        Ok(())
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        format!("{}\n(all of it in {})", last_lines(&log, LAST_LINES), self.log.display())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that is gone already cannot be killed, and need not be.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How many instances of a service metrics state, in whatever state; these addresses nobody reaches.
fn instances(metrics: &str, service: &str) -> u64 {
    let label = format!("service=\"{service}\"");
    let lines = metrics.lines().filter(|line| line.starts_with(METRIC) && line.contains(&label));
    let counts = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    counts.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_of_all_states_count() {
        let metrics = "mainstay_endpoints{service=\"auth-svc\",state=\"ready\"} 2\n\
            mainstay_endpoints{service=\"auth-svc\",state=\"ejected\"} 1\n\
            mainstay_endpoints{service=\"audit-svc\",state=\"ready\"} 7\n\
            mainstay_calls{service=\"auth-svc\"} 9\n";
        assert_eq!(instances(metrics, "auth-svc"), 3);
        assert_eq!(instances(metrics, "billing-svc"), 0);
    }
}
