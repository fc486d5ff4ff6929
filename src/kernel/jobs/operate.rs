//! What an operator sees of jobs, and may do about them.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait as _, Order, Query, UpdateStatement};
use sea_orm::{ConnectionTrait as _, QueryResult};

use super::enqueue::JobId;
use super::history::{self, PastRun};
use super::queue;
use crate::kernel::database::Database;
use crate::kernel::error::{Error, FAILED_PRECONDITION, Result};
use crate::kernel::events::now_micros;

/// The jobs of a database.
#[derive(Clone, Debug)]
pub struct Jobs {
    database: Database,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// It waits: for its time, its next attempt, or a runner.
    Waiting,
    /// A process has a lease on it.
    Running,
    /// It was tried as often as it may be.
    Failed,
}

/// A job that is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownJob {
    /// Its id.
    pub id: JobId,
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub state: JobState,
    /// Its key, if it has one and has not failed.
    pub unique_key: Option<String>,
    /// When it is due.
    pub due_time: DateTime<Utc>,
    /// When it was enqueued.
    pub create_time: DateTime<Utc>,
    /// Runs that count.
    pub attempts: u32,
    /// Since when it fails; `None` while it does not.
    pub failing_since: Option<DateTime<Utc>>,
    /// Why its last run failed.
    pub last_error: String,
}

impl Jobs {
    /// The jobs of this database.
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// Jobs that are not done, those due for longest first; of one name only, if stated.
    pub async fn list(&self, name: Option<&str>, limit: u64) -> Result<Vec<KnownJob>> {
        let query = select_named(name).order_by("run_after", Order::Asc).limit(limit).take();
        self.read(&query).await
    }

    /// The job of this name with this key; one that has failed for good has none.
    pub async fn find(&self, name: &str, key: &str) -> Result<Option<KnownJob>> {
        let query = select()
            .and_where(Expr::col("name").eq(name))
            .and_where(Expr::col("unique_key").eq(key))
            .take();
        Ok(self.read(&query).await?.pop())
    }

    /// Jobs that have failed for good, oldest first; of one name only, if stated.
    pub async fn list_failed(&self, name: Option<&str>, limit: u64) -> Result<Vec<KnownJob>> {
        let query = select_named(name)
            .and_where(Expr::col("state").eq("failed"))
            .order_by("created_at", Order::Asc)
            .limit(limit)
            .take();
        self.read(&query).await
    }

    /// The latest runs of a job, latest first.
    pub async fn history(&self, name: &str, limit: u64) -> Result<Vec<PastRun>> {
        history::list(&self.database, name, limit).await
    }

    /// Makes a job due at once, one that has failed for good too; its attempts begin anew. Refused
    /// while it runs.
    pub async fn retry(&self, id: JobId) -> Result<()> {
        let now = now_micros();
        let update = Query::update()
            .table("job")
            .value("state", "waiting")
            .value("run_after", now)
            .value("attempts", 0i32)
            .value("failures", 0i32)
            .and_where(Expr::col("id").eq(id))
            .and_where(Expr::col("lease_until").lte(now))
            .take();
        if !self.change(&update).await? {
            return Err(self.refusal(id).await?);
        }
        self.database.job_enqueued().notify_one();
        Ok(())
    }

    /// Forgets a job. Refused while it runs.
    pub async fn discard(&self, id: JobId) -> Result<()> {
        let delete = Query::delete()
            .from_table("job")
            .and_where(Expr::col("id").eq(id))
            .and_where(Expr::col("lease_until").lte(now_micros()))
            .take();
        let open = self.database.begin_own().await?;
        let removed = open.connection().execute(&delete).await?.rows_affected() == 1;
        open.commit().await?;
        if removed { Ok(()) } else { Err(self.refusal(id).await?) }
    }

    /// Makes due what waits because something was away. Returns how many jobs that are.
    pub(crate) async fn hasten(&self) -> Result<u64> {
        let hastened = queue::hasten(&self.database).await?;
        if hastened > 0 {
            self.database.job_enqueued().notify_one();
        }
        Ok(hastened)
    }

    async fn change(&self, update: &UpdateStatement) -> Result<bool> {
        let open = self.database.begin_own().await?;
        let changed = open.connection().execute(update).await?.rows_affected() == 1;
        open.commit().await?;
        Ok(changed)
    }

    async fn refusal(&self, id: JobId) -> Result<Error> {
        let query = select().and_where(Expr::col("id").eq(id)).take();
        Ok(match self.read(&query).await?.is_empty() {
            true => Error::not_found("job", id),
            false => Error::new(FAILED_PRECONDITION, format!("job {id} runs; wait until it ends")),
        })
    }

    async fn read(&self, query: &sea_orm::sea_query::SelectStatement) -> Result<Vec<KnownJob>> {
        let now = now_micros();
        let rows = self.database.connection().query_all(query).await?;
        rows.iter().map(|row| known(row, now)).collect()
    }
}

fn select() -> sea_orm::sea_query::SelectStatement {
    Query::select()
        .columns(["id", "name", "state", "unique_key", "run_after", "created_at", "attempts"])
        .columns(["failing_since", "last_error", "lease_until"])
        .from("job")
        .take()
}

/// Those of one name, or all.
fn select_named(name: Option<&str>) -> sea_orm::sea_query::SelectStatement {
    select().and_where_option(name.map(|name| Expr::col("name").eq(name))).take()
}

fn known(row: &QueryResult, now: i64) -> Result<KnownJob> {
    let micros = |column: &str| -> Result<i64> { Ok(row.try_get("", column)?) };
    let time = |micros: i64| DateTime::from_timestamp_micros(micros).unwrap_or_default();
    let state: String = row.try_get("", "state")?;
    let attempts: i32 = row.try_get("", "attempts")?;
    Ok(KnownJob {
        id: row.try_get("", "id")?,
        name: row.try_get("", "name")?,
        state: match state.as_str() {
            "failed" => JobState::Failed,
            _ if micros("lease_until")? > now => JobState::Running,
            _ => JobState::Waiting,
        },
        unique_key: row.try_get("", "unique_key")?,
        due_time: time(micros("run_after")?),
        create_time: time(micros("created_at")?),
        attempts: u32::try_from(attempts).unwrap_or_default(),
        failing_since: Some(micros("failing_since")?).filter(|since| *since > 0).map(time),
        last_error: row.try_get("", "last_error")?,
    })
}
