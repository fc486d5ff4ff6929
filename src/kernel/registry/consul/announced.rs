//! An instance that is announced to the agent, and kept so.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::de::IgnoredAny;
use tokio::sync::Mutex;
use tokio::task::AbortHandle;

use super::client::{ConsulClient, Fault};
use super::wire::{CRITICAL, CheckUpdate, PASSING, ServiceDefinition};
use crate::kernel::error::{Error, PERMISSION_DENIED, Result};
use crate::kernel::health::Readiness;
use crate::kernel::registry::Registration;

/// The announcement of an instance. Dropped, it is kept up no longer, and the agent finds out.
pub(super) struct Announced {
    announcement: Arc<Announcement>,
    beat: AbortHandle,
}

struct Announcement {
    client: Arc<ConsulClient>,
    readiness: Readiness,
    definition: ServiceDefinition,
    phase: Mutex<Phase>,
}

/// Held while the agent is told, so that no beat can announce anew what is withdrawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The agent has not heard of it yet.
    Unheard,
    Announced,
    Withdrawn,
}

impl Announced {
    /// Announces the instance and looks every `interval` whether the agent still knows it.
    pub(super) async fn new(
        client: Arc<ConsulClient>,
        readiness: &Readiness,
        definition: ServiceDefinition,
        interval: Duration,
    ) -> Result<Self> {
        let phase = Mutex::new(Phase::Unheard);
        let readiness = readiness.clone();
        let announcement = Arc::new(Announcement { client, readiness, definition, phase });
        match announcement.beat().await {
            Ok(_) => {}
            Err(Fault::Away(reason)) => {
                tracing::warn!(%reason, "consul is away; the instance is announced when it is back");
                announcement.report_unheard();
            }
            Err(refusal) => return Err(Error::new(PERMISSION_DENIED, refusal.to_string())),
        }
        let beat = tokio::spawn(Arc::clone(&announcement).keep(interval)).abort_handle();
        Ok(Self { announcement, beat })
    }
}

#[async_trait]
impl Registration for Announced {
    async fn deregister(&self) -> Result<()> {
        self.announcement.withdraw().await.map_err(|fault| {
            Error::unavailable("the registry does not answer")
                .because(anyhow::anyhow!(fault.to_string()))
        })
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        self.beat.abort();
    }
}

impl Announcement {
    /// Beats until the instance is withdrawn. What goes wrong is logged once until it goes right.
    async fn keep(self: Arc<Self>, interval: Duration) {
        let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + interval, interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            ticks.tick().await;
            match self.beat().await {
                Ok(Phase::Withdrawn) => return,
                Ok(_) => failing = false,
                Err(fault) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%fault, "registry heartbeat failed");
                    }
                }
            }
        }
    }

    /// Announces what the agent does not know, for it may have been restarted without its memory;
    /// tells it about health where it does not ask.
    async fn beat(&self) -> Result<Phase, Fault> {
        let mut phase = self.phase.lock().await;
        if *phase == Phase::Withdrawn {
            return Ok(Phase::Withdrawn);
        }
        if *phase == Phase::Unheard || !self.is_known().await? {
            self.announce(*phase).await?;
            *phase = Phase::Announced;
        } else if self.definition.check.ttl.is_some() {
            self.tell_health().await?;
        }
        Ok(*phase)
    }

    async fn is_known(&self) -> Result<bool, Fault> {
        let path = format!("/v1/agent/service/{}", self.definition.id);
        match self.client.get::<IgnoredAny>(&path, Duration::ZERO).await {
            Ok(_) => Ok(true),
            Err(Fault::NotFound) => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// An instance is announced when its process is ready; announced anew, it is as it is.
    async fn announce(&self, phase: Phase) -> Result<(), Fault> {
        let status = match phase {
            Phase::Unheard => PASSING,
            _ => self.health().await.0,
        };
        self.client.put("/v1/agent/service/register", &self.definition.with_status(status)).await
    }

    async fn tell_health(&self) -> Result<(), Fault> {
        let (status, output) = self.health().await;
        let path = format!("/v1/agent/check/update/{}", self.definition.check.id);
        self.client.put(&path, &CheckUpdate { status, output: &output }).await
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

    async fn withdraw(&self) -> Result<(), Fault> {
        let mut phase = self.phase.lock().await;
        *phase = Phase::Withdrawn;
        let path = format!("/v1/agent/service/deregister/{}", self.definition.id);
        match self.client.put(&path, &()).await {
            // Agents differ in how they say that they do not know it.
            Err(_) if matches!(self.is_known().await, Ok(false)) => Ok(()),
            outcome => outcome,
        }
    }

    /// A process that nobody can find is not ready.
    fn report_unheard(self: &Arc<Self>) {
        let announcement = Arc::downgrade(self);
        self.readiness.add("registry", move || {
            let announcement = announcement.upgrade();
            async move {
                let Some(announcement) = announcement else { return Ok(()) };
                // Held elsewhere, the agent is being told.
                let heard = announcement.phase.try_lock().map(|phase| *phase != Phase::Unheard);
                match heard {
                    Ok(true) => Ok(()),
                    _ => Err("consul has not heard of this instance yet".to_owned()),
                }
            }
        });
    }
}
