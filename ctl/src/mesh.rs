//! The operator as a member of the mesh.

use std::time::Duration;

use anyhow::Context as _;
use mainstay::contract::operations::GrpcOperationsClient;
use mainstay::kernel::channel::MeshChannel;
use mainstay::kernel::lifecycle::MeshClient;
use mainstay::kernel::registry::{Instance, Snapshot};

use crate::failure::Usage;
use crate::settings::Settings;

/// How long to wait for a registry that is reached over the network.
const REGISTRY_PATIENCE: Duration = Duration::from_secs(3);

/// Channels to services, and which there are.
pub(crate) struct Mesh(MeshClient);

impl Mesh {
    pub(crate) fn join(settings: &Settings) -> anyhow::Result<Self> {
        let contracts = mainstay::contract::pool();
        let client = MeshClient::join(&settings.tls, &settings.registry, contracts).context(
            "the mesh cannot be joined: state the folder of a platform by --home, or a certificate \
             for `operator` by --ca, --cert and --key",
        )?;
        Ok(Self(client))
    }

    /// The channel to a service, to whichever of its instances.
    pub(crate) fn channel(&self, service: &str) -> anyhow::Result<MeshChannel> {
        self.0.channel(service)
    }

    /// The channel to one instance.
    pub(crate) fn channel_to(&self, instance: &Instance) -> anyhow::Result<MeshChannel> {
        self.0.channel_to(instance)
    }

    /// The operator's view of a service.
    pub(crate) fn operations(&self, service: &str) -> anyhow::Result<GrpcOperationsClient> {
        Ok(GrpcOperationsClient::new(self.channel(service)?))
    }

    /// Which instances of which services there are.
    pub(crate) async fn snapshot(&self) -> Snapshot {
        let mut watch = self.0.registry().watch();
        let some = watch.wait_for(|snapshot| !snapshot.is_empty());
        match tokio::time::timeout(REGISTRY_PATIENCE, some).await {
            Ok(Ok(snapshot)) => Snapshot::clone(&snapshot),
            _ => Snapshot::default(),
        }
    }

    /// The services that serve gRPC and so have operations, or the one that is named. The edge has
    /// none.
    pub(crate) async fn services(&self, named: Option<&str>) -> anyhow::Result<Vec<String>> {
        if let Some(named) = named {
            return Ok(vec![named.to_owned()]);
        }
        let serves = |instance: &Instance| !instance.descriptor_hash.is_empty();
        let snapshot = self.snapshot().await;
        let services = snapshot.iter().filter(|(_, instances)| instances.iter().any(serves));
        let services: Vec<_> = services.map(|(name, _)| name.clone()).collect();
        if services.is_empty() {
            anyhow::bail!("no service is registered; start the platform, or state another --home");
        }
        Ok(services)
    }

    /// The service to which a consumer group belongs: `audit-svc.trail` is audit-svc's.
    pub(crate) fn service_of(group: &str) -> anyhow::Result<&str> {
        let (service, _) = group.split_once('.').ok_or_else(|| {
            Usage(format!("{group:?} is no consumer group; name one such as audit-svc.trail"))
        })?;
        Ok(service)
    }
}
