//! One container as a process.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rustix::process::Signal;
use serde_json::Value;

use super::sandbox::{Sandbox, container_port};
use crate::chart::objects::{Pod, id, image_name, list, text};
use crate::http::Request;
use crate::infra::output;
use crate::process::ProcessId;

/// What reads the file that the variable names is told where the pod's would be.
const SETTINGS: &str = "MAINSTAY_SETTINGS";

/// A rendered container, and what it needs to run here.
pub(super) struct Container<'a> {
    pub(super) name: String,
    rendered: &'a Value,
    binary: PathBuf,
    environment: Vec<(String, String)>,
    arguments: Vec<String>,
    folder: PathBuf,
    ports: Vec<(String, SocketAddr)>,
}

/// A container that runs; killed when it is dropped.
pub(super) struct Running<'a> {
    pub(super) name: String,
    rendered: &'a Value,
    child: Child,
    folder: PathBuf,
    ports: Vec<(String, SocketAddr)>,
}

impl<'a> Container<'a> {
    /// Lays its files.
    pub(super) fn new(
        sandbox: &Sandbox<'_>,
        pod: &Pod<'_>,
        rendered: &'a Value,
        binary: PathBuf,
    ) -> anyhow::Result<Self> {
        let name = text(rendered, "/name").to_owned();
        let service = image_name(rendered);
        let folder = sandbox.own(&id(pod.owner), &name);
        let mut mounts = Vec::new();
        for mount in list(rendered, "/volumeMounts") {
            let volumes = list(pod.spec, "/volumes").iter();
            let mut named = volumes.filter(|it| text(it, "/name") == text(mount, "/name"));
            let volume = named.next().context("a mount of no volume")?;
            let place = sandbox.fill(volume, &folder, service)?;
            mounts.push((text(mount, "/mountPath").to_owned(), place.display().to_string()));
        }
        // The longest first, so that none is taken for the beginning of another.
        mounts.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        let here = |text: &str| {
            mounts.iter().fold(text.to_owned(), |text, (path, place)| text.replace(path, place))
        };
        let mut environment = environment(sandbox, rendered, service)?;
        environment.iter_mut().for_each(|(_, value)| *value = here(value));
        let file = environment.iter().find(|(name, _)| name == SETTINGS);
        let (_, file) = file.with_context(|| format!("{SETTINGS} is not set"))?;
        settle(sandbox, file, here)?;
        let local = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, sandbox.port(port)));
        let named = |port| Some((text(port, "/name").to_owned(), local(container_port(port)?)));
        let arguments = list(rendered, "/args").iter().filter_map(Value::as_str);
        Ok(Self {
            name,
            rendered,
            binary,
            environment,
            arguments: arguments.map(str::to_owned).collect(),
            folder,
            ports: list(rendered, "/ports").iter().filter_map(named).collect(),
        })
    }

    /// Has the binary check all that it was given.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        output(self.command().arg("--check").args(&self.arguments)).map(drop)
    }

    /// Starts it; its log goes to a file.
    pub(super) fn start(self) -> anyhow::Result<Running<'a>> {
        let log = File::create(self.folder.join("log"))?;
        let mut command = self.command();
        command.args(&self.arguments).stdout(log.try_clone()?).stderr(log);
        let child = command
            .spawn()
            .with_context(|| format!("{} cannot be started", self.binary.display()))?;
        let Self { name, rendered, folder, ports, .. } = self;
        Ok(Running { name, rendered, child, folder, ports })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.env_clear().envs(self.environment.iter().cloned()).current_dir(&self.folder);
        command
    }
}

/// The variables, with what they refer to in each other's place.
fn environment(
    sandbox: &Sandbox<'_>,
    rendered: &Value,
    service: &str,
) -> anyhow::Result<Vec<(String, String)>> {
    let mut variables: Vec<(String, String)> = Vec::new();
    for variable in list(rendered, "/env") {
        let name = text(variable, "/name");
        let value = match variable.get("valueFrom") {
            None => {
                let stated = text(variable, "/value").to_owned();
                variables
                    .iter()
                    .fold(stated, |text, (name, value)| text.replace(&format!("$({name})"), value))
            }
            Some(from) if text(from, "/fieldRef/fieldPath") == "status.podIP" => {
                Ipv4Addr::LOCALHOST.to_string()
            }
            Some(from) if from.get("secretKeyRef").is_some() => {
                let (secret, key) =
                    (text(from, "/secretKeyRef/name"), text(from, "/secretKeyRef/key"));
                String::from_utf8(sandbox.secret(secret, key, name, service)?)?
            }
            Some(other) => bail!("{name} comes from {other}, which is not known here"),
        };
        variables.push((name.to_owned(), value));
    }
    Ok(variables)
}

/// Rewrites the settings file: paths are those of this machine, and addresses are loopback's.
fn settle(sandbox: &Sandbox<'_>, file: &str, here: impl Fn(&str) -> String) -> anyhow::Result<()> {
    let rendered = std::fs::read_to_string(file).with_context(|| format!("{file} is not there"))?;
    let mut settings: toml::Table = toml::from_str(&here(&rendered))?;
    for key in ["listen", "admin_listen"] {
        let stated = settings.get(key).and_then(toml::Value::as_str).unwrap_or_default();
        let stated: SocketAddr = stated.parse().with_context(|| format!("{key} is {stated}"))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, sandbox.port(stated.port())));
        settings.insert(key.to_owned(), address.to_string().into());
    }
    Ok(std::fs::write(file, toml::to_string(&settings)?)?)
}

impl Running<'_> {
    /// The address of a port by name.
    pub(super) fn port(&self, name: &str) -> Option<SocketAddr> {
        self.ports.iter().find(|(own, _)| own == name).map(|(_, address)| *address)
    }

    /// Until its startup probe succeeds.
    pub(super) fn wait_started(&mut self, patience: Duration) -> anyhow::Result<()> {
        self.wait_for("startupProbe", patience)
    }

    /// Until its readiness probe succeeds.
    pub(super) fn wait_ready(&mut self, patience: Duration) -> anyhow::Result<()> {
        self.wait_for("readinessProbe", patience)
    }

    /// Asks its liveness probe once.
    pub(super) fn ask_alive(&self) -> anyhow::Result<()> {
        let status = self.probe("livenessProbe")?;
        ensure!(status == Some(200), "{}: the liveness probe says {status:?}", self.name);
        Ok(())
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
            std::thread::sleep(Duration::from_millis(25));
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
                bail!("{} ended with {ended}; its log is in {}", self.name, self.folder.display());
            }
            if Instant::now() > deadline {
                let (name, folder) = (&self.name, self.folder.display());
                bail!(
                    "{name}: the {probe} still says {status:?} after {patience:?}; log in {folder}"
                );
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// The status that a rendered probe gets; `None` when nobody answers.
    fn probe(&self, probe: &str) -> anyhow::Result<Option<u16>> {
        let get = self.rendered.get(probe).and_then(|probe| probe.get("httpGet"));
        let get = get.with_context(|| format!("{} has no {probe}", self.name))?;
        let port = self.port(text(get, "/port")).with_context(|| format!("{probe} has no port"))?;
        Ok(Request::get(text(get, "/path")).send(port).ok().map(|answer| answer.status))
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // One that has ended already cannot be killed, and needs not.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
