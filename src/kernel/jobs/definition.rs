//! What a job is: its name, what handles it, when it is due, how long and how often it may try.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures::future::BoxFuture;

use super::run::Run;
use super::schedule::Schedule;
use crate::kernel::error::Result;

/// How long one run may take unless stated otherwise.
const TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// What handles the runs of a job.
pub(super) type Handler = Arc<dyn Fn(Run) -> BoxFuture<'static, Result<()>> + Send + Sync>;

/// Work that is remembered until it is done.
///
/// A run that fails is tried again with back-off, up to `jobs.max_attempts` times; then the job is
/// `failed`, and stays visible. `INVALID_ARGUMENT` is not tried again. A run that failed because
/// something is away (`UNAVAILABLE`, `DEADLINE_EXCEEDED`) does not count: the job waits as long as it
/// takes. A run whose process died does count.
#[derive(Clone)]
pub struct Job {
    name: Cow<'static, str>,
    schedule: Option<Result<Schedule, Arc<anyhow::Error>>>,
    timeout: Duration,
    attempts: Attempts,
    handler: Handler,
}

/// How often a job may try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempts {
    /// As often as the settings say.
    AsSet,
    /// So often.
    AtMost(u32),
    /// Until it succeeds, whatever it fails with.
    Endless,
}

impl Job {
    /// A job that runs when it is enqueued. Names are remembered: one that is changed leaves the jobs
    /// enqueued under the old name waiting.
    pub fn new<F, Fut>(name: impl Into<Cow<'static, str>>, handle: F) -> Self
    where
        F: Fn(Run) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        Self {
            name: name.into(),
            schedule: None,
            timeout: TIMEOUT,
            attempts: Attempts::AsSet,
            handler: Arc::new(move |run| Box::pin(handle(run))),
        }
    }

    /// Runs it whenever a cron pattern says so, in UTC: minute, hour, day of month, month, day of
    /// week, such as `17 * * * *` or `30 3 * * MON`; a sixth field in front counts seconds. Times
    /// that passed while no process ran are made up for by one run.
    pub fn cron(mut self, pattern: &str) -> Self {
        self.schedule = Some(Schedule::cron(pattern).map_err(Arc::new));
        self
    }

    /// Runs it so often, first when the service first starts.
    pub fn every(mut self, interval: Duration) -> Self {
        self.schedule = Some(Schedule::every(interval).map_err(Arc::new));
        self
    }

    /// How long one run may take; then it is dropped, and counts as failed. Default: 5 min.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How often it is tried. Default: the setting `jobs.max_attempts`.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.attempts = Attempts::AtMost(attempts);
        self
    }

    /// Tries until it succeeds, whatever it fails with: for work that watches over its own failures.
    pub(crate) fn endless(mut self) -> Self {
        self.attempts = Attempts::Endless;
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// When it is due by itself.
    pub(super) fn schedule(&self) -> Option<&Schedule> {
        self.schedule.as_ref()?.as_ref().ok()
    }

    /// Refuses a schedule that is none.
    pub(crate) fn validate(&self) -> anyhow::Result<()> {
        match &self.schedule {
            Some(Err(error)) => Err(anyhow::anyhow!("{error:#}"))
                .with_context(|| format!("job {} has no sound schedule", self.name)),
            _ => Ok(()),
        }
    }

    pub(super) fn run_timeout(&self) -> Duration {
        self.timeout
    }

    pub(super) fn handler(&self) -> &Handler {
        &self.handler
    }

    /// The most attempts, given what the settings say; `None` without end.
    pub(super) fn attempts_allowed(&self, as_set: u32) -> Option<u32> {
        match self.attempts {
            Attempts::AsSet => Some(as_set),
            Attempts::AtMost(attempts) => Some(attempts.max(1)),
            Attempts::Endless => None,
        }
    }
}

impl std::fmt::Debug for Job {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Job").field("name", &self.name).finish_non_exhaustive()
    }
}
