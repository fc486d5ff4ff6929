//! Calling the mesh without being a service: examples, operators, command lines.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use prost_reflect::DescriptorPool;

use crate::kernel::channel::MeshChannel;
use crate::kernel::health::Readiness;
use crate::kernel::policy::PolicyTable;
use crate::kernel::registry::{self, Instance, Registry, StaticRegistry};
use crate::kernel::settings::{
    ChannelSettings, RegistrySettings, TlsMode, TlsSettings, load_registry,
};
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
        let tls = TlsSettings {
            mode: TlsMode::Mtls,
            ca_file: Some(tls.join("ca.pem")),
            cert_file: Some(tls.join(format!("{identity}.pem"))),
            key_file: Some(tls.join(format!("{identity}.key"))),
        };
        Self::join(&tls, registry, contracts)
    }

    /// Joins the mesh with this certificate, and finds services in this registry. Must be called
    /// within a Tokio runtime.
    pub fn join(
        tls: &TlsSettings,
        registry: &RegistrySettings,
        contracts: &DescriptorPool,
    ) -> anyhow::Result<Self> {
        let identity = MeshIdentity::load(tls)?;
        Ok(Self {
            identity: identity.context("a member of the mesh proves who it is: tls.mode = mtls")?,
            registry: registry::start(registry, &Readiness::default())?,
            policies: Arc::new(PolicyTable::compile(contracts)?),
        })
    }

    /// Which instances of which services there are.
    pub fn registry(&self) -> &dyn Registry {
        &*self.registry
    }

    /// A channel to a service; it works as long as this client lives.
    pub fn channel(&self, service: &str) -> anyhow::Result<MeshChannel> {
        self.channel_over(&*self.registry, service)
    }

    /// A channel to one instance of a service.
    pub fn channel_to(&self, instance: &Instance) -> anyhow::Result<MeshChannel> {
        self.channel_over(&StaticRegistry::new([instance.clone()]), &instance.service)
    }

    fn channel_over(&self, registry: &dyn Registry, service: &str) -> anyhow::Result<MeshChannel> {
        let settings = ChannelSettings::default();
        let channel = MeshChannel::new(service, Some(&self.identity), registry, &settings)?;
        Ok(channel.with_policies(Arc::clone(&self.policies)))
    }
}
