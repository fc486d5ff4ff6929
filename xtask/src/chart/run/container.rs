//! One container as a process.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::running::Running;
use super::sandbox::{Place, Sandbox, container_port};
use crate::chart::objects::{Pod, image_name, list, text};
use crate::infra::output;

/// What reads the file that the variable names is told where the pod's would be.
const SETTINGS: &str = "MAINSTAY_SETTINGS";

/// How variables of ours begin and end that name a file with what is secret.
const SECRET_FILE: (&str, &str) = ("MAINSTAY_", "_FILE");

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

impl<'a> Container<'a> {
    /// Lays its files.
    pub(super) fn new(
        sandbox: &Sandbox<'_>,
        place: &Place,
        pod: &Pod<'_>,
        rendered: &'a Value,
        binary: PathBuf,
    ) -> anyhow::Result<Self> {
        let name = text(rendered, "/name").to_owned();
        let service = image_name(rendered);
        let folder = place.own(&name);
        let mut mounts = Vec::new();
        for mount in list(rendered, "/volumeMounts") {
            let volumes = list(pod.spec, "/volumes").iter();
            let mut named = volumes.filter(|it| text(it, "/name") == text(mount, "/name"));
            let volume = named.next().context("a mount of no volume")?;
            let filled = sandbox.fill(volume, place, &folder, service)?;
            mounts.push((text(mount, "/mountPath").to_owned(), filled.display().to_string()));
        }
        // The longest first, so that none is taken for the beginning of another.
        mounts.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        let here = |text: &str| {
            mounts.iter().fold(text.to_owned(), |text, (path, folder)| text.replace(path, folder))
        };
        let mut environment = environment(sandbox, place, rendered, service)?;
        environment.iter_mut().for_each(|(_, value)| *value = here(value));
        let file = environment.iter().find(|(name, _)| name == SETTINGS);
        let (_, file) = file.with_context(|| format!("{SETTINGS} is not set"))?;
        let local = |port: u16| SocketAddr::from((place.address, sandbox.port(port)));
        settle(file, here, local)?;
        let (begin, end) = SECRET_FILE;
        let names_secret = |name: &str| name.starts_with(begin) && name.ends_with(end);
        for (_, file) in environment.iter().filter(|(name, _)| names_secret(name)) {
            relocate(file, here)?;
        }
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

    /// Starts it, so that it cannot outlive this program; its log goes to a file.
    pub(super) fn start(self) -> anyhow::Result<Running<'a>> {
        let log = File::create(self.folder.join("log"))?;
        let mut command = self.command_of("/proc/self/exe".as_ref());
        command.args(["launch", "--supervisor", &std::process::id().to_string(), "--"]);
        command.arg(&self.binary).args(&self.arguments);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command
            .spawn()
            .with_context(|| format!("{} cannot be started", self.binary.display()))?;
        let Self { name, rendered, folder, ports, .. } = self;
        Ok(Running { name, rendered, child, folder, ports })
    }

    fn command(&self) -> Command {
        self.command_of(&self.binary)
    }

    fn command_of(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(self.environment.iter().cloned()).current_dir(&self.folder);
        command
    }
}

/// The variables, with what they refer to in each other's place.
fn environment(
    sandbox: &Sandbox<'_>,
    place: &Place,
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
                place.address.to_string()
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

/// Rewrites the settings file: paths are those of this machine, and all addresses are the pod's.
fn settle(
    file: &str,
    here: impl Fn(&str) -> String,
    local: impl Fn(u16) -> SocketAddr,
) -> anyhow::Result<()> {
    let rendered = std::fs::read_to_string(file).with_context(|| format!("{file} is not there"))?;
    let mut settings: toml::Table = toml::from_str(&here(&rendered))?;
    for key in ["listen", "admin_listen"] {
        let stated = settings.get(key).and_then(toml::Value::as_str).unwrap_or_default();
        let stated: SocketAddr = stated.parse().with_context(|| format!("{key} is {stated}"))?;
        settings.insert(key.to_owned(), local(stated.port()).to_string().into());
    }
    Ok(std::fs::write(file, toml::to_string(&settings)?)?)
}

/// Rewrites the paths in a file with a secret: URLs of databases name an authority's.
fn relocate(file: &str, here: impl Fn(&str) -> String) -> anyhow::Result<()> {
    let secret = std::fs::read_to_string(file).with_context(|| format!("{file} is not there"))?;
    Ok(std::fs::write(file, here(&secret))?)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_pod_listens_at_its_own_address_and_finds_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("settings.toml").display().to_string();
        let rendered = "listen = \"0.0.0.0:8081\"\nadmin_listen = \"0.0.0.0:18081\"\n\
            [tls]\nca_file = \"/run/secrets/mesh/ca.crt\"\n";
        std::fs::write(&file, rendered).unwrap();
        let here = |text: &str| text.replace("/run/secrets/mesh", "/here");
        let local = |port| SocketAddr::from((Ipv4Addr::new(127, 1, 2, 3), port));
        settle(&file, here, local).unwrap();
        let settled: toml::Table =
            toml::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        assert_eq!(settled["listen"].as_str(), Some("127.1.2.3:8081"));
        assert_eq!(settled["admin_listen"].as_str(), Some("127.1.2.3:18081"));
        assert_eq!(settled["tls"]["ca_file"].as_str(), Some("/here/ca.crt"));
    }
}
