//! The key of one instance, and the lease it lives on.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;

use super::client::EtcdClient;
use crate::kernel::error::Result;
use crate::kernel::registry::announced::{Announcement, Fault};

/// An instance as etcd knows it.
pub(super) struct Entry {
    pub(super) client: Arc<EtcdClient>,
    pub(super) key: String,
    pub(super) value: Vec<u8>,
    pub(super) time_to_live: Duration,
    /// Id of the lease, once there is one.
    pub(super) lease: Mutex<Option<i64>>,
}

#[async_trait]
impl Announcement for Entry {
    const REGISTRY: &'static str = "etcd";

    async fn announce(&self, _again: bool) -> Result<(), Fault> {
        let lease = self.client.grant(self.time_to_live).await?;
        *self.lease.lock().await = Some(lease);
        self.client.put(&self.key, &self.value, lease).await
    }

    /// The key may be gone though the lease is not: somebody removed it, or etcd was restored.
    async fn refresh(&self) -> Result<bool, Fault> {
        let Some(lease) = *self.lease.lock().await else { return Ok(false) };
        match self.client.keep_alive(lease).await {
            Ok(true) => self.client.exists(&self.key).await,
            Ok(false) | Err(Fault::NotFound) => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    async fn withdraw(&self) -> Result<(), Fault> {
        let Some(lease) = self.lease.lock().await.take() else { return Ok(()) };
        match self.client.revoke(lease).await {
            Ok(()) | Err(Fault::NotFound) => Ok(()),
            Err(fault) => {
                *self.lease.lock().await = Some(lease);
                Err(fault)
            }
        }
    }
}
