//! The processes that are measured: this gateway and its peers, each on a core of its own.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use super::backend::framed;
use super::cases::Case;
use super::identity::Identity;
use super::load::{Shot, once};
use crate::usage;

/// How long a process may take until it answers.
const PATIENCE: Duration = Duration::from_secs(20);
const INTERVAL: Duration = Duration::from_millis(50);

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// This gateway with a token and limits on every call.
    MainstayOn,
    /// The same without.
    MainstayOff,
    /// As `MainstayOn`, with a log line for each call as far as they are written, and one of a hundred traces sent to
    /// a collector.
    MainstayTold,
    /// As `MainstayTold`, with a collector that is away.
    MainstayUnheard,
    /// As `MainstayOn`, on both cores.
    MainstayTwo,
    /// structured-proxy with a token and limits.
    StructuredOn,
    /// The same without.
    StructuredOff,
    /// grpc-gateway v2, generated for the contract; it has no policies.
    GrpcGateway,
    /// nginx passing on calls that are encoded already: the floor.
    Nginx,
    /// The same with two workers on both cores, beside which ours with two is judged.
    NginxTwo,
}

impl Kind {
    pub(super) const ALL: [Self; 10] = [
        Self::MainstayOn,
        Self::MainstayOff,
        Self::MainstayTold,
        Self::MainstayUnheard,
        Self::MainstayTwo,
        Self::StructuredOn,
        Self::StructuredOff,
        Self::GrpcGateway,
        Self::Nginx,
        Self::NginxTwo,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::MainstayOn => "mainstay",
            Self::MainstayOff => "mainstay, policies off",
            Self::MainstayTold => "mainstay, log and traces",
            Self::MainstayUnheard => "mainstay, collector away",
            Self::MainstayTwo => "mainstay, two workers",
            Self::StructuredOn => "structured-proxy",
            Self::StructuredOff => "structured-proxy, policies off",
            Self::GrpcGateway => "grpc-gateway v2",
            Self::Nginx => "nginx grpc_pass",
            Self::NginxTwo => "nginx, two workers",
        }
    }

    /// Whether it is no peer but this gateway.
    pub(super) fn is_own(self) -> bool {
        self.name().starts_with("mainstay")
    }

    fn is_nginx(self) -> bool {
        matches!(self, Self::Nginx | Self::NginxTwo)
    }

    fn workers(self) -> u32 {
        if matches!(self, Self::MainstayTwo | Self::NginxTwo) { 2 } else { 1 }
    }

    fn has_policies(self) -> bool {
        !matches!(self, Self::MainstayOff | Self::StructuredOff | Self::GrpcGateway)
            && !self.is_nginx()
    }
}

/// Where the binaries are, and what they are told.
pub(super) struct Site<'a> {
    pub(super) backend: SocketAddr,
    pub(super) gateway: &'a Path,
    /// Folder of the peers' binaries.
    pub(super) peers: &'a Path,
    /// Folder for what is written for them.
    pub(super) folder: &'a Path,
    pub(super) descriptors: &'a Path,
    pub(super) identity: &'a Identity,
}

/// A process that runs; it ends when it is dropped.
pub(super) struct Contender {
    pub(super) kind: Kind,
    pub(super) address: SocketAddr,
    token: Option<String>,
    child: Child,
}

impl Contender {
    /// Starts a process and waits until it answers a call as it must.
    pub(super) async fn start(kind: Kind, site: &Site<'_>) -> anyhow::Result<Self> {
        let address = free_address()?;
        let mut command = pinned(kind);
        site.arguments(kind, address, &mut command)?;
        let log = site.folder.join(format!("{}.log", kind.name().replace([' ', ','], "-")));
        let log = std::fs::File::create(log)?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child =
            command.spawn().with_context(|| format!("{} cannot be started", kind.name()))?;
        let token = kind.has_policies().then(|| site.identity.token.clone());
        let mut contender = Self { kind, address, token, child };
        contender.answers().await?;
        Ok(contender)
    }

    /// The request of a case as this process takes it.
    pub(super) fn shot(&self, case: Case) -> Shot {
        if self.kind.is_nginx() {
            return direct(case);
        }
        let (method, target, body) = case.rest();
        let authorization = self.token.as_ref().map(|token| format!("Bearer {token}"));
        let mut headers = vec![("accept", "application/x-ndjson")];
        if case != Case::Stream {
            headers = vec![("accept", "application/json")];
        }
        if !body.is_empty() {
            headers.push(("content-type", "application/json"));
        }
        if let Some(authorization) = &authorization {
            headers.push(("authorization", authorization));
        }
        Shot::new(method, &target, &headers, &body)
    }

    /// Makes one call and looks at what comes of it.
    pub(super) async fn verify(&self, case: Case) -> anyhow::Result<()> {
        let (status, body) = once(self.address, &self.shot(case)).await?;
        ensure!(
            status == 200,
            "{} answered {}: {status} {}",
            self.kind.name(),
            case.name(),
            String::from_utf8_lossy(body.get(..400.min(body.len())).unwrap_or_default())
        );
        let right = match self.kind {
            Kind::Nginx | Kind::NginxTwo => {
                body == case.replies().iter().flat_map(|reply| framed(reply)).collect::<Vec<u8>>()
            }
            _ => case.is_reply(&body),
        };
        ensure!(right, "{} answered {} with something else", self.kind.name(), case.name());
        Ok(())
    }

    /// CPU time of the process and of those that it started, in seconds.
    pub(super) fn cpu_seconds(&self) -> anyhow::Result<f64> {
        usage::cpu_seconds_of(self.child.id())
    }

    async fn answers(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended at once ({status}); see its log", self.kind.name());
            }
            match self.verify(Case::Get).await {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() > deadline => {
                    return Err(error.context(format!("{} does not answer", self.kind.name())));
                }
                Err(_) => tokio::time::sleep(INTERVAL).await,
            }
        }
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        // nginx ends its worker by itself when it is asked to, not when it is killed.
        let asked = Command::new("kill").arg(self.child.id().to_string()).status();
        if asked.is_err() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// The call that is encoded already.
pub(super) fn direct(case: Case) -> Shot {
    let headers = [("content-type", "application/grpc"), ("te", "trailers")];
    Shot::new("POST", case.grpc_path(), &headers, &framed(&case.request()))
}

/// The measured process is alone on the first core; the load and the backend are on the others.
fn pinned(kind: Kind) -> Command {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", if kind.workers() == 2 { "0,1" } else { "0" }]);
    command
}

fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

impl Site<'_> {
    /// The binary of a peer, or why it is missing and what to do about it.
    pub(super) fn binary(&self, kind: Kind) -> anyhow::Result<PathBuf> {
        let (name, mend) = match kind {
            Kind::MainstayOn
            | Kind::MainstayOff
            | Kind::MainstayTold
            | Kind::MainstayUnheard
            | Kind::MainstayTwo => return Ok(self.gateway.to_owned()),
            Kind::StructuredOn | Kind::StructuredOff => {
                ("structured-proxy", "cargo xtask bench edge --install-peers")
            }
            Kind::GrpcGateway => ("grpc-gateway", "cargo xtask bench edge --install-peers"),
            Kind::Nginx | Kind::NginxTwo => ("nginx", "apt-get install nginx-light"),
        };
        let folders = [self.peers.join("bin"), "/usr/sbin".into(), "/usr/bin".into()];
        let found = folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
        found.with_context(|| format!("{name} is not installed; mend: {mend}"))
    }

    fn arguments(
        &self,
        kind: Kind,
        listen: SocketAddr,
        command: &mut Command,
    ) -> anyhow::Result<()> {
        command.arg(self.binary(kind)?);
        match kind {
            Kind::MainstayOn
            | Kind::MainstayOff
            | Kind::MainstayTold
            | Kind::MainstayUnheard
            | Kind::MainstayTwo => {
                command.args(["--upstream", &self.backend.to_string()]);
                command.args(["--listen", &listen.to_string(), "--descriptors"]);
                command.arg(self.descriptors);
                match self.collector(kind)? {
                    Some(url) => command.args(["--otlp-endpoint", &url, "--trace-ratio", "0.01"]),
                    None => command.args(["--log", "warn"]),
                };
                if kind.has_policies() {
                    command.args(["--jwks", &self.identity.jwks_url, "--rate-limit", "1000000/s"]);
                    command.args(["--issuer", &self.identity.issuer]);
                    command.args(["--audience", &self.identity.audience]);
                }
            }
            Kind::StructuredOn | Kind::StructuredOff => {
                let file = self.folder.join(format!("structured-proxy-{}.yaml", listen.port()));
                std::fs::write(&file, self.structured(kind, listen))?;
                command.arg("--config").arg(file).env("RUST_LOG", "warn");
            }
            Kind::GrpcGateway => {
                command.args(["-upstream", &self.backend.to_string()]);
                command.args(["-listen", &listen.to_string()]).env("GOMAXPROCS", "1");
            }
            Kind::Nginx | Kind::NginxTwo => {
                let workers = kind.workers();
                let file = self.folder.join(format!("nginx-{workers}.conf"));
                std::fs::write(&file, self.nginx(listen, workers))?;
                command.arg("-c").arg(file).arg("-p").arg(self.folder);
            }
        }
        Ok(())
    }

    /// Where a gateway sends its traces.
    fn collector(&self, kind: Kind) -> anyhow::Result<Option<String>> {
        Ok(match kind {
            Kind::MainstayTold => Some(format!("http://{}", self.backend)),
            Kind::MainstayUnheard => Some(format!("http://{}", free_address()?)),
            _ => None,
        })
    }

    fn structured(&self, kind: Kind, listen: SocketAddr) -> String {
        let mut yaml = format!(
            "listen:\n  http: \"{listen}\"\nupstream:\n  default: \"http://{}\"\n\
             descriptors:\n  - file: \"{}\"\nservice:\n  name: \"bench\"\n\
             runtime:\n  worker_threads: 1\n",
            self.backend,
            self.descriptors.display()
        );
        if kind.has_policies() {
            yaml.push_str(&format!(
                "shield:\n  enabled: true\n  profiles:\n    \
                 all: {{ rate: \"60000000/min\", burst: 1000000 }}\n  default_profile: \"all\"\n  \
                 rules:\n    - pattern: \"/v1/**\"\n      key: {{ type: ip }}\n      profile: \"all\"\n    \
                 - pattern: \"/v1/**\"\n      key: {{ type: jwt_claim, claim: \"sub\" }}\n      \
                 profile: \"all\"\n\
                 auth:\n  mode: \"jwt\"\n  jwt:\n    public_key_pem_file: \"{}\"\n    \
                 issuer: \"{}\"\n    audience: \"{}\"\n",
                self.identity.public_key.display(),
                self.identity.issuer,
                self.identity.audience
            ));
        }
        yaml
    }

    fn nginx(&self, listen: SocketAddr, workers: u32) -> String {
        format!(
            "daemon off;\nworker_processes {workers};\npid nginx-{workers}.pid;\nerror_log stderr warn;\n\
             events {{ worker_connections 1024; }}\n\
             http {{\n  access_log off;\n  keepalive_requests 100000000;\n  \
             client_body_buffer_size 1m;\n  client_body_temp_path body;\n  \
             proxy_temp_path proxy;\n  fastcgi_temp_path fastcgi;\n  uwsgi_temp_path uwsgi;\n  \
             scgi_temp_path scgi;\n  \
             upstream backend {{ server {}; keepalive 64; keepalive_requests 100000000; }}\n  \
             server {{\n    listen {listen};\n    location / {{ grpc_pass grpc://backend; \
             grpc_buffer_size 64k; }}\n  }}\n}}\n",
            self.backend
        )
    }
}
