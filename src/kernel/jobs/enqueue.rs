//! Putting a job into the queue, in the transaction that causes it.

use std::time::{Duration, SystemTime};

use sea_orm::ConnectionTrait as _;
use sea_orm::sea_query::{OnConflict, Query};
use serde::Serialize;
use uuid::Uuid;

use crate::kernel::database::Open;
use crate::kernel::error::{Error, Result};
use crate::kernel::events::{Origin, micros, now_micros};
use crate::kernel::telemetry::propagation::TraceContext;

/// Id of a job.
pub type JobId = Uuid;

/// A job to be done: which, with what, and from when on.
///
/// ```
/// # use mainstay::kernel::{Result, database::Transaction, jobs::NewJob};
/// # async fn example(transaction: &Transaction) -> Result<()> {
/// let job = NewJob::new("send-welcome", "u1")?.unique("u1");
/// transaction.enqueue(job).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct NewJob {
    name: String,
    payload: String,
    unique_key: Option<String>,
    run_after: i64,
}

impl NewJob {
    /// A job that is due at once. The payload is kept as JSON; keep ids in it rather than personal
    /// data, which would outlive its erasure elsewhere.
    pub fn new(name: impl Into<String>, payload: impl Serialize) -> Result<Self> {
        let payload = serde_json::to_string(&payload).map_err(Error::internal)?;
        Ok(Self { name: name.into(), payload, unique_key: None, run_after: 0 })
    }

    /// Does nothing while a job of this name with this key waits or runs. The key is free again once
    /// that one is done or has failed for good.
    pub fn unique(mut self, key: impl Into<String>) -> Self {
        self.unique_key = Some(key.into());
        self
    }

    /// Not before so long from now.
    pub fn after(mut self, wait: Duration) -> Self {
        self.run_after = now_micros().saturating_add(micros(wait));
        self
    }

    /// Not before this time.
    pub fn at(mut self, time: SystemTime) -> Self {
        self.run_after = chrono::DateTime::<chrono::Utc>::from(time).timestamp_micros();
        self
    }
}

/// Writes the row; `None` when its key was taken.
pub(crate) async fn append(open: &Open, job: NewJob) -> Result<Option<JobId>> {
    insert(open, job, Origin::current(), false).await
}

/// Writes the row of a scheduled run, unless the one before has not ended.
pub(super) async fn append_scheduled(open: &Open, name: &str, key: &str) -> Result<()> {
    let job = NewJob::new(name, ())?.unique(key);
    insert(open, job, Origin::default(), true).await.map(drop)
}

async fn insert(
    open: &Open,
    job: NewJob,
    origin: Origin,
    scheduled: bool,
) -> Result<Option<JobId>> {
    let (id, now) = (Uuid::now_v7(), now_micros());
    let trace = TraceContext::current();
    let request_id = if origin.request_id.is_empty() { id.to_string() } else { origin.request_id };
    let statement = Query::insert()
        .into_table("job")
        .columns([
            "id",
            "name",
            "unique_key",
            "payload",
            "scheduled",
            "state",
            "run_after",
            "created_at",
            "actor",
            "request_id",
            "traceparent",
            "tracestate",
        ])
        .values([
            id.into(),
            job.name.into(),
            job.unique_key.into(),
            job.payload.into(),
            scheduled.into(),
            "waiting".into(),
            job.run_after.max(now).into(),
            now.into(),
            origin.actor.into(),
            request_id.into(),
            trace.parent.into(),
            trace.state.into(),
        ])
        .map_err(Error::internal)?
        .on_conflict(OnConflict::columns(["name", "unique_key"]).do_nothing().to_owned())
        .take();
    let added = open.connection().execute(&statement).await?.rows_affected() == 1;
    if added {
        open.note_enqueued();
    }
    Ok(added.then_some(id))
}
