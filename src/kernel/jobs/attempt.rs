//! One run of a claimed job, from its handler to the record of how it ended.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tracing::Instrument as _;

use super::definition::Job;
use super::history::Outcome;
use super::outcome::{self, Failure, Lease};
use super::queue::Claimed;
use super::run::Run;
use crate::kernel::database::Database;
use crate::kernel::error::{DEADLINE_EXCEEDED, Error, Result};
use crate::kernel::events::{Backoff, resume};
use crate::kernel::telemetry::Metrics;
use crate::kernel::telemetry::propagation::{continue_trace, extract_envelope};

/// How long to wait before the end of a run is recorded again.
const RECORD_PAUSE: Duration = Duration::from_millis(100);

/// The longest text of an error that is kept.
const MAX_ERROR_BYTES: usize = 1000;

/// What all runs of a process share.
pub(super) struct Attempts {
    pub(super) service: String,
    pub(super) database: Database,
    pub(super) backoff: Backoff,
    pub(super) max_attempts: u32,
    pub(super) lease: Duration,
    pub(super) metrics: Option<Metrics>,
}

/// What can happen to a run from outside.
#[derive(Clone)]
pub(super) struct Signals {
    /// The process drains: the handler is asked to end.
    pub(super) stopping: CancellationToken,
    /// The drain waits no longer: the handler is dropped.
    pub(super) abandoned: CancellationToken,
    /// The lease is lost: the handler is dropped, and nothing is recorded.
    pub(super) lost: CancellationToken,
}

/// How the handler ended.
enum End {
    Returned(Result<()>),
    Abandoned,
    Lost,
}

impl Attempts {
    /// Runs a job and records how that ended.
    pub(super) async fn run(self: Arc<Self>, job: Job, claimed: Claimed, signals: Signals) {
        let run = Run::new(
            self.database.clone(),
            claimed.lease.clone(),
            claimed.payload.clone(),
            claimed.attempts,
            signals.stopping.clone(),
        );
        let span = tracing::info_span!(
            "run job",
            otel.kind = "consumer",
            job = job.name(),
            job_id = %run.id(),
            attempt = claimed.attempts,
        );
        continue_trace(&span, extract_envelope(&claimed.trace.parent, &claimed.trace.state));
        let origin = claimed.origin.clone();
        let handling = resume(&self.service, origin, contained(&job, run.clone()));
        let end = async {
            tokio::select! {
                biased;
                () = signals.lost.cancelled() => End::Lost,
                () = signals.abandoned.cancelled() => End::Abandoned,
                result = handling => End::Returned(result),
            }
        };
        if let Some(metrics) = &self.metrics {
            metrics.lease_epoch(job.name(), claimed.lease.epoch);
        }
        let end = end.instrument(span).await;
        if let (Some(metrics), End::Returned(Err(error))) = (&self.metrics, &end)
            && let Some(class) = error.class()
        {
            metrics.error(class);
        }
        let outcome = self.record(&job, &claimed, &run, &signals, end).await;
        if let Some(metrics) = &self.metrics {
            metrics.job_run(job.name(), outcome.as_str());
        }
    }

    async fn record(
        &self,
        job: &Job,
        claimed: &Claimed,
        run: &Run,
        signals: &Signals,
        end: End,
    ) -> Outcome {
        let name = job.name();
        let ending = match end {
            _ if run.is_completed() => return Outcome::Succeeded,
            End::Lost => {
                tracing::warn!(job = name, job_id = %run.id(), "the lease of a job was lost");
                return Outcome::Lost;
            }
            End::Abandoned => Ending::Release,
            End::Returned(Ok(())) => Ending::Complete,
            End::Returned(Err(_)) if signals.stopping.is_cancelled() => Ending::Release,
            End::Returned(Err(error)) => self.ending_of(job, claimed, &error),
        };
        match self.write(run.lease(), &ending, &signals.lost).await {
            true => ending.outcome(),
            false => {
                tracing::warn!(job = name, job_id = %run.id(), "a job ended after its lease");
                Outcome::Lost
            }
        }
    }

    fn ending_of(&self, job: &Job, claimed: &Claimed, error: &Error) -> Ending {
        let (reason, outage) = (reason(error), is_outage(error));
        let allowed = job.attempts_allowed(self.max_attempts);
        let exhausted = allowed.is_some_and(|allowed| claimed.attempts >= allowed);
        let permanent = allowed.is_some() && error.code().grpc == Code::InvalidArgument;
        let (job, job_id, attempts) = (job.name(), claimed.lease.job_id, claimed.attempts);
        if permanent || (exhausted && !outage) {
            tracing::error!(job, %job_id, attempts, reason, "job failed for good");
            return Ending::Fail { reason };
        }
        tracing::warn!(job, %job_id, attempts, reason, "job failed, trying again");
        let wait = self.backoff.wait(claimed.failures.saturating_add(1));
        Ending::Postpone { reason, outage, wait }
    }

    /// Writes how a run ended, until that succeeds or the lease has lapsed: then the next claim
    /// finds the run lost.
    async fn write(&self, lease: &Lease, ending: &Ending, lost: &CancellationToken) -> bool {
        let deadline = Instant::now() + self.lease;
        loop {
            match self.try_write(lease, ending).await {
                Ok(written) => return written,
                Err(error) if lost.is_cancelled() || Instant::now() >= deadline => {
                    tracing::error!(
                        job = lease.name,
                        error = error.with_causes(),
                        "the end of a job was not recorded"
                    );
                    return false;
                }
                Err(_) => tokio::time::sleep(RECORD_PAUSE).await,
            }
        }
    }

    async fn try_write(&self, lease: &Lease, ending: &Ending) -> Result<bool> {
        let open = self.database.begin_own().await?;
        let transaction = open.connection();
        let written = match ending {
            Ending::Complete => outcome::complete(transaction, lease).await?,
            Ending::Release => outcome::release(transaction, lease).await?,
            Ending::Fail { reason } => {
                let failure = Failure { error: reason, outage: false };
                outcome::fail(transaction, lease, &failure).await?
            }
            Ending::Postpone { reason, outage, wait } => {
                let failure = Failure { error: reason, outage: *outage };
                outcome::postpone(transaction, lease, &failure, *wait).await?
            }
        };
        open.commit().await?;
        Ok(written)
    }
}

/// What is to be recorded.
enum Ending {
    Complete,
    Release,
    Fail { reason: String },
    Postpone { reason: String, outage: bool, wait: Duration },
}

impl Ending {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Complete => Outcome::Succeeded,
            Self::Release => Outcome::Released,
            Self::Fail { .. } | Self::Postpone { .. } => Outcome::Failed,
        }
    }
}

/// Runs a handler; a panic or a hang is a failure of this run, not the end of the runner.
async fn contained(job: &Job, run: Run) -> Result<()> {
    let handling = AssertUnwindSafe(async { (job.handler())(run).await }).catch_unwind();
    let Ok(handled) = tokio::time::timeout(job.run_timeout(), handling).await else {
        let error = anyhow::anyhow!("the job took longer than {:?}", job.run_timeout());
        return Err(Error::internal(error));
    };
    handled.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        Err(Error::panicked(anyhow::anyhow!("the job panicked: {text}")))
    })
}

/// Something the job needs is away.
fn is_outage(error: &Error) -> bool {
    matches!(error.code().grpc, Code::Unavailable | Code::DeadlineExceeded)
        || error.is(&DEADLINE_EXCEEDED)
}

/// What is kept of an error, for us.
fn reason(error: &Error) -> String {
    let mut text = error.with_causes();
    if text.len() > MAX_ERROR_BYTES {
        let end = (0..=MAX_ERROR_BYTES).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or_default());
    }
    text
}
