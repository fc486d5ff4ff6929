//! The relay: publishes what the outbox holds, in order for each aggregate.
//!
//! A row is claimed for a lease, published, and deleted. A relay that dies in between leaves the row
//! to be published again when the lease has passed: at least once. Any number of relays may work on
//! one outbox.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::bus::EventBus;
use super::dead_letter::describe;
use super::outbox::{self, Row};
use crate::kernel::database::Database;
use crate::kernel::error::{Error, Result};
use crate::kernel::jobs::Worker;
use crate::kernel::proto::events::Envelope;
use crate::kernel::settings::EventSettings;
use crate::kernel::telemetry::Metrics;

/// The most rows published at once.
const BATCH: u64 = 200;
/// How often the backlog is counted.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);
/// How long a claim holds unless stated otherwise.
const LEASE: Duration = Duration::from_secs(10);

/// Publishes the outbox of one database.
pub struct Relay {
    database: Database,
    bus: Arc<dyn EventBus>,
    backoff: Backoff,
    poll_interval: Duration,
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
            poll_interval: settings.poll_interval,
            lease: LEASE,
            metrics: None,
        }
    }

    /// For how long rows are claimed: so long waits what a dead relay was about. Publishing that
    /// takes longer than a third of it counts as failed. Default: 10 s.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Reports how many events wait.
    pub fn report_to(mut self, metrics: Metrics) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// Starts it. Stopping it publishes what is due first.
    pub fn spawn(self) -> Worker {
        Worker::spawn("relay", |stop| self.run(stop))
    }

    async fn run(self, stop: CancellationToken) {
        let mut failures = 0;
        let mut report = tokio::time::interval(REPORT_INTERVAL);
        report.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let wait = match self.publish_due().await {
                Ok(true) => {
                    failures = 0;
                    continue;
                }
                Ok(false) => self.poll_interval,
                Err(error) => {
                    failures += 1;
                    tracing::warn!(
                        error = format!("{:#}", anyhow::Error::from(error)),
                        failures,
                        "cannot read the outbox"
                    );
                    self.backoff.wait(failures)
                }
            };
            if stop.is_cancelled() {
                return;
            }
            tokio::select! {
                () = self.database.outbox_written().notified() => {}
                () = tokio::time::sleep(wait) => {}
                _ = report.tick() => self.report().await,
                () = stop.cancelled() => {}
            }
        }
    }

    async fn report(&self) {
        let Some(metrics) = &self.metrics else { return };
        if let Ok(waiting) = outbox::backlog(&self.database).await {
            metrics.outbox_backlog(waiting);
        }
    }

    /// Publishes one batch; `false` when nothing is due.
    async fn publish_due(&self) -> Result<bool> {
        if !outbox::is_waiting(&self.database).await? {
            return Ok(false);
        }
        let claimed = Instant::now();
        let rows = outbox::claim(&self.database, BATCH, self.lease).await?;
        match self.publish(&rows).await {
            Ok(()) => outbox::remove(&self.database, &positions(&rows)).await?,
            // One bad record must not hold back the others: each aggregate by itself.
            Err(_) => self.publish_one_by_one(rows, claimed).await?,
        }
        Ok(true)
    }

    async fn publish_one_by_one(&self, rows: Vec<Row>, claimed: Instant) -> Result<()> {
        for aggregate in aggregates(rows) {
            // A bus that hangs: the rest goes back before the claim on it lapses.
            match claimed.elapsed() < self.lease / 2 {
                true => self.publish_aggregate(&aggregate).await?,
                false => outbox::release(&self.database, &positions(&aggregate)).await?,
            }
        }
        Ok(())
    }

    async fn publish_aggregate(&self, rows: &[Row]) -> Result<()> {
        let Err(error) = self.publish(rows).await else {
            return outbox::remove(&self.database, &positions(rows)).await;
        };
        let Some((head, rest)) = rows.split_first() else { return Ok(()) };
        let attempts = u32::try_from(head.attempts).unwrap_or_default().saturating_add(1);
        let reason = describe(&error);
        tracing::warn!(
            event_id = head.envelope.id,
            topic = head.envelope.topic,
            attempts,
            error = reason,
            "cannot publish an event"
        );
        outbox::postpone(&self.database, head, self.backoff.wait(attempts), &reason).await?;
        outbox::release(&self.database, &positions(rest)).await
    }

    async fn publish(&self, rows: &[Row]) -> Result<()> {
        let records: Vec<Envelope> = rows.iter().map(|row| row.envelope.clone()).collect();
        tokio::time::timeout(self.lease / 3, self.bus.publish(records))
            .await
            .unwrap_or_else(|_| Err(Error::unavailable("the event bus does not answer")))
    }
}

fn positions(rows: &[Row]) -> Vec<i64> {
    rows.iter().map(|row| row.position).collect()
}

/// Rows by aggregate, each in order, the aggregates by their first row.
fn aggregates(rows: Vec<Row>) -> Vec<Vec<Row>> {
    let mut groups: Vec<Vec<Row>> = Vec::new();
    for row in rows {
        match groups.iter_mut().find(|group| group[0].aggregate() == row.aggregate()) {
            Some(group) => group.push(row),
            None => groups.push(vec![row]),
        }
    }
    groups
}
