//! Each way a run ends. Every statement is conditional on the epoch of the run's lease: a run that
//! has lost its lease ends nothing.

use std::time::Duration;

use sea_orm::sea_query::{Expr, ExprTrait as _, Query, UpdateStatement};
use sea_orm::{ConnectionTrait as _, DatabaseTransaction};
use uuid::Uuid;

use super::history::{self, Outcome};
use crate::kernel::error::Result;
use crate::kernel::events::{micros, now_micros};

/// The right to run a job, until it lapses or somebody else claims the job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) job_id: Uuid,
    pub(crate) name: String,
    pub(crate) epoch: i64,
    /// A schedule made it due.
    pub(crate) scheduled: bool,
    /// When the run began.
    pub(crate) started_at: i64,
}

/// How a run failed.
pub(super) struct Failure<'a> {
    pub(super) error: &'a str,
    /// Something was away: the attempt does not count.
    pub(super) outage: bool,
}

/// The job is done. `false` when the lease was lost; then nothing is changed.
pub(crate) async fn complete(transaction: &DatabaseTransaction, lease: &Lease) -> Result<bool> {
    let delete = Query::delete()
        .from_table("job")
        .and_where(Expr::col("id").eq(lease.job_id))
        .and_where(Expr::col("epoch").eq(lease.epoch))
        .take();
    if transaction.execute(&delete).await?.rows_affected() == 0 {
        return Ok(false);
    }
    history::append(transaction, lease, Outcome::Succeeded, "").await?;
    forget_earlier(transaction, lease).await?;
    Ok(true)
}

/// The run failed; the job is tried again after `wait`.
pub(super) async fn postpone(
    transaction: &DatabaseTransaction,
    lease: &Lease,
    failure: &Failure<'_>,
    wait: Duration,
) -> Result<bool> {
    let now = now_micros();
    let mut update = given_back(lease);
    update
        .value("run_after", now.saturating_add(micros(wait)))
        .value("failures", Expr::col("failures").add(1))
        .value("failing_since", failing_since(now))
        .value("outage", failure.outage)
        .value("last_error", failure.error);
    if failure.outage {
        update.value("attempts", Expr::col("attempts").sub(1));
    }
    apply(transaction, update, lease, Outcome::Failed, failure.error).await
}

/// The run failed for good.
pub(super) async fn fail(
    transaction: &DatabaseTransaction,
    lease: &Lease,
    failure: &Failure<'_>,
) -> Result<bool> {
    let mut update = given_back(lease);
    update
        .value("state", "failed")
        .value("unique_key", Option::<String>::None)
        .value("failures", Expr::col("failures").add(1))
        .value("failing_since", failing_since(now_micros()))
        .value("outage", false)
        .value("last_error", failure.error);
    if !apply(transaction, update, lease, Outcome::Failed, failure.error).await? {
        return Ok(false);
    }
    forget_earlier(transaction, lease).await?;
    Ok(true)
}

/// Of a schedule only the latest job tells how it fares: one that failed before has nobody to decide on it
/// any more.
async fn forget_earlier(transaction: &DatabaseTransaction, lease: &Lease) -> Result<()> {
    if !lease.scheduled {
        return Ok(());
    }
    let earlier = Query::delete()
        .from_table("job")
        .and_where(Expr::col("name").eq(lease.name.as_str()))
        .and_where(Expr::col("scheduled").eq(true))
        .and_where(Expr::col("state").eq("failed"))
        .and_where(Expr::col("id").ne(lease.job_id))
        .take();
    transaction.execute(&earlier).await?;
    Ok(())
}

/// The process stops: the job is given back, due at once, and the attempt does not count.
pub(super) async fn release(transaction: &DatabaseTransaction, lease: &Lease) -> Result<bool> {
    let mut update = given_back(lease);
    update.value("run_after", now_micros()).value("attempts", Expr::col("attempts").sub(1));
    apply(transaction, update, lease, Outcome::Released, "").await
}

fn given_back(lease: &Lease) -> UpdateStatement {
    Query::update()
        .table("job")
        .value("owner", Option::<Uuid>::None)
        .value("lease_until", 0i64)
        .and_where(Expr::col("id").eq(lease.job_id))
        .and_where(Expr::col("epoch").eq(lease.epoch))
        .take()
}

/// Since when it fails: the first failure stays named until a success.
pub(super) fn failing_since(now: i64) -> Expr {
    Expr::case(Expr::col("failing_since").eq(0i64), Expr::val(now))
        .finally(Expr::col("failing_since"))
        .into()
}

async fn apply(
    transaction: &DatabaseTransaction,
    update: UpdateStatement,
    lease: &Lease,
    outcome: Outcome,
    error: &str,
) -> Result<bool> {
    if transaction.execute(&update).await?.rows_affected() == 0 {
        return Ok(false);
    }
    history::append(transaction, lease, outcome, error).await?;
    Ok(true)
}
