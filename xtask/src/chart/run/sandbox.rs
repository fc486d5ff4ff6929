//! The files of rendered pods: what ConfigMaps, Secrets and volumes hold, in folders.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::certificates::Certificates;
use crate::chart::objects::{find, kind, list, of_kind, text};
use crate::files::{self, Access};

/// Where the objects' files are.
pub(super) struct Sandbox<'a> {
    folder: PathBuf,
    objects: &'a [Value],
    certificates: Certificates,
    /// Free ports by those that were rendered; one that is not among them is used as it is.
    ports: BTreeMap<u16, u16>,
    /// Secrets that whoever installs brings; `None` where any that fits its setting does.
    brought: Option<Brought>,
}

/// Secrets by name, and what they hold by key.
pub(super) type Brought = BTreeMap<&'static str, BTreeMap<&'static str, String>>;

/// Where a pod is: its folder, and its address.
pub(super) struct Place {
    folder: PathBuf,
    pub(super) address: Ipv4Addr,
}

impl Place {
    /// The folder of one of its containers, beside those of others.
    pub(super) fn own(&self, container: &str) -> PathBuf {
        self.folder.join(container)
    }
}

impl<'a> Sandbox<'a> {
    /// For processes that only check their settings.
    pub(super) fn new(folder: PathBuf, objects: &'a [Value]) -> anyhow::Result<Self> {
        let certificates = Certificates::at(folder.join("certificates"));
        let identities: Vec<_> = crate::mesh::SERVICES.iter().map(|service| service.name).collect();
        certificates.ensure(identities)?;
        Ok(Self { folder, objects, certificates, ports: BTreeMap::new(), brought: None })
    }

    /// For processes that serve at the rendered ports of addresses of their own, with Secrets that
    /// were brought and no others.
    pub(super) fn with_secrets(
        folder: PathBuf,
        objects: &'a [Value],
        brought: Brought,
    ) -> anyhow::Result<Self> {
        Ok(Self { brought: Some(brought), ..Self::new(folder, objects)? })
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

    /// The place of a pod.
    pub(super) fn place(&self, pod: &str, address: Ipv4Addr) -> Place {
        Place { folder: self.folder.join(pod.replace('/', "-")), address }
    }

    /// Puts a volume's files into a folder, and returns the one to use: one that the pod's containers
    /// share is always the same.
    pub(super) fn fill(
        &self,
        volume: &Value,
        place: &Place,
        own: &Path,
        service: &str,
    ) -> anyhow::Result<PathBuf> {
        let shared =
            ["emptyDir", "persistentVolumeClaim"].iter().any(|it| volume.get(it).is_some());
        let folder = match shared {
            true => place.own("volumes").join(text(volume, "/name")),
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
        if let Some(secret) = self.brought.as_ref().and_then(|brought| brought.get(named)) {
            let value = secret.get(key).with_context(|| format!("Secret/{named} has no {key}"))?;
            return Ok(value.clone().into());
        }
        let identity = self.certified(named).unwrap_or(service);
        match key {
            "ca.crt" => Ok(std::fs::read(self.certificates.authority())?),
            "tls.crt" => self.read(&self.certificates.certificate(identity)),
            "tls.key" => self.read(&self.certificates.key(identity)),
            _ if self.brought.is_some() => bail!("nobody brings the key {key} of Secret/{named}"),
            _ => Ok(fitting(path).into()),
        }
    }

    /// Whom the certificate is for that cert-manager would put into a Secret.
    fn certified(&self, secret: &str) -> Option<&'a str> {
        let certificates = self.objects.iter().filter(|object| kind(object) == "Certificate");
        let mut issued = certificates.filter(|it| text(it, "/spec/secretName") == secret);
        issued.next()?.pointer("/spec/dnsNames/0")?.as_str()
    }

    fn read(&self, certificate: &Path) -> anyhow::Result<Vec<u8>> {
        std::fs::read(certificate)
            .with_context(|| format!("{} is for no process of ours", certificate.display()))
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_certificate_is_for_whom_it_was_rendered_and_a_secret_holds_what_was_brought() {
        let folder = tempfile::tempdir().unwrap();
        let spec = json!({"secretName": "mesh", "dnsNames": ["auth-svc"]});
        let objects = [json!({"kind": "Certificate", "spec": spec})];
        let brought = BTreeMap::from([("keys", BTreeMap::from([("own", "word".to_owned())]))]);
        let path = folder.path().to_owned();
        let sandbox = Sandbox::with_secrets(path, &objects, brought).unwrap();
        let secret = |named, key| sandbox.secret(named, key, "", "gateway");
        let of = |identity| std::fs::read(sandbox.certificates.certificate(identity)).unwrap();
        assert_eq!(secret("mesh", "tls.crt").unwrap(), of("auth-svc"));
        assert_eq!(secret("other", "tls.crt").unwrap(), of("gateway"));
        assert_eq!(secret("keys", "own").unwrap(), b"word");
        let refused = |named, key| secret(named, key).unwrap_err().to_string();
        assert_eq!(refused("keys", "other"), "Secret/keys has no other");
        assert_eq!(refused("others", "own"), "nobody brings the key own of Secret/others");
    }
}
