//! The files of rendered pods: what ConfigMaps, Secrets and volumes hold, in folders.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::certificates::Certificates;
use crate::chart::objects::{find, list, of_kind, text};
use crate::files::{self, Access};

/// Where the objects' files are.
pub(super) struct Sandbox<'a> {
    folder: PathBuf,
    objects: &'a [Value],
    certificates: Certificates,
    /// Free ports by those that were rendered; empty where nobody listens.
    ports: BTreeMap<u16, u16>,
}

impl<'a> Sandbox<'a> {
    /// For processes that only check their settings.
    pub(super) fn new(folder: PathBuf, objects: &'a [Value]) -> anyhow::Result<Self> {
        let certificates = Certificates::at(folder.join("certificates"));
        let identities: Vec<_> = crate::mesh::SERVICES.iter().map(|service| service.name).collect();
        certificates.ensure(identities)?;
        Ok(Self { folder, objects, certificates, ports: BTreeMap::new() })
    }

    /// For processes that serve, each at a free port.
    pub(super) fn with_free_ports(folder: PathBuf, objects: &'a [Value]) -> anyhow::Result<Self> {
        let mut sandbox = Self::new(folder, objects)?;
        let mut taken = Vec::new();
        for pod in crate::chart::objects::pods(objects) {
            for container in pod.containers() {
                for port in list(container, "/ports").iter().filter_map(container_port) {
                    let listener = TcpListener::bind("127.0.0.1:0")?;
                    sandbox.ports.insert(port, listener.local_addr()?.port());
                    // Kept until all are chosen, so that each is another one.
                    taken.push(listener);
                }
            }
        }
        Ok(sandbox)
    }

    /// The port on this machine of one that was rendered.
    pub(super) fn port(&self, rendered: u16) -> u16 {
        self.ports.get(&rendered).copied().unwrap_or(rendered)
    }

    /// A folder of one container, beside those of others.
    pub(super) fn own(&self, pod: &str, container: &str) -> PathBuf {
        self.folder.join(pod.replace('/', "-")).join(container)
    }

    /// Puts a volume's files into a folder, and returns the one to use: one that the pod's containers
    /// share is always the same.
    pub(super) fn fill(
        &self,
        volume: &Value,
        own: &Path,
        service: &str,
    ) -> anyhow::Result<PathBuf> {
        let shared =
            ["emptyDir", "persistentVolumeClaim"].iter().any(|it| volume.get(it).is_some());
        let folder = match shared {
            true => self.folder.join("volumes").join(text(volume, "/name")),
            false => own.join(text(volume, "/name")),
        };
        std::fs::create_dir_all(&folder)?;
        let projected = list(volume, "/projected/sources").iter();
        for source in projected.chain([volume]) {
            let map = text(source, "/configMap/name");
            if !map.is_empty() {
                self.fill_from_map(map, &folder)?;
            }
            let secret =
                [text(source, "/secret/secretName"), text(source, "/secret/name")].concat();
            if !secret.is_empty() {
                for item in list(source, "/secret/items") {
                    let (key, path) = (text(item, "/key"), text(item, "/path"));
                    let value = self.secret(&secret, key, path, service)?;
                    files::write(&folder.join(path), &value, Access::Owner)?;
                }
            }
        }
        Ok(folder)
    }

    fn fill_from_map(&self, named: &str, folder: &Path) -> anyhow::Result<()> {
        let Some(map) = find(self.objects, "ConfigMap", named) else {
            // One that is brought along holds an authority's certificate.
            let authority = std::fs::read(self.certificates.authority())?;
            return files::write(&folder.join("ca.crt"), &authority, Access::Everybody);
        };
        let data = map.get("data").and_then(Value::as_object);
        for (name, value) in data.into_iter().flatten() {
            let text = value.as_str().with_context(|| format!("{named}/{name} is no text"))?;
            files::write(&folder.join(name), text.as_bytes(), Access::Everybody)?;
        }
        Ok(())
    }

    /// What a Secret holds: the rendered value, a certificate, or one that fits the setting.
    pub(super) fn secret(
        &self,
        named: &str,
        key: &str,
        path: &str,
        service: &str,
    ) -> anyhow::Result<Vec<u8>> {
        if let Some(secret) = find(self.objects, "Secret", named) {
            return Ok(STANDARD.decode(text(secret, &format!("/data/{key}")))?);
        }
        match key {
            "ca.crt" => Ok(std::fs::read(self.certificates.authority())?),
            "tls.crt" => Ok(std::fs::read(self.certificates.certificate(service))?),
            "tls.key" => Ok(std::fs::read(self.certificates.key(service))?),
            _ => Ok(fitting(path).into()),
        }
    }

    /// The Secret `secrets` of the release.
    pub(super) fn generated(objects: &[Value], key: &str) -> anyhow::Result<String> {
        let pointer = format!("/data/{key}");
        let mut values = of_kind(objects, "Secret").map(|secret| text(secret, &pointer));
        let value = values.find(|value| !value.is_empty());
        let value = value.with_context(|| format!("no Secret has {key}"))?;
        Ok(String::from_utf8(STANDARD.decode(value)?)?)
    }
}

/// A port of a container.
pub(super) fn container_port(port: &Value) -> Option<u16> {
    u16::try_from(port.get("containerPort")?.as_u64()?).ok()
}

/// A value that whoever installs would have brought, by the setting it is for.
fn fitting(setting: &str) -> String {
    match setting {
        "MAINSTAY_DATABASE__URL" => "postgres://mainstay:word@postgres:5432/mainstay".to_owned(),
        "MAINSTAY_REDIS__URL" => "rediss://:word@redis:6379/0".to_owned(),
        "MAINSTAY_EVENTS__KAFKA__CLIENT" => {
            "{ \"security.protocol\" = \"sasl_plaintext\", \"sasl.password\" = \"word\" }"
                .to_owned()
        }
        // 32 bytes in base64, and more than enough characters for a password.
        _ => STANDARD.encode([7; 32]),
    }
}
