//! Background work of a process: periodic jobs, and the [`Worker`] that every background task is.

mod worker;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use rand::RngExt as _;
use tokio_util::sync::CancellationToken;

use crate::kernel::telemetry::Metrics;
pub use worker::Worker;

/// By how much of its interval a run may come early or late, so that the replicas of a service do
/// not all work at the same moment.
const JITTER: f64 = 0.1;

type Run = Arc<dyn Fn() -> BoxFuture<'static, anyhow::Result<()>> + Send + Sync>;

/// Something a process does again and again. It runs in every replica: what must run only once is
/// made idempotent, or takes a lease of its own.
#[derive(Clone)]
pub struct Job {
    name: &'static str,
    every: Duration,
    run: Run,
    metrics: Option<Metrics>,
}

impl Job {
    /// A job that first runs soon after its start (within a tenth of its interval), then again one
    /// interval after each run has ended: runs never overlap.
    pub fn new<F, Fut, E>(name: &'static str, every: Duration, run: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<anyhow::Error>,
    {
        let run: Run = Arc::new(move || {
            let run = run();
            Box::pin(async move { run.await.map_err(Into::into) })
        });
        Self { name, every, run, metrics: None }
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Counts its runs.
    pub fn report_to(mut self, metrics: Metrics) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// Starts it. A run that fails or panics is logged, and the next one comes as usual. Stopping it
    /// finishes the run under way.
    pub fn spawn(self) -> Worker {
        Worker::spawn(self.name, |stop| self.repeat(stop))
    }

    async fn repeat(self, stop: CancellationToken) {
        let mut wait = self.every.mul_f64(rand::rng().random_range(0.0..=JITTER));
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            self.run_once().await;
            wait = self.every.mul_f64(rand::rng().random_range(1.0 - JITTER..=1.0 + JITTER));
        }
    }

    async fn run_once(&self) {
        let run = AssertUnwindSafe(async { (self.run)().await }).catch_unwind().await;
        let job = self.name;
        if let Some(metrics) = &self.metrics {
            metrics.job_run(job, matches!(run, Ok(Ok(()))));
        }
        match run {
            Ok(Ok(())) => tracing::debug!(job, "job done"),
            Ok(Err(error)) => tracing::error!(job, error = format!("{error:#}"), "job failed"),
            Err(_) => tracing::error!(job, "job panicked"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    async fn until(what: &str, mut probe: impl FnMut() -> bool) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while !probe() {
            assert!(tokio::time::Instant::now() < deadline, "{what}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    #[tokio::test]
    async fn a_job_that_panics_or_fails_runs_again() {
        let runs = Arc::new(AtomicU32::new(0));
        let counted = runs.clone();
        let job = Job::new("count", Duration::from_millis(5), move || {
            let run = counted.fetch_add(1, Ordering::Relaxed);
            async move {
                assert_ne!(run, 0, "the first run panics");
                anyhow::ensure!(run != 1, "the second run fails");
                Ok::<_, anyhow::Error>(())
            }
        });
        let worker = job.spawn();
        until("a third run", || runs.load(Ordering::Relaxed) >= 3).await;
        assert!(worker.is_alive());
    }

    #[tokio::test]
    async fn stopping_finishes_the_run_under_way() {
        let (started, done) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let (begin, end) = (started.clone(), done.clone());
        let worker = Job::new("slow", Duration::from_millis(1), move || {
            let (begin, end) = (begin.clone(), end.clone());
            async move {
                begin.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(100)).await;
                end.fetch_add(1, Ordering::Relaxed);
                Ok::<_, anyhow::Error>(())
            }
        })
        .spawn();
        until("a first run", || started.load(Ordering::Relaxed) == 1).await;
        worker.stop().await;
        assert_eq!((started.load(Ordering::Relaxed), done.load(Ordering::Relaxed)), (1, 1));
    }
}
