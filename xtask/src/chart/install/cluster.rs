//! A control plane on loopback: etcd, the API server and the controllers, each the real one.
//!
//! Its data begin empty and its processes end with this one, however that ends.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::Signal;
use serde_json::json;

use super::api::Api;
use crate::certificates::Certificates;
use crate::chart::run::interrupt;
use crate::credentials::{PASSWORD_LENGTH, password_of};
use crate::files::{self, Access};
use crate::http::Request;
use crate::infra::{Missing, find_program, last_lines};
use crate::process::ProcessId;

/// Whom certificates are for: the API server, and who signs the tokens of ServiceAccounts.
const SERVER: &str = "kube-apiserver";
const SIGNER: &str = "service-accounts";

/// Services get their addresses from here; nobody connects to them.
const SERVICE_RANGE: &str = "10.96.0.0/16";

/// How long one of them may take until it serves, on a machine that builds beside it.
const START_PATIENCE: Duration = Duration::from_secs(120);

/// How long one of them may take to end in order.
const END_PATIENCE: Duration = Duration::from_secs(10);

const POLL: Duration = Duration::from_millis(100);

/// How many last lines of a log explain why a program ended.
const LAST_LINES: usize = 10;

/// The control plane; ended when it is dropped.
pub(super) struct Cluster {
    /// As its administrator.
    pub(super) api: Api,
    /// What programs of others find it by.
    pub(super) kubeconfig: PathBuf,
    folder: PathBuf,
    members: Vec<Member>,
}

struct Member {
    name: &'static str,
    log: PathBuf,
    child: Child,
}

impl Cluster {
    /// Starts it, and waits until each part serves.
    pub(super) fn start(folder: &Path, programs: &Path) -> anyhow::Result<Self> {
        files::remove(folder)?;
        std::fs::create_dir_all(folder)?;
        let certificates = Certificates::at(folder.join("certificates"));
        certificates.ensure([SERVER, SIGNER])?;
        let token = password_of(PASSWORD_LENGTH);
        let [clients, peers, server] = free_addresses()?;
        let kubeconfig = folder.join("kubeconfig");
        write_access(folder, &kubeconfig, server, &certificates, &token)?;
        let api = Api::new(server, &certificates.authority(), &token)?;
        let folder = folder.to_owned();
        let mut cluster = Self { api, kubeconfig, folder, members: Vec::new() };
        let etcd = find_program("etcd")
            .with_context(|| Missing::package("etcd", "etcd-server").to_string())?;
        cluster.add("etcd", &etcd, &cluster.etcd_arguments(clients, peers))?;
        cluster.wait(|_| {
            let health = Request::get("/health").send(clients);
            health.is_ok_and(|answer| answer.status == 200)
        })?;
        let arguments = cluster.server_arguments(server, clients, &certificates);
        cluster.add(SERVER, &programs.join(SERVER), &arguments)?;
        cluster.wait(|api| api.status("/readyz").is_ok_and(|status| status == 200))?;
        let controllers = "kube-controller-manager";
        let arguments = cluster.controller_arguments(&certificates);
        cluster.add(controllers, &programs.join(controllers), &arguments)?;
        // The first thing that controllers do which shows.
        let account = "/api/v1/namespaces/default/serviceaccounts/default";
        cluster.wait(|api| api.status(account).is_ok_and(|status| status == 200))?;
        Ok(cluster)
    }

    /// Fails if one of them has ended.
    pub(super) fn require_alive(&mut self) -> anyhow::Result<()> {
        for member in &mut self.members {
            if let Some(status) = member.child.try_wait()? {
                bail!("{} ended with {status}:\n{}", member.name, member.last_words());
            }
        }
        Ok(())
    }

    fn etcd_arguments(&self, clients: SocketAddr, peers: SocketAddr) -> Vec<String> {
        let (clients, peers) = (format!("http://{clients}"), format!("http://{peers}"));
        vec![
            "--name=only".to_owned(),
            format!("--data-dir={}", self.folder.join("etcd").display()),
            format!("--listen-client-urls={clients}"),
            format!("--advertise-client-urls={clients}"),
            format!("--listen-peer-urls={peers}"),
            format!("--initial-advertise-peer-urls={peers}"),
            format!("--initial-cluster=only={peers}"),
        ]
    }

    fn server_arguments(
        &self,
        server: SocketAddr,
        etcd: SocketAddr,
        certificates: &Certificates,
    ) -> Vec<String> {
        let path = |path: PathBuf| path.display().to_string();
        vec![
            format!("--etcd-servers=http://{etcd}"),
            format!("--bind-address={}", server.ip()),
            // Else it looks for a network interface, which a machine need not have.
            format!("--advertise-address={}", server.ip()),
            "--endpoint-reconciler-type=none".to_owned(),
            format!("--secure-port={}", server.port()),
            format!("--tls-cert-file={}", path(certificates.certificate(SERVER))),
            format!("--tls-private-key-file={}", path(certificates.key(SERVER))),
            format!("--token-auth-file={}", path(self.folder.join("tokens.csv"))),
            "--authorization-mode=RBAC".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-signing-key-file={}", path(certificates.key(SIGNER))),
            format!("--service-account-key-file={}", path(certificates.certificate(SIGNER))),
            format!("--service-cluster-ip-range={SERVICE_RANGE}"),
        ]
    }

    fn controller_arguments(&self, certificates: &Certificates) -> Vec<String> {
        let path = |path: PathBuf| path.display().to_string();
        vec![
            format!("--kubeconfig={}", self.kubeconfig.display()),
            format!("--service-account-private-key-file={}", path(certificates.key(SIGNER))),
            format!("--root-ca-file={}", path(certificates.authority())),
            "--leader-elect=false".to_owned(),
            "--secure-port=0".to_owned(),
            // No kubelet renews the lease of a node here.
            "--controllers=*,-node-lifecycle-controller".to_owned(),
            // Nobody else has to be left room.
            "--kube-api-qps=500".to_owned(),
            "--kube-api-burst=1000".to_owned(),
        ]
    }

    fn add(&mut self, name: &'static str, program: &Path, args: &[String]) -> anyhow::Result<()> {
        let log = self.folder.join(format!("{name}.log"));
        let output = File::create(&log)?;
        // By this program itself, so that it dies with us however we end.
        let mut command = Command::new("/proc/self/exe");
        command.args(["launch", "--supervisor", &std::process::id().to_string()]);
        command.arg("--").arg(program).args(args).current_dir(&self.folder);
        if cfg!(target_arch = "aarch64") {
            // Versions of etcd before 3.5 want to be told that this is meant.
            command.env("ETCD_UNSUPPORTED_ARCH", "arm64");
        }
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().with_context(|| format!("{name} cannot be started"))?;
        self.members.push(Member { name, log, child });
        Ok(())
    }

    /// Until the last that was started serves.
    fn wait(&mut self, is_serving: impl Fn(&Api) -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_PATIENCE;
        while !is_serving(&self.api) {
            self.require_alive()?;
            if let Some(member) = self.members.last().filter(|_| Instant::now() > deadline) {
                bail!(
                    "{} does not serve after {START_PATIENCE:?}:\n{}",
                    member.name,
                    member.last_words()
                );
            }
            interrupt::pause(POLL)?;
        }
        Ok(())
    }
}

impl Member {
    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        format!("{}\n(all of it in {})", last_lines(&log, LAST_LINES), self.log.display())
    }
}

impl Drop for Cluster {
    /// Those that use others first.
    fn drop(&mut self) {
        for member in self.members.iter_mut().rev() {
            let process = ProcessId::of(member.child.id());
            let ends = process.is_some_and(|it| it.signal(Signal::TERM));
            if !ends || !process.is_some_and(|it| it.wait_gone(END_PATIENCE)) {
                // One that is gone already cannot be killed, and need not be.
                let _ = member.child.kill();
            }
            let _ = member.child.wait();
        }
    }
}

/// The token by which we come in as administrator, and a file for programs of others.
fn write_access(
    folder: &Path,
    kubeconfig: &Path,
    server: SocketAddr,
    certificates: &Certificates,
    token: &str,
) -> anyhow::Result<()> {
    let tokens = format!("{token},administrator,administrator,system:masters\n");
    files::write(&folder.join("tokens.csv"), tokens.as_bytes(), Access::Owner)?;
    // YAML is a superset of JSON.
    let access = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "here", "cluster": {
            "server": format!("https://{server}"),
            "certificate-authority": certificates.authority(),
        }}],
        "users": [{"name": "administrator", "user": {"token": token}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "administrator"}}],
    });
    files::write(kubeconfig, &serde_json::to_vec_pretty(&access)?, Access::Owner)
}

/// Addresses of loopback that nobody has, each another one.
pub(super) fn free_addresses<const N: usize>() -> anyhow::Result<[SocketAddr; N]> {
    let mut listeners = Vec::new();
    for _ in 0..N {
        listeners.push(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?);
    }
    let addresses = listeners.iter().map(TcpListener::local_addr);
    let addresses = addresses.collect::<std::io::Result<Vec<_>>>()?;
    addresses.try_into().ok().context("too few addresses")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_on_loopback_and_differ() {
        let [first, second] = free_addresses().unwrap();
        assert!(first.ip().is_loopback() && second.ip().is_loopback());
        assert_ne!(first, second);
    }
}
