//! The queue: what is due, and claiming it.
//!
//! On PostgreSQL a claim locks the rows it takes and skips those that another claim holds; on SQLite
//! its transaction excludes every other writer. Either way the epoch of a claimed row grows.

use std::time::Duration;

use sea_orm::sea_query::{
    Expr, ExprTrait as _, LockBehavior, LockType, Order, Query, SelectStatement,
};
use sea_orm::{ConnectionTrait as _, DatabaseTransaction, QueryResult};
use uuid::Uuid;

use super::history::{self, Outcome};
use super::outcome::{self, Failure, Lease};
use crate::kernel::database::Database;
use crate::kernel::error::Result;
use crate::kernel::events::{Origin, micros, now_micros};
use crate::kernel::telemetry::propagation::TraceContext;

/// What is written of a run whose process died or hung.
const LOST: &str = "its process died or hung: the lease lapsed";

/// Who claims.
pub(super) struct Claimant<'a> {
    /// Id of the runner.
    pub(super) owner: Uuid,
    /// Names of the jobs it knows; others wait for a version that does.
    pub(super) names: &'a [String],
    pub(super) lease: Duration,
    /// How often a job of this name may try; `None` without end.
    pub(super) allowed: &'a (dyn Fn(&str) -> Option<u32> + Send + Sync),
}

/// A job that was claimed.
#[derive(Clone, Debug)]
pub(super) struct Claimed {
    pub(super) lease: Lease,
    pub(super) payload: String,
    /// Runs that count, this one included.
    pub(super) attempts: u32,
    pub(super) failures: u32,
    pub(super) origin: Origin,
    pub(super) trace: TraceContext,
}

/// Whether anything may be claimed: a cheap read, so that an idle runner never takes the write lock.
pub(super) async fn is_waiting(database: &Database, names: &[String]) -> Result<bool> {
    let query = due(names, now_micros()).expr(Expr::val(1)).limit(1).take();
    Ok(database.connection().query_one(&query).await?.is_some())
}

/// Claims up to `limit` jobs, those due for longest first.
pub(super) async fn claim(
    database: &Database,
    claimant: &Claimant<'_>,
    limit: u64,
) -> Result<Vec<Claimed>> {
    let now = now_micros();
    let select = due(claimant.names, now)
        .columns(["id", "name", "payload", "attempts", "failures", "failing_since", "epoch"])
        .columns([
            "owner",
            "scheduled",
            "started_at",
            "actor",
            "request_id",
            "traceparent",
            "tracestate",
        ])
        .order_by("run_after", Order::Asc)
        .limit(limit)
        .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
        .take();
    let open = database.begin_own().await?;
    let mut claimed = Vec::new();
    for row in open.connection().query_all(&select).await? {
        // What somebody else has written into the table must not hold up the rest of the queue.
        let Ok(found) = Found::read(&row).inspect_err(|error| {
            tracing::error!(%error, "a job cannot be read and is passed over");
        }) else {
            continue;
        };
        claimed.extend(take(open.connection(), claimant, found, now).await?);
    }
    open.commit().await?;
    Ok(claimed)
}

/// Since when the job that is due for longest waits for a runner; `None` when none is due. Jobs that
/// nobody knows are among them.
pub(super) async fn oldest_due(database: &Database) -> Result<Option<i64>> {
    let now = now_micros();
    let query = unclaimed(now).expr_as(Expr::col("run_after").min(), "oldest").take();
    let row = database.connection().query_one(&query).await?;
    Ok(row.map(|row| row.try_get("", "oldest")).transpose()?.flatten())
}

/// How many jobs have failed for good.
pub(super) async fn count_failed(database: &Database) -> Result<i64> {
    let query = Query::select()
        .expr_as(Expr::col("id").count(), "failed")
        .from("job")
        .and_where(Expr::col("state").eq("failed"))
        .take();
    let row = database.connection().query_one(&query).await?;
    Ok(row.map(|row| row.try_get("", "failed")).transpose()?.unwrap_or_default())
}

/// Makes jobs due at once that wait because something was away. Their back-off begins anew.
pub(super) async fn hasten(database: &Database) -> Result<u64> {
    let now = now_micros();
    let update = Query::update()
        .table("job")
        .value("run_after", now)
        .value("failures", 0i32)
        .and_where(Expr::col("state").eq("waiting"))
        .and_where(Expr::col("outage").eq(true))
        .and_where(Expr::col("lease_until").lte(now))
        .take();
    let open = database.begin_own().await?;
    let hastened = open.connection().execute(&update).await?.rows_affected();
    open.commit().await?;
    Ok(hastened)
}

/// Prolongs the leases of a runner, and returns those it still has: id and epoch.
pub(super) async fn prolong(
    database: &Database,
    owner: Uuid,
    lease: Duration,
) -> Result<Vec<(Uuid, i64)>> {
    let update = Query::update()
        .table("job")
        .value("lease_until", now_micros().saturating_add(micros(lease)))
        .and_where(Expr::col("owner").eq(owner))
        .take();
    let held = Query::select()
        .columns(["id", "epoch"])
        .from("job")
        .and_where(Expr::col("owner").eq(owner))
        .take();
    let open = database.begin_own().await?;
    open.connection().execute(&update).await?;
    let rows = open.connection().query_all(&held).await?;
    open.commit().await?;
    rows.iter().map(|row| Ok((row.try_get("", "id")?, row.try_get("", "epoch")?))).collect()
}

fn due(names: &[String], now: i64) -> SelectStatement {
    unclaimed(now).and_where(Expr::col("name").is_in(names.iter().map(String::as_str))).take()
}

fn unclaimed(now: i64) -> SelectStatement {
    Query::select()
        .from("job")
        .and_where(Expr::col("state").eq("waiting"))
        .and_where(Expr::col("run_after").lte(now))
        .and_where(Expr::col("lease_until").lte(now))
        .take()
}

/// A row that is due.
struct Found {
    claimed: Claimed,
    /// Somebody had claimed it and never ended the run.
    was_lost: bool,
    failing_since: i64,
}

impl Found {
    fn read(row: &QueryResult) -> Result<Self> {
        let owner: Option<Uuid> = row.try_get("", "owner")?;
        let lease = Lease {
            job_id: row.try_get("", "id")?,
            name: row.try_get("", "name")?,
            epoch: row.try_get("", "epoch")?,
            scheduled: row.try_get("", "scheduled")?,
            started_at: row.try_get("", "started_at")?,
        };
        let count = |column: &str| -> Result<u32> {
            let count: i32 = row.try_get("", column)?;
            Ok(u32::try_from(count).unwrap_or_default())
        };
        Ok(Self {
            claimed: Claimed {
                lease,
                payload: row.try_get("", "payload")?,
                attempts: count("attempts")?,
                failures: count("failures")?,
                origin: Origin {
                    actor: row.try_get("", "actor")?,
                    request_id: row.try_get("", "request_id")?,
                },
                trace: TraceContext {
                    parent: row.try_get("", "traceparent")?,
                    state: row.try_get("", "tracestate")?,
                },
            },
            was_lost: owner.is_some(),
            failing_since: row.try_get("", "failing_since")?,
        })
    }
}

/// Takes a row over under the next epoch; `None` if its lost run was the last that it had.
async fn take(
    transaction: &DatabaseTransaction,
    claimant: &Claimant<'_>,
    found: Found,
    now: i64,
) -> Result<Option<Claimed>> {
    let Found { mut claimed, was_lost, failing_since } = found;
    if was_lost {
        history::append(transaction, &claimed.lease, Outcome::Lost, LOST).await?;
        let allowed = (claimant.allowed)(&claimed.lease.name);
        if allowed.is_some_and(|allowed| claimed.attempts >= allowed) {
            let failure = Failure { error: LOST, outage: false };
            outcome::fail(transaction, &claimed.lease, &failure).await?;
            return Ok(None);
        }
    }
    let mut update = Query::update();
    update
        .table("job")
        .value("epoch", claimed.lease.epoch + 1)
        .value("owner", claimant.owner)
        .value("started_at", now)
        .value("lease_until", now.saturating_add(micros(claimant.lease)))
        .value("attempts", Expr::col("attempts").add(1))
        .and_where(Expr::col("id").eq(claimed.lease.job_id))
        .and_where(Expr::col("epoch").eq(claimed.lease.epoch));
    if was_lost {
        let since = if failing_since == 0 { now } else { failing_since };
        update.value("last_error", LOST).value("failing_since", since);
    }
    transaction.execute(&update).await?;
    claimed.lease.epoch += 1;
    claimed.lease.started_at = now;
    claimed.attempts += 1;
    Ok(Some(claimed))
}
