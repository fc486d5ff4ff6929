//! What the agent is told about one instance.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::de::IgnoredAny;

use super::client::ConsulClient;
use super::wire::{CRITICAL, CheckUpdate, PASSING, ServiceDefinition};
use crate::kernel::error::Result;
use crate::kernel::health::Readiness;
use crate::kernel::registry::announced::{Announcement, Fault};

/// An instance as the agent knows it.
pub(super) struct Entry {
    pub(super) client: Arc<ConsulClient>,
    pub(super) readiness: Readiness,
    pub(super) definition: ServiceDefinition,
}

#[async_trait]
impl Announcement for Entry {
    const REGISTRY: &'static str = "consul";

    /// An instance is announced when its process is ready; announced again, it is as it is.
    async fn announce(&self, again: bool) -> Result<(), Fault> {
        let status = if again { self.health().await.0 } else { PASSING };
        self.client.put("/v1/agent/service/register", &self.definition.with_status(status)).await
    }

    async fn refresh(&self) -> Result<bool, Fault> {
        if !self.is_known().await? {
            return Ok(false);
        }
        if self.definition.check.ttl.is_some() {
            let (status, output) = self.health().await;
            let path = format!("/v1/agent/check/update/{}", self.definition.check.id);
            self.client.put(&path, &CheckUpdate { status, output: &output }).await?;
        }
        Ok(true)
    }

    async fn withdraw(&self) -> Result<(), Fault> {
        let path = format!("/v1/agent/service/deregister/{}", self.definition.id);
        match self.client.put(&path, &()).await {
            // Agents differ in how they say that they do not know it.
            Err(_) if matches!(self.is_known().await, Ok(false)) => Ok(()),
            outcome => outcome,
        }
    }
}

impl Entry {
    async fn is_known(&self) -> Result<bool, Fault> {
        let path = format!("/v1/agent/service/{}", self.definition.id);
        match self.client.get::<IgnoredAny>(&path, Duration::ZERO).await {
            Ok(_) => Ok(true),
            Err(Fault::NotFound) => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    async fn health(&self) -> (&'static str, String) {
        let reasons = self.readiness.reasons().await;
        if reasons.is_empty() {
            return (PASSING, "ready".to_owned());
        }
        let reasons: Vec<_> =
            reasons.iter().map(|found| format!("{}: {}", found.name, found.reason)).collect();
        (CRITICAL, reasons.join("; "))
    }
}
