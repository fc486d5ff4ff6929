//! A process that runs, and how it ends.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::platform::Kernel;
use crate::kernel::jobs::Worker;
use crate::kernel::registry::Registration;
use crate::kernel::server::Serving;

/// The part of the drain's deadline that is kept for what comes after the calls in flight.
const RESERVE: f64 = 0.1;

/// How long probes in flight on the admin port may take when everything else has ended.
const ADMIN_PATIENCE: Duration = Duration::from_millis(100);

/// The background work of a process: consumers and jobs first, the relay last.
#[derive(Clone, Default)]
pub(super) struct Workers(Arc<Mutex<Vec<Worker>>>);

/// A process that serves. Dropped without [`Running::drain`] it ends at once, as if it had crashed.
pub struct Running {
    pub(super) kernel: Arc<Kernel>,
    pub(super) server: Serving,
    pub(super) admin: Serving,
    pub(super) registration: Box<dyn Registration>,
    pub(super) workers: Workers,
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Everything in flight was finished.
    InTime,
    /// The deadline passed; what was still in flight was cut off.
    DeadlinePassed,
}

impl Running {
    /// Where the service listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Where it answers for health, readiness and metrics.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin.local_addr()
    }

    /// Waits until the service's listener ends by itself, which only a fault makes it do.
    pub async fn wait(&self) {
        self.server.stopped().await;
    }

    /// Ends the process in order, within the deadline of `lifecycle.drain_deadline`.
    pub async fn drain(mut self) -> Drained {
        let patience = self.kernel.settings.lifecycle.drain_deadline;
        let deadline = Instant::now() + patience;
        match tokio::time::timeout(patience, self.drain_in_order(deadline)).await {
            Ok(0) => Drained::InTime,
            Ok(cut_off) => {
                tracing::error!(cut_off, "calls were cut off at the drain deadline");
                Drained::DeadlinePassed
            }
            Err(_) => {
                tracing::error!(?patience, "drain deadline passed with background work under way");
                Drained::DeadlinePassed
            }
        }
    }

    /// Returns how many calls were cut off.
    async fn drain_in_order(&mut self, deadline: Instant) -> usize {
        tracing::info!("draining");
        self.leave().await;
        // Whoever has not heard yet still calls here, and is served.
        tokio::time::sleep(self.kernel.settings.lifecycle.spread).await;

        // Streams that have no end of their own get one.
        self.kernel.draining.cancel();
        // GOAWAY and `Connection: close`; then what is in flight is finished.
        let reserve = self.kernel.settings.lifecycle.drain_deadline.mul_f64(RESERVE);
        let patience = deadline.saturating_duration_since(Instant::now() + reserve);
        let cut_off = self.server.drain(patience).await;

        self.kernel.shutdown.cancel();
        self.workers.stop().await;
        if let Some(database) = self.kernel.used_database()
            && let Err(error) = database.close().await
        {
            tracing::warn!(%error, "the database was not closed in order");
        }
        self.admin.drain(ADMIN_PATIENCE).await;
        tracing::info!("drained");
        cut_off
    }

    /// No new callers: unready for those who probe, gone for those who watch the registry, and
    /// those who keep a connection over HTTP/1.1 are let go.
    async fn leave(&self) {
        self.kernel.readiness.drain();
        self.server.leave();
        if let Err(error) = self.registration.deregister().await {
            tracing::warn!(%error, "not deregistered, the entry will expire");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kernel.draining.cancel();
        self.kernel.shutdown.cancel();
        self.workers.abandon();
    }
}

impl Workers {
    pub(super) fn add(&self, worker: Worker) {
        self.lock().push(worker);
    }

    /// Names of the workers that died.
    pub(super) fn dead(&self) -> Vec<String> {
        self.lock()
            .iter()
            .filter(|worker| !worker.is_alive())
            .map(|worker| worker.name().to_owned())
            .collect()
    }

    /// All of them, each with whether it still works.
    pub(super) fn states(&self) -> Vec<(String, bool)> {
        let workers = self.lock();
        workers.iter().map(|worker| (worker.name().to_owned(), worker.is_alive())).collect()
    }

    /// Lets consumers and jobs finish together, and the relay after them, for they still publish.
    async fn stop(&self) {
        let mut workers = std::mem::take(&mut *self.lock());
        let relay = workers.iter().position(|worker| worker.name() == super::start::RELAY);
        let relay = relay.map(|index| workers.remove(index));
        futures::future::join_all(workers.into_iter().map(Worker::stop)).await;
        if let Some(relay) = relay {
            relay.stop().await;
        }
    }

    fn abandon(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Worker>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
