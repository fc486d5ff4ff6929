//! What an operator sees of sagas, and may do about them.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{
    Condition, Expr, ExprTrait as _, JoinType, Order, Query, SelectStatement,
};
use sea_orm::{ConnectionTrait as _, QueryResult};
use tokio::time::Instant;

use super::job_name;
use crate::kernel::database::Database;
use crate::kernel::error::{Error, FAILED_PRECONDITION, NOT_FOUND, Result};
use crate::kernel::events::{micros, now_micros};
use crate::kernel::jobs::{Jobs, NewJob};

/// What is written of a saga that an operator has aborted.
const ABORTED_BY_OPERATOR: &str = "aborted by an operator";

/// How often [`Sagas::wait`] looks.
const WAIT_INTERVAL: Duration = Duration::from_millis(10);

/// The state of a saga.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SagaState {
    /// Its steps are being done.
    Running,
    /// Its steps are being undone, the last one first.
    Compensating,
    /// All is done.
    Completed,
    /// All is undone.
    Compensated,
}

impl SagaState {
    /// Its name in rows and lists.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Compensating => "compensating",
            Self::Completed => "completed",
            Self::Compensated => "compensated",
        }
    }

    /// Whether nothing is left to do.
    pub fn is_finished(self) -> bool {
        matches!(self, Self::Completed | Self::Compensated)
    }

    pub(super) fn parse(text: &str) -> Result<Self> {
        [Self::Running, Self::Compensating, Self::Completed, Self::Compensated]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| Error::internal(anyhow::anyhow!("`{text}` is no state of a saga")))
    }
}

/// Where a saga stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: String,
    /// Its state.
    pub state: SagaState,
    /// The step that is to be done, or undone; empty before the first.
    pub step: String,
    /// Whether it can still be aborted.
    pub reversible: bool,
    /// Why it turned back; empty unless it did.
    pub reason: String,
    /// When it began.
    pub create_time: DateTime<Utc>,
    /// Since when its step fails; `None` while it does not.
    pub failing_since: Option<DateTime<Utc>>,
    /// Why its step failed last; empty while it does not.
    pub last_error: String,
}

/// The sagas of a database.
#[derive(Clone, Debug)]
pub struct Sagas {
    database: Database,
}

impl Sagas {
    /// The sagas of this database.
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// Where a saga stands; `None` when there is none, or it finished long ago.
    pub async fn find(&self, name: &str, id: &str) -> Result<Option<Progress>> {
        let query = select().and_where(of("name").eq(name)).and_where(of("id").eq(id)).take();
        self.database.connection().query_one(&query).await?.as_ref().map(progress).transpose()
    }

    /// Waits until a saga stands where `is_there` says, for so long at most; `false` if it does not
    /// by then. Whichever replica moves it on is seen.
    pub async fn wait(
        &self,
        name: &str,
        id: &str,
        patience: Duration,
        is_there: impl Fn(&Progress) -> bool,
    ) -> Result<bool> {
        let deadline = Instant::now() + patience;
        loop {
            if self.find(name, id).await?.is_none_or(|progress| is_there(&progress)) {
                return Ok(true);
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
            tokio::time::sleep(WAIT_INTERVAL).await;
        }
    }

    /// Sagas whose step or compensation has been failing for longer than this, or which nothing moves
    /// on; the oldest first.
    pub async fn list_stuck(&self, longer_than: Duration, limit: u64) -> Result<Vec<Progress>> {
        let query = stuck(select(), longer_than)
            .order_by(("saga", "created_at"), Order::Asc)
            .limit(limit)
            .take();
        self.database.connection().query_all(&query).await?.iter().map(progress).collect()
    }

    /// How many sagas are stuck.
    pub(crate) async fn count_stuck(&self, longer_than: Duration) -> Result<i64> {
        let counted = joined().expr_as(of("id").count(), "stuck").take();
        let query = stuck(counted, longer_than);
        let row = self.database.connection().query_one(&query).await?;
        Ok(row.map(|row| row.try_get("", "stuck")).transpose()?.unwrap_or_default())
    }

    /// Makes a saga's step due at once, with its back-off begun anew; one whose job was lost gets a
    /// new one. A step that runs just now is left alone.
    pub async fn resume(&self, name: &str, id: &str) -> Result<()> {
        let found = self.find(name, id).await?.ok_or_else(|| Error::not_found("saga", id))?;
        if found.state.is_finished() {
            return Err(refused(id, "has finished"));
        }
        self.move_on(name, id).await
    }

    /// Turns a saga back from where it stands. Refused where a step cannot be undone, and once it
    /// turns back anyway.
    pub async fn abort(&self, name: &str, id: &str) -> Result<()> {
        let update = Query::update()
            .table("saga")
            .value("state", SagaState::Compensating.as_str())
            .value("reason", ABORTED_BY_OPERATOR)
            .value("updated_at", now_micros())
            .and_where(Expr::col("name").eq(name))
            .and_where(Expr::col("id").eq(id))
            .and_where(Expr::col("state").eq(SagaState::Running.as_str()))
            .and_where(Expr::col("reversible").eq(true))
            .take();
        let open = self.database.begin_own().await?;
        let aborted = open.connection().execute(&update).await?.rows_affected() == 1;
        open.commit().await?;
        if !aborted {
            let found = self.find(name, id).await?.ok_or_else(|| Error::not_found("saga", id))?;
            return Err(refused(
                id,
                match found.state {
                    SagaState::Running => "has passed a step that cannot be undone",
                    _ => "does not run",
                },
            ));
        }
        self.move_on(name, id).await
    }

    async fn move_on(&self, name: &str, id: &str) -> Result<()> {
        let jobs = Jobs::new(self.database.clone());
        let job = job_name(name);
        if let Some(known) = jobs.find(&job, id).await? {
            return match jobs.retry(known.id).await {
                // It runs, or has run meanwhile and left the saga's next step to another job.
                Err(error) if error.is(&FAILED_PRECONDITION) || error.is(&NOT_FOUND) => Ok(()),
                other => other,
            };
        }
        let transaction = self.database.begin().await?;
        transaction.enqueue(NewJob::new(job, id)?.unique(id)).await?;
        transaction.commit().await
    }
}

/// Forgets sagas that finished longer ago than `retention`.
pub(crate) async fn prune(database: &Database, retention: Duration) -> Result<()> {
    let before = now_micros().saturating_sub(micros(retention));
    let delete = Query::delete()
        .from_table("saga")
        .and_where(Expr::col("finished_at").gt(0i64))
        .and_where(Expr::col("finished_at").lt(before))
        .take();
    let open = database.begin_own().await?;
    open.connection().execute(&delete).await?;
    open.commit().await
}

fn of(column: &'static str) -> Expr {
    Expr::col(("saga", column))
}

/// Sagas, each with the job that moves it on.
fn joined() -> SelectStatement {
    let moves = Expr::col(("job", "unique_key")).equals(("saga", "id"));
    let named = Expr::col(("job", "name")).like("saga.%");
    Query::select().from("saga").join(JoinType::LeftJoin, "job", moves.and(named)).take()
}

fn select() -> SelectStatement {
    joined()
        .columns([
            ("saga", "name"),
            ("saga", "id"),
            ("saga", "state"),
            ("saga", "step"),
            ("saga", "reversible"),
            ("saga", "reason"),
            ("saga", "created_at"),
            ("job", "failing_since"),
            ("job", "last_error"),
        ])
        .take()
}

fn stuck(mut query: SelectStatement, longer_than: Duration) -> SelectStatement {
    let before = now_micros().saturating_sub(micros(longer_than));
    let fails = Condition::all()
        .add(Expr::col(("job", "failing_since")).gt(0i64))
        .add(Expr::col(("job", "failing_since")).lte(before));
    let forgotten = Expr::col(("job", "id")).is_null();
    query
        .and_where(of("finished_at").eq(0i64))
        .cond_where(Condition::any().add(fails).add(forgotten))
        .take()
}

fn progress(row: &QueryResult) -> Result<Progress> {
    let time = |micros: i64| DateTime::from_timestamp_micros(micros).unwrap_or_default();
    let state: String = row.try_get("", "state")?;
    let failing_since: Option<i64> = row.try_get("", "failing_since")?;
    let last_error: Option<String> = row.try_get("", "last_error")?;
    Ok(Progress {
        name: row.try_get("", "name")?,
        id: row.try_get("", "id")?,
        state: SagaState::parse(&state)?,
        step: row.try_get("", "step")?,
        reversible: row.try_get("", "reversible")?,
        reason: row.try_get("", "reason")?,
        create_time: time(row.try_get("", "created_at")?),
        failing_since: failing_since.filter(|since| *since > 0).map(time),
        last_error: last_error.unwrap_or_default(),
    })
}

fn refused(id: &str, why: &str) -> Error {
    Error::new(FAILED_PRECONDITION, format!("saga {id} {why}"))
}
