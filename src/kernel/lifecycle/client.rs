//! Calling the mesh without being a service: examples, operators, command lines.

use std::path::Path;
use std::sync::Arc;

use prost_reflect::DescriptorPool;

use crate::kernel::channel::MeshChannel;
use crate::kernel::health::Readiness;
use crate::kernel::policy::PolicyTable;
use crate::kernel::registry::{self, Registry};
use crate::kernel::settings::{ChannelSettings, RegistrySettings, load_registry};
use crate::kernel::tls::MeshIdentity;

/// A member of the mesh that only calls.
pub struct MeshClient {
    identity: MeshIdentity,
    registry: Arc<dyn Registry>,
    policies: Arc<PolicyTable>,
}

impl MeshClient {
    /// Joins the mesh that runs on a state folder, such as the `.mainstay` of `cargo xtask up`, with
    /// the certificate `tls/<identity>.pem` in it. Services are found in the folder's registry, unless
    /// the [environment](load_registry) names another one. Must be called within a Tokio runtime.
    pub fn open(home: &Path, identity: &str, contracts: &DescriptorPool) -> anyhow::Result<Self> {
        Self::with_registry(home, identity, &load_registry(home)?, contracts)
    }

    /// As [`open`](Self::open), with the registry given.
    pub fn with_registry(
        home: &Path,
        identity: &str,
        registry: &RegistrySettings,
        contracts: &DescriptorPool,
    ) -> anyhow::Result<Self> {
        let tls = home.join("tls");
        let certificate = tls.join(format!("{identity}.pem"));
        let key = tls.join(format!("{identity}.key"));
        Ok(Self {
            identity: MeshIdentity::read(&tls.join("ca.pem"), &certificate, &key)?,
            registry: registry::start(registry, &Readiness::default())?,
            policies: Arc::new(PolicyTable::compile(contracts)?),
        })
    }

    /// A channel to a service; it works as long as this client lives.
    pub fn channel(&self, service: &str) -> anyhow::Result<MeshChannel> {
        let settings = ChannelSettings::default();
        let channel = MeshChannel::new(service, Some(&self.identity), &*self.registry, &settings)?;
        Ok(channel.with_policies(Arc::clone(&self.policies)))
    }
}
