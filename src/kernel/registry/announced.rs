//! An instance that is announced to a registry over the network, and kept so.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior};

use super::Registration;
use crate::kernel::error::{Error, PERMISSION_DENIED, Result};
use crate::kernel::health::Readiness;

/// What an adapter says to its registry about one instance.
#[async_trait]
pub(super) trait Announcement: Send + Sync + 'static {
    /// Name of the registry, for people.
    const REGISTRY: &'static str;

    /// Announces the instance; `again` when the registry has forgotten it.
    async fn announce(&self, again: bool) -> Result<(), Fault>;

    /// Gives a sign of life. `false` when the registry does not know the instance.
    async fn refresh(&self) -> Result<bool, Fault>;

    /// Withdraws the instance; one that is not there is no fault.
    async fn withdraw(&self) -> Result<(), Fault>;
}

/// Why a registry did not do what it was asked.
#[derive(Debug)]
pub(super) enum Fault {
    /// It cannot be reached, or is not able to; asking again may help.
    Away(anyhow::Error),
    /// There is no such thing.
    NotFound,
    /// It does not want to; asking again changes nothing.
    Refused(String),
}

/// The announcement of an instance. Dropped, it is kept up no longer, and the registry finds out.
pub(super) struct Announced<A> {
    kept: Arc<Kept<A>>,
    beat: AbortHandle,
}

struct Kept<A> {
    announcement: A,
    phase: Mutex<Phase>,
    /// Whether the registry has heard of it. Apart from the phase, for an announcement may ask for the
    /// readiness of the process while the phase is held.
    heard: AtomicBool,
}

/// Held while the registry is told, so that no beat can announce anew what is withdrawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The registry has not heard of it yet.
    Unheard,
    Announced,
    Withdrawn,
}

impl<A: Announcement> Announced<A> {
    /// Announces the instance and gives a sign of life every `interval`. While the registry has not
    /// heard of it, the process is not ready.
    pub(super) async fn new(
        announcement: A,
        interval: Duration,
        readiness: &Readiness,
    ) -> Result<Self> {
        let (phase, heard) = (Mutex::new(Phase::Unheard), AtomicBool::new(false));
        let kept = Arc::new(Kept { announcement, phase, heard });
        match kept.beat().await {
            Ok(_) => {}
            Err(Fault::Away(reason)) => {
                let (registry, reason) = (A::REGISTRY, format!("{reason:#}"));
                tracing::warn!(registry, reason, "the instance is announced when it is back");
                kept.report_unheard(readiness);
            }
            Err(refusal) => {
                let message = format!("{}: {refusal}", A::REGISTRY);
                return Err(Error::new(PERMISSION_DENIED, message));
            }
        }
        let beat = tokio::spawn(Arc::clone(&kept).keep(interval)).abort_handle();
        Ok(Self { kept, beat })
    }
}

#[async_trait]
impl<A: Announcement> Registration for Announced<A> {
    async fn deregister(&self) -> Result<()> {
        let mut phase = self.kept.phase.lock().await;
        *phase = Phase::Withdrawn;
        self.kept.announcement.withdraw().await.map_err(|fault| {
            Error::unavailable("the registry does not answer").because(anyhow::anyhow!("{fault}"))
        })
    }
}

impl<A> Drop for Announced<A> {
    fn drop(&mut self) {
        self.beat.abort();
    }
}

impl<A: Announcement> Kept<A> {
    /// Beats until the instance is withdrawn. What goes wrong is logged once until it goes right.
    async fn keep(self: Arc<Self>, interval: Duration) {
        let mut ticks = tokio::time::interval_at(Instant::now() + interval, interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            ticks.tick().await;
            match self.beat().await {
                Ok(Phase::Withdrawn) => return,
                Ok(_) => failing = false,
                Err(fault) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(registry = A::REGISTRY, %fault, "registry heartbeat failed");
                    }
                }
            }
        }
    }

    /// Gives a sign of life, and announces what the registry does not know: it may have been
    /// restarted without its memory.
    async fn beat(&self) -> Result<Phase, Fault> {
        let mut phase = self.phase.lock().await;
        match *phase {
            Phase::Withdrawn => {}
            Phase::Unheard => {
                self.announcement.announce(false).await?;
                *phase = Phase::Announced;
                self.heard.store(true, Ordering::Relaxed);
            }
            Phase::Announced => {
                if !self.announcement.refresh().await? {
                    self.announcement.announce(true).await?;
                    tracing::info!(registry = A::REGISTRY, "the instance is announced anew");
                }
            }
        }
        Ok(*phase)
    }

    /// A process that nobody can find is not ready.
    fn report_unheard(self: &Arc<Self>, readiness: &Readiness) {
        let kept = Arc::downgrade(self);
        readiness.add("registry", move || {
            let kept = kept.upgrade();
            async move {
                match kept {
                    Some(kept) if !kept.heard.load(Ordering::Relaxed) => {
                        Err(format!("{} has not heard of this instance yet", A::REGISTRY))
                    }
                    _ => Ok(()),
                }
            }
        });
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away(reason) => write!(formatter, "{reason:#}"),
            Self::NotFound => formatter.write_str("there is no such thing"),
            Self::Refused(reason) => write!(formatter, "refused: {reason}"),
        }
    }
}
