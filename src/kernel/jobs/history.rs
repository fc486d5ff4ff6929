//! What ran: one row for each run that has ended, bounded in age and number.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait as _, Order, Query};
use sea_orm::{ConnectionTrait, QueryResult};

use super::enqueue::JobId;
use super::outcome::Lease;
use crate::kernel::database::Database;
use crate::kernel::error::{Error, Result};
use crate::kernel::events::{micros, now_micros};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The job is done.
    Succeeded,
    /// It returned an error, panicked or took too long.
    Failed,
    /// Its process died or hung; the lease lapsed.
    Lost,
    /// Its process drained, and gave the job back.
    Released,
}

impl Outcome {
    /// Its name in rows and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "ok",
            Self::Failed => "failed",
            Self::Lost => "lost",
            Self::Released => "released",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Succeeded, Self::Failed, Self::Lost, Self::Released]
            .into_iter()
            .find(|outcome| outcome.as_str() == text)
    }
}

/// A run that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastRun {
    /// The job.
    pub job_id: JobId,
    /// Its name.
    pub name: String,
    /// The epoch of its lease: which claim of the job it was.
    pub epoch: i64,
    /// When it began.
    pub start_time: DateTime<Utc>,
    /// When it ended, or was found lost.
    pub end_time: DateTime<Utc>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, where it failed.
    pub error: String,
}

pub(super) async fn append(
    connection: &impl ConnectionTrait,
    lease: &Lease,
    outcome: Outcome,
    error: &str,
) -> Result<()> {
    let statement = Query::insert()
        .into_table("job_run")
        .columns(["job_id", "name", "epoch", "started_at", "finished_at", "outcome", "error"])
        .values([
            lease.job_id.into(),
            lease.name.as_str().into(),
            lease.epoch.into(),
            lease.started_at.into(),
            now_micros().into(),
            outcome.as_str().into(),
            error.into(),
        ])
        .map_err(Error::internal)?
        .take();
    connection.execute(&statement).await?;
    Ok(())
}

/// The latest runs of the jobs with this name, latest first.
pub(super) async fn list(database: &Database, name: &str, limit: u64) -> Result<Vec<PastRun>> {
    let query = Query::select()
        .columns(["job_id", "name", "epoch", "started_at", "finished_at", "outcome", "error"])
        .from("job_run")
        .and_where(Expr::col("name").eq(name))
        .order_by("id", Order::Desc)
        .limit(limit)
        .take();
    database.connection().query_all(&query).await?.iter().map(read).collect()
}

/// Forgets runs that ended longer ago than `retention`, and all but about the latest `most`.
pub(super) async fn prune(database: &Database, retention: Duration, most: u64) -> Result<u64> {
    let newest = Query::select().expr_as(Expr::col("id").max(), "newest").from("job_run").take();
    let newest = database.connection().query_one(&newest).await?;
    let newest: Option<i64> = newest.map(|row| row.try_get("", "newest")).transpose()?.flatten();
    let Some(newest) = newest else { return Ok(0) };
    let oldest_kept = newest.saturating_sub(i64::try_from(most).unwrap_or(i64::MAX));
    let before = now_micros().saturating_sub(micros(retention));
    let delete = Query::delete()
        .from_table("job_run")
        .and_where(Expr::col("finished_at").lt(before).or(Expr::col("id").lte(oldest_kept)))
        .take();
    let open = database.begin_own().await?;
    let removed = open.connection().execute(&delete).await?.rows_affected();
    open.commit().await?;
    Ok(removed)
}

fn read(row: &QueryResult) -> Result<PastRun> {
    let time = |column: &str| -> Result<DateTime<Utc>> {
        let micros: i64 = row.try_get("", column)?;
        Ok(DateTime::from_timestamp_micros(micros).unwrap_or_default())
    };
    let outcome: String = row.try_get("", "outcome")?;
    Ok(PastRun {
        job_id: row.try_get("", "job_id")?,
        name: row.try_get("", "name")?,
        epoch: row.try_get("", "epoch")?,
        start_time: time("started_at")?,
        end_time: time("finished_at")?,
        outcome: Outcome::parse(&outcome).ok_or_else(|| {
            Error::internal(anyhow::anyhow!("`{outcome}` is no outcome of a run"))
        })?,
        error: row.try_get("", "error")?,
    })
}
