//! Which instances of which services there are, and where.
//!
//! A process registers itself when it is ready and watches the others. Adapters stand behind
//! [`Registry`], and [`open`] chooses one by the settings: [`DirectoryRegistry`] keeps one file for
//! each instance in a local directory and needs no server; [`ConsulRegistry`] speaks to the agent of
//! the machine, [`EtcdRegistry`] to a cluster of etcd, [`KubernetesRegistry`] watches EndpointSlices.
//! [`StaticRegistry`] holds addresses in memory, for fixed upstreams and tests.
//!
//! A registry that is away changes nothing: what was known last holds until it answers again, and
//! for a grace period after, in which everybody announces themselves anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::kernel::error::{Error, Result};
use crate::kernel::health::Readiness;
use crate::kernel::settings::{RegistryKind, RegistrySettings};

mod announced;
mod consul;
mod directory;
mod etcd;
mod kubernetes;
mod memory;
mod tls;
mod view;

pub use consul::ConsulRegistry;
pub use directory::{DirectoryRegistry, DirectoryTiming};
pub use etcd::EtcdRegistry;
pub use kubernetes::KubernetesRegistry;
pub use memory::StaticRegistry;

/// One running process of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Instance {
    /// Id of the instance, unique among its service's: letters, digits, `.`, `_` and `-`.
    pub id: String,
    /// Name of the service, such as `identity-svc`.
    pub service: String,
    /// Where it is reached, as `host:port`.
    pub address: String,
    /// Its version.
    pub version: String,
    /// Hash of the contracts it serves; empty when it serves none.
    pub descriptor_hash: String,
    /// Where it answers for health and metrics, as `host:port`; empty when nobody said.
    #[serde(default)]
    pub admin_address: String,
    /// The zone it runs in, such as `eu-west-1a`; empty when nobody said.
    #[serde(default)]
    pub zone: String,
}

/// All instances by service, each list in the order of the ids. A service without instances is
/// absent.
pub type Snapshot = BTreeMap<String, Vec<Instance>>;

/// Where instances are announced and found.
#[async_trait]
pub trait Registry: Send + Sync {
    /// Announces an instance until its [`Registration`] is withdrawn or dropped. A registry that is
    /// away is no error: the instance is announced when it is back.
    async fn register(&self, instance: Instance) -> Result<Box<dyn Registration>>;

    /// The instances there are, from now on. The receiver holds the present state at once, and
    /// changes only when the state does.
    fn watch(&self) -> watch::Receiver<Arc<Snapshot>>;
}

/// An announced instance. Dropped without [`deregister`](Self::deregister) it disappears as if the
/// process had died: only after the registry's time to live.
#[async_trait]
pub trait Registration: Send + Sync {
    /// Withdraws the instance; watchers stop seeing it. Repeating it is harmless.
    async fn deregister(&self) -> Result<()>;
}

/// Opens the registry of the settings. What it holds is known when this returns, unless it is away.
/// Adapters that report health to the registry ask `readiness` for it. Must be called within a
/// Tokio runtime.
pub async fn open(
    settings: &RegistrySettings,
    readiness: &Readiness,
) -> anyhow::Result<Arc<dyn Registry>> {
    let RegistrySettings { grace, consul, etcd, kubernetes, .. } = settings;
    Ok(match settings.kind {
        RegistryKind::Directory | RegistryKind::Static => start(settings, readiness)?,
        RegistryKind::Consul => Arc::new(ConsulRegistry::open(consul, *grace, readiness).await?),
        RegistryKind::Etcd => Arc::new(EtcdRegistry::open(etcd, *grace, readiness).await?),
        RegistryKind::Kubernetes => Arc::new(KubernetesRegistry::open(kubernetes, *grace).await?),
    })
}

/// As [`open`], without waiting for what it holds.
pub fn start(
    settings: &RegistrySettings,
    readiness: &Readiness,
) -> anyhow::Result<Arc<dyn Registry>> {
    let RegistrySettings { path, grace, addresses, consul, etcd, kubernetes, .. } = settings;
    Ok(match settings.kind {
        RegistryKind::Directory => {
            Arc::new(DirectoryRegistry::open(path, DirectoryTiming::default())?)
        }
        RegistryKind::Consul => Arc::new(ConsulRegistry::start(consul, *grace, readiness)?),
        RegistryKind::Etcd => Arc::new(EtcdRegistry::start(etcd, *grace, readiness)?),
        RegistryKind::Kubernetes => Arc::new(KubernetesRegistry::start(kubernetes, *grace)?),
        RegistryKind::Static => Arc::new(StaticRegistry::of(addresses)),
    })
}

/// Names become file names, URL segments and metric labels: keep them plain.
fn check_name(field: &str, name: &str) -> Result<()> {
    let plain = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
    if name.is_empty() || name.starts_with('.') || name.len() > 128 || !name.chars().all(plain) {
        return Err(Error::invalid(
            field,
            format!("`{name}` is not 1 to 128 letters, digits, `.`, `_` or `-`"),
        ));
    }
    Ok(())
}

/// Publishes a snapshot only when it differs, so that watchers wake for changes alone.
fn publish(sender: &watch::Sender<Arc<Snapshot>>, mut snapshot: Snapshot) {
    snapshot.retain(|_, instances| !instances.is_empty());
    snapshot.values_mut().for_each(|instances| instances.sort());
    sender.send_if_modified(|current| {
        let changed = **current != snapshot;
        if changed {
            *current = Arc::new(snapshot);
        }
        changed
    });
}
