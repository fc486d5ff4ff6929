//! The runner: one for each process. It enqueues what schedules make due, claims what is due, runs
//! it, and keeps the leases meanwhile.
//!
//! Draining: running jobs are asked to stop and have a while to end; what has not ended then is
//! dropped, and its lease given back, so that another replica takes it over at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::attempt::{Attempts, Signals};
use super::definition::Job;
use super::leases::Leases;
use super::queue::{self, Claimant};
use super::worker::Worker;
use super::{Jobs, schedule};
use crate::kernel::database::Database;
use crate::kernel::error::Result;
use crate::kernel::events::{Backoff, now_micros};
use crate::kernel::registry::Snapshot;
use crate::kernel::saga::Sagas;
use crate::kernel::settings::JobSettings;
use crate::kernel::telemetry::Metrics;

/// How often the queue is measured.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// Runs the jobs of one database in this process.
pub struct Runner {
    database: Database,
    jobs: BTreeMap<String, Job>,
    names: Vec<String>,
    settings: JobSettings,
    metrics: Option<Metrics>,
    services: Option<Services>,
    owner: Uuid,
}

/// The services whose return makes waiting jobs due.
struct Services {
    instances: watch::Receiver<Arc<Snapshot>>,
    names: Vec<String>,
}

impl Runner {
    /// A runner of these jobs. It leaves jobs of other names to others.
    pub fn new(
        database: Database,
        jobs: impl IntoIterator<Item = Job>,
        settings: &JobSettings,
    ) -> Self {
        let jobs: BTreeMap<String, Job> =
            jobs.into_iter().map(|job| (job.name().to_owned(), job)).collect();
        Self {
            database,
            names: jobs.keys().cloned().collect(),
            jobs,
            settings: settings.clone(),
            metrics: None,
            services: None,
            owner: Uuid::now_v7(),
        }
    }

    /// Counts runs, and reports what waits.
    pub fn report_to(mut self, metrics: Metrics) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// Makes jobs that wait because something was away due at once when an instance of one of these
    /// services appears.
    pub fn hasten_with(
        mut self,
        instances: watch::Receiver<Arc<Snapshot>>,
        services: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        let names = services.into_iter().map(Into::into).collect();
        self.services = Some(Services { instances, names });
        self
    }

    /// Starts it. Dropped without being stopped it ends as if the process had died.
    pub fn spawn(self) -> Worker {
        Worker::spawn("jobs", |stop| self.run(stop))
    }

    async fn run(mut self, stop: CancellationToken) {
        let services = self.services.take();
        let leases = Arc::new(Leases::default());
        let (database, owner, length) = (self.database.clone(), self.owner, self.settings.lease);
        tokio::select! {
            () = self.work(leases.clone(), &stop) => {}
            () = leases.keep(&database, owner, length) => {}
            () = hasten(&database, services) => {}
        }
    }

    async fn work(&self, leases: Arc<Leases>, stop: &CancellationToken) {
        let backoff =
            Backoff::between(self.settings.retry_backoff, self.settings.max_retry_backoff);
        let attempts = Arc::new(self.attempts(backoff));
        let abandoned = CancellationToken::new();
        let mut under_way = JoinSet::new();
        let mut report = tokio::time::interval(REPORT_INTERVAL);
        report.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut declared, mut failures) = (false, 0);
        while !stop.is_cancelled() {
            let begun = self.begin_due(&mut declared, &mut under_way, &attempts, &leases, |lost| {
                Signals { stopping: stop.clone(), abandoned: abandoned.clone(), lost }
            });
            let wait = match begun.await {
                Ok(true) => continue,
                Ok(false) => {
                    failures = 0;
                    self.settings.poll_interval
                }
                Err(error) => {
                    failures += 1;
                    tracing::warn!(
                        error = error.with_causes(),
                        failures,
                        "the queue of jobs cannot be read"
                    );
                    backoff.wait_out(failures)
                }
            };
            tokio::select! {
                () = self.database.job_enqueued().notified() => {}
                () = tokio::time::sleep(wait) => {}
                Some(_) = under_way.join_next() => {}
                _ = report.tick() => self.report().await,
                () = stop.cancelled() => {}
            }
        }
        self.finish(under_way, &abandoned).await;
    }

    fn attempts(&self, backoff: Backoff) -> Attempts {
        Attempts {
            service: self.database.service().to_owned(),
            database: self.database.clone(),
            backoff,
            max_attempts: self.settings.max_attempts,
            lease: self.settings.lease,
            metrics: self.metrics.clone(),
        }
    }

    /// Begins what is due, as far as there is room; `true` when there may be more.
    async fn begin_due(
        &self,
        declared: &mut bool,
        under_way: &mut JoinSet<()>,
        attempts: &Arc<Attempts>,
        leases: &Arc<Leases>,
        signals: impl Fn(CancellationToken) -> Signals,
    ) -> Result<bool> {
        if !*declared {
            schedule::declare(&self.database, self.jobs.values()).await?;
            *declared = true;
        }
        schedule::enqueue_due(&self.database, |name| self.jobs.get(name).cloned()).await?;
        let room = self.settings.concurrency.saturating_sub(under_way.len());
        if room == 0 || !queue::is_waiting(&self.database, &self.names).await? {
            return Ok(false);
        }
        let since = Instant::now();
        let allowed = |name: &str| {
            self.jobs.get(name).and_then(|job| job.attempts_allowed(self.settings.max_attempts))
        };
        let claimant = Claimant {
            owner: self.owner,
            names: &self.names,
            lease: self.settings.lease,
            allowed: &allowed,
        };
        let claimed = queue::claim(&self.database, &claimant, room as u64).await?;
        let more = claimed.len() == room;
        for claimed in claimed {
            let Some(job) = self.jobs.get(&claimed.lease.name).cloned() else { continue };
            let lost = leases.hold(&claimed.lease, since, self.settings.lease);
            let (attempts, leases, signals) = (attempts.clone(), leases.clone(), signals(lost));
            under_way.spawn(async move {
                let lease = claimed.lease.clone();
                attempts.run(job, claimed, signals).await;
                leases.drop_held(&lease);
            });
        }
        Ok(more && under_way.len() < self.settings.concurrency)
    }

    /// Waits for what is under way, which was asked to stop; then drops it and gives it back.
    async fn finish(&self, mut under_way: JoinSet<()>, abandoned: &CancellationToken) {
        let all_ended = async { while under_way.join_next().await.is_some() {} };
        if tokio::time::timeout(self.settings.stop_patience, all_ended).await.is_err() {
            abandoned.cancel();
            while under_way.join_next().await.is_some() {}
        }
    }

    async fn report(&self) {
        let Some(metrics) = &self.metrics else { return };
        if let Ok(oldest) = queue::oldest_due(&self.database).await {
            let age = oldest.map_or(0, |oldest| now_micros().saturating_sub(oldest));
            metrics.jobs_oldest_due(Duration::from_micros(u64::try_from(age).unwrap_or_default()));
        }
        if let Ok(failed) = queue::count_failed(&self.database).await {
            metrics.jobs_failed(failed);
        }
        let sagas = Sagas::new(self.database.clone());
        if let Ok(stuck) = sagas.count_stuck(self.settings.stuck_after).await {
            metrics.sagas_stuck(stuck);
        }
    }
}

/// Watches for instances that appear. They may have been away before: what waits for them is due.
async fn hasten(database: &Database, services: Option<Services>) {
    let Some(Services { mut instances, names }) = services else {
        return std::future::pending().await;
    };
    let mut known = instances_of(&instances.borrow_and_update(), &names);
    while instances.changed().await.is_ok() {
        let present = instances_of(&instances.borrow_and_update(), &names);
        let appeared = present.difference(&known).next().is_some();
        known = present;
        if !appeared {
            continue;
        }
        match Jobs::new(database.clone()).hasten().await {
            Ok(0) => {}
            Ok(jobs) => tracing::info!(jobs, "a service is there: jobs that waited are due"),
            Err(error) => {
                tracing::warn!(error = error.with_causes(), "waiting jobs could not be made due")
            }
        }
    }
    std::future::pending().await
}

fn instances_of(snapshot: &Snapshot, services: &[String]) -> BTreeSet<String> {
    services
        .iter()
        .filter_map(|service| snapshot.get(service))
        .flatten()
        .map(|instance| instance.id.clone())
        .collect()
}
