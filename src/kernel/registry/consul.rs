//! HashiCorp Consul, through the HTTP API of the machine's agent.
//!
//! Each service of the platform is a Consul service of its own, named with the platform's prefix; what
//! an instance is lies in its meta. Registering, the process chooses who finds out about its health:
//! the agent asks `grpc.health.v1`, or the process tells (see
//! [`ConsulCheck`](crate::kernel::settings::ConsulCheck)). Watching is one blocking query, and only
//! instances that pass their checks are seen.
//!
//! The client is our own: see ADR 0013.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::announced::Announced;
use super::view::View;
use super::{Instance, Registration, Registry, Snapshot, check_name};
use crate::kernel::error::Result;
use crate::kernel::health::Readiness;
use crate::kernel::settings::ConsulSettings;

mod client;
mod entry;
mod index;
mod watch_loop;
mod wire;

use client::ConsulClient;
use entry::Entry;
use watch_loop::Watch;
use wire::ServiceDefinition;

/// The registry `consul`.
pub struct ConsulRegistry {
    client: Arc<ConsulClient>,
    settings: ConsulSettings,
    readiness: Readiness,
    view: Arc<View>,
    watching: AbortHandle,
}

impl ConsulRegistry {
    /// Begins to follow Consul and waits for its first answer, unless it is away.
    pub async fn open(
        settings: &ConsulSettings,
        grace: Duration,
        readiness: &Readiness,
    ) -> anyhow::Result<Self> {
        let registry = Self::start(settings, grace, readiness)?;
        registry.view.answered(settings.request_timeout).await;
        Ok(registry)
    }

    /// As [`open`](Self::open), without the wait. `grace` is that of
    /// [`RegistrySettings`](crate::kernel::settings::RegistrySettings). Must be called within a Tokio
    /// runtime.
    pub fn start(
        settings: &ConsulSettings,
        grace: Duration,
        readiness: &Readiness,
    ) -> anyhow::Result<Self> {
        check_name("registry.consul.prefix", &settings.prefix)
            .map_err(|error| anyhow::anyhow!("{error}"))
            .context("the registry cannot be used")?;
        let client = Arc::new(ConsulClient::new(settings)?);
        let view = View::new("consul", grace);
        let watch = Watch::new(Arc::clone(&client), settings, Arc::clone(&view));
        Ok(Self {
            client,
            settings: settings.clone(),
            readiness: readiness.clone(),
            view,
            watching: tokio::spawn(watch.run()).abort_handle(),
        })
    }
}

impl Drop for ConsulRegistry {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

#[async_trait]
impl Registry for ConsulRegistry {
    async fn register(&self, instance: Instance) -> Result<Box<dyn Registration>> {
        check_name("service", &instance.service)?;
        check_name("id", &instance.id)?;
        let entry = Entry {
            client: Arc::clone(&self.client),
            readiness: self.readiness.clone(),
            definition: ServiceDefinition::new(&instance, &self.settings),
        };
        let interval = self.settings.check_interval;
        Ok(Box::new(Announced::new(entry, interval, &self.readiness).await?))
    }

    fn watch(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.view.subscribe()
    }
}
