//! The relay: publishes what the outbox holds, in order for each aggregate.
//!
//! Rows are claimed, published, and deleted. A relay that dies in between leaves them to be
//! published again: at least once. Any number of relays may work on one outbox, and on PostgreSQL
//! one relay claims the next rows while the bus takes the ones before; an aggregate is in one claim
//! at a time, so its order holds.
//!
//! A commit in this process wakes the relay. On PostgreSQL a process that has no relay of its own
//! wakes those of the others (`NOTIFY`). What went unnoticed is found by a look from time to time.

mod lane;
mod listen;

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::bus::EventBus;
use super::{now_micros, outbox};
use crate::kernel::database::Database;
use crate::kernel::jobs::Worker;
use crate::kernel::settings::EventSettings;
use crate::kernel::telemetry::Metrics;
use lane::Lane;

/// How often it is looked at what waits.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);
/// How long a claim holds unless stated otherwise.
const LEASE: Duration = Duration::from_secs(10);
/// Claims under way at a time on PostgreSQL: one is published while the next is read. SQLite has one
/// writer, so there one is as good as two.
const LANES: usize = 2;

/// Publishes the outbox of one database.
pub struct Relay {
    database: Database,
    bus: Arc<dyn EventBus>,
    backoff: Backoff,
    look_interval: Duration,
    lease: Duration,
    metrics: Option<Metrics>,
}

impl Relay {
    /// A relay from the outbox of `database` to `bus`.
    pub fn new(database: Database, bus: Arc<dyn EventBus>, settings: &EventSettings) -> Self {
        Self {
            database,
            bus,
            backoff: Backoff::new(settings),
            look_interval: settings.outbox_interval,
            lease: LEASE,
            metrics: None,
        }
    }

    /// For how long rows are claimed: so long waits at most what a dead relay was about. Publishing
    /// that takes longer than a third of it counts as failed. Default: 10 s.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Reports how many events wait, and for how long.
    pub fn report_to(mut self, metrics: Metrics) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// Starts it. Stopping it publishes what is due first.
    pub fn spawn(self) -> Worker {
        Worker::spawn("relay", |stop| self.run(stop))
    }

    async fn run(self, stop: CancellationToken) {
        let _present = self.database.relay_present();
        let lanes = if self.database.is_postgres() { LANES } else { 1 };
        let lanes = (0..lanes).map(|_| Lane::new(&self).run(&stop));
        let watching = async {
            tokio::join!(self.report(), listen::wake_on_notify(&self.database, self.look_interval));
        };
        tokio::select! {
            _ = join_all(lanes) => {}
            () = watching => {}
        }
    }

    /// Counts what waits, for ever.
    async fn report(&self) {
        let Some(metrics) = &self.metrics else { return std::future::pending().await };
        let mut report = tokio::time::interval(REPORT_INTERVAL);
        report.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            report.tick().await;
            if let Ok(waiting) = outbox::backlog(&self.database).await {
                metrics.outbox_backlog(waiting);
            }
            if let Ok(oldest) = outbox::oldest(&self.database).await {
                let age = oldest.map(|oldest| now_micros().saturating_sub(oldest));
                let age = age.and_then(|age| u64::try_from(age).ok()).unwrap_or_default();
                metrics.outbox_oldest_age(Duration::from_micros(age));
            }
        }
    }
}
