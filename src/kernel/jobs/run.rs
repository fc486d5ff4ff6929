//! One run of a job, as its handler sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::enqueue::JobId;
use super::outcome::Lease;
use crate::kernel::database::{Ambient, Completion, Database, Gate};
use crate::kernel::error::{ABORTED, Error, INVALID_ARGUMENT, Result};

/// One run of a job. Clones are the same run.
#[derive(Clone)]
pub struct Run(Arc<Inner>);

struct Inner {
    database: Database,
    lease: Lease,
    payload: String,
    attempt: u32,
    stopping: CancellationToken,
    completed: AtomicBool,
}

impl Run {
    pub(super) fn new(
        database: Database,
        lease: Lease,
        payload: String,
        attempt: u32,
        stopping: CancellationToken,
    ) -> Self {
        let completed = AtomicBool::new(false);
        Self(Arc::new(Inner { database, lease, payload, attempt, stopping, completed }))
    }

    /// Id of the job: the same in every run of it.
    pub fn id(&self) -> JobId {
        self.0.lease.job_id
    }

    /// Which attempt this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.0.attempt
    }

    /// What the job was enqueued with. A payload of another shape is refused for good.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(&self.0.payload).map_err(|error| {
            Error::new(INVALID_ARGUMENT, "the payload is not what the job expects").because(error)
        })
    }

    /// Cancelled when the process drains. Work that takes long looks at it between its parts and
    /// ends with an error: the job is given back, and begins again elsewhere.
    pub fn stopping(&self) -> &CancellationToken {
        &self.0.stopping
    }

    /// Does work that commits together with the completion of the job, or not at all: its effect
    /// happens once. Inside, `Database::begin` joins the one transaction, which begins when first
    /// asked for; what calls other services comes before. After it the job is done: whatever the
    /// handler returns then is not recorded.
    pub async fn once(&self, work: impl Future<Output = Result<()>>) -> Result<()> {
        let gate = Gate::Job(self.0.lease.clone());
        match Ambient::run(&self.0.database, gate, work).await? {
            Completion::Handled => {
                self.0.completed.store(true, Ordering::Release);
                Ok(())
            }
            Completion::Duplicate => Err(Error::new(ABORTED, "the lease of the job was lost")),
        }
    }

    /// Whether [`once`](Self::once) has completed it.
    pub(super) fn is_completed(&self) -> bool {
        self.0.completed.load(Ordering::Acquire)
    }

    pub(super) fn lease(&self) -> &Lease {
        &self.0.lease
    }
}
