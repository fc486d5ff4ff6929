//! Kubernetes: the EndpointSlices of the platform's Services, and their pods.
//!
//! Announcing is the cluster's business: a pod is listed when its readiness probe holds. So
//! registering only asks whether the process may watch, and withdrawing is left to the kubelet, which
//! sees the pod unready or terminating. Slices say where the ready pods are and in which zone; what a
//! pod runs stands in its metadata (see `listing`).

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{ListParams, PartialObjectMeta};
use kube::{Api, Client, Config};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::view::View;
use super::{Instance, Registration, Registry, Snapshot, check_name, tls};
use crate::kernel::error::{Error, PERMISSION_DENIED, Result};
use crate::kernel::settings::KubernetesSettings;

mod listing;
mod watch_loop;

use watch_loop::Watch;

/// The registry `kubernetes`.
pub struct KubernetesRegistry {
    cluster: Cluster,
    settings: KubernetesSettings,
    view: Arc<View>,
    watching: AbortHandle,
}

/// What is watched.
#[derive(Clone)]
struct Cluster {
    slices: Api<EndpointSlice>,
    pods: Api<PartialObjectMeta<Pod>>,
}

impl KubernetesRegistry {
    /// Begins to follow the cluster and waits for its first answer, unless it is away.
    pub async fn open(settings: &KubernetesSettings, grace: Duration) -> anyhow::Result<Self> {
        let registry = Self::start(settings, grace)?;
        registry.view.answered(settings.request_timeout).await;
        Ok(registry)
    }

    /// As [`open`](Self::open), without the wait. `grace` is that of
    /// [`RegistrySettings`](crate::kernel::settings::RegistrySettings). Must be called within a Tokio
    /// runtime.
    pub fn start(settings: &KubernetesSettings, grace: Duration) -> anyhow::Result<Self> {
        let cluster = Cluster::new(settings)?;
        let view = View::new("kubernetes", grace);
        let watch = Watch::new(&cluster, settings, Arc::clone(&view));
        Ok(Self {
            cluster,
            settings: settings.clone(),
            view,
            watching: tokio::spawn(watch.run()).abort_handle(),
        })
    }

    /// Whether the process may watch at all; a cluster that is away is no refusal.
    async fn check(&self) -> Result<()> {
        let one = ListParams::default().labels(&self.settings.selector).limit(1);
        let asked = async {
            self.cluster.slices.list(&one).await?;
            self.cluster.pods.list(&one).await.map(drop)
        };
        match tokio::time::timeout(self.settings.request_timeout, asked).await {
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 401 | 403) => {
                let message = format!(
                    "kubernetes refuses: {}; the service account needs a Role that may list and \
                     watch endpointslices and pods",
                    status.message
                );
                Err(Error::new(PERMISSION_DENIED, message))
            }
            Ok(Err(reason)) => {
                tracing::warn!(%reason, "kubernetes is away");
                Ok(())
            }
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }
}

impl Cluster {
    fn new(settings: &KubernetesSettings) -> anyhow::Result<Self> {
        let mut config = match settings.url.as_str() {
            "" => Config::incluster().context(
                "this process runs in no pod with a service account: set registry.kubernetes.url",
            )?,
            url => Config::new(tls::origin("registry.kubernetes.url", url)?),
        };
        config.connect_timeout = Some(settings.request_timeout);
        // Pauses are ours to make, for the view is to know of every failure.
        config.default_retry = false;
        let client = Client::try_from(config).context("the cluster cannot be spoken to")?;
        let namespace = match settings.namespace.as_str() {
            "" => client.default_namespace().to_owned(),
            namespace => namespace.to_owned(),
        };
        Ok(Self {
            slices: Api::namespaced(client.clone(), &namespace),
            pods: Api::namespaced(client, &namespace),
        })
    }
}

impl Drop for KubernetesRegistry {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

#[async_trait]
impl Registry for KubernetesRegistry {
    async fn register(&self, instance: Instance) -> Result<Box<dyn Registration>> {
        check_name("service", &instance.service)?;
        check_name("id", &instance.id)?;
        self.check().await?;
        Ok(Box::new(ByTheKubelet))
    }

    fn watch(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.view.subscribe()
    }
}

/// The kubelet withdraws a pod that is unready.
struct ByTheKubelet;

#[async_trait]
impl Registration for ByTheKubelet {
    async fn deregister(&self) -> Result<()> {
        Ok(())
    }
}
