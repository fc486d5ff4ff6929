//! etcd, version 3, over its gRPC interface.
//!
//! An instance is a key that lives as long as its lease, and its process prolongs the lease. Watching
//! is one read of all keys and one watch from the revision after it; whatever ends the watch, a
//! compaction included, begins anew with a read.
//!
//! The few messages that are needed stand in `proto/etcdserverpb/etcd.proto`: see ADR 0016.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use tokio::sync::{Mutex, watch};
use tokio::task::AbortHandle;

use super::announced::Announced;
use super::view::View;
use super::{Instance, Registration, Registry, Snapshot, check_name};
use crate::kernel::error::{Error, Result};
use crate::kernel::health::Readiness;
use crate::kernel::settings::EtcdSettings;

mod client;
mod entry;
mod watch_loop;

use client::EtcdClient;
use entry::Entry;
use watch_loop::Watch;

/// Signs of life in the time that an instance lives without one.
const BEATS_TO_LIVE: u32 = 3;

/// The registry `etcd`.
pub struct EtcdRegistry {
    client: Arc<EtcdClient>,
    settings: EtcdSettings,
    readiness: Readiness,
    view: Arc<View>,
    watching: AbortHandle,
}

impl EtcdRegistry {
    /// Begins to follow etcd and waits for its first answer, unless it is away.
    pub async fn open(
        settings: &EtcdSettings,
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
        settings: &EtcdSettings,
        grace: Duration,
        readiness: &Readiness,
    ) -> anyhow::Result<Self> {
        check_name("registry.etcd.prefix", &settings.prefix)
            .map_err(|error| anyhow::anyhow!("{error}"))
            .context("the registry cannot be used")?;
        let client = Arc::new(EtcdClient::new(settings)?);
        let view = View::new("etcd", grace);
        let watch = Watch::new(Arc::clone(&client), folder(settings), Arc::clone(&view));
        Ok(Self {
            client,
            settings: settings.clone(),
            readiness: readiness.clone(),
            view,
            watching: tokio::spawn(watch.run()).abort_handle(),
        })
    }
}

/// What the keys of all instances begin with.
fn folder(settings: &EtcdSettings) -> String {
    format!("/{}/instances/", settings.prefix)
}

impl Drop for EtcdRegistry {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

#[async_trait]
impl Registry for EtcdRegistry {
    async fn register(&self, instance: Instance) -> Result<Box<dyn Registration>> {
        check_name("service", &instance.service)?;
        check_name("id", &instance.id)?;
        let entry = Entry {
            client: Arc::clone(&self.client),
            key: format!("{}{}/{}", folder(&self.settings), instance.service, instance.id),
            value: serde_json::to_vec(&instance).map_err(Error::internal)?,
            time_to_live: self.settings.time_to_live,
            lease: Mutex::default(),
        };
        let interval = self.settings.time_to_live / BEATS_TO_LIVE;
        Ok(Box::new(Announced::new(entry, interval, &self.readiness).await?))
    }

    fn watch(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.view.subscribe()
    }
}
