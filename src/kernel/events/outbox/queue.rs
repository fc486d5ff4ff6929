//! The outbox as the relay sees it: a queue for each aggregate.
//!
//! Never `position > last`: with several writers a smaller position may commit later, and would be
//! skipped for good. A row is due until it is deleted. It may be claimed when no earlier row of its
//! aggregate is held by another claim or waits for its next attempt.

use std::time::Duration;

use sea_orm::sea_query::{
    Alias, Condition, Expr, ExprTrait as _, Order, Query, SelectStatement, UpdateStatement,
};
use sea_orm::{ConnectionTrait as _, QueryResult};
use uuid::Uuid;

use super::Row;
use super::schema::Outbox;
use crate::kernel::database::Database;
use crate::kernel::error::Result;
use crate::kernel::events::{micros, now_micros};

/// Whether a relay has anything to do: a cheap read, so that an idle relay never takes the write
/// lock.
pub(crate) async fn is_waiting(database: &Database) -> Result<bool> {
    let query = due(now_micros()).limit(1).take();
    Ok(database.connection().query_one(&query).await?.is_some())
}

/// How many events wait to be published.
pub(crate) async fn backlog(database: &Database) -> Result<i64> {
    let query = Query::select()
        .expr_as(Expr::col(Outbox::Position).count(), "waiting")
        .from(Outbox::Table)
        .take();
    let row = database.connection().query_one(&query).await?;
    Ok(row.map(|row| row.try_get("", "waiting")).transpose()?.unwrap_or_default())
}

/// When the oldest event that waits was written, in Unix microseconds.
pub(crate) async fn oldest(database: &Database) -> Result<Option<i64>> {
    let query = Query::select()
        .expr_as(Expr::col(Outbox::CreatedAt).min(), "oldest")
        .from(Outbox::Table)
        .take();
    let row = database.connection().query_one(&query).await?;
    Ok(row.map(|row| row.try_get("", "oldest")).transpose()?.flatten())
}

/// An event that could not be published yet.
pub(crate) struct Failing {
    pub(crate) event_id: String,
    pub(crate) topic: String,
    pub(crate) r#type: String,
    pub(crate) subject: String,
    pub(crate) attempts: u32,
    /// Unix microseconds.
    pub(crate) next_attempt_at: i64,
    pub(crate) reason: String,
}

/// The events that could not be published yet, oldest first.
pub(crate) async fn failing(database: &Database, limit: u64) -> Result<Vec<Failing>> {
    let query = Query::select()
        .expr(Expr::cust("*"))
        .from(Outbox::Table)
        .and_where(Expr::col(Outbox::Attempts).gt(0))
        .order_by(Outbox::Position, Order::Asc)
        .limit(limit)
        .take();
    let read = |row: &QueryResult| -> Result<Failing> {
        Ok(Failing {
            event_id: row.try_get::<Uuid>("", "id")?.to_string(),
            topic: row.try_get("", "topic")?,
            r#type: row.try_get("", "type")?,
            subject: row.try_get("", "aggregateid")?,
            attempts: u32::try_from(row.try_get::<i32>("", "attempts")?).unwrap_or_default(),
            next_attempt_at: row.try_get("", "next_attempt_at")?,
            reason: row.try_get("", "last_error")?,
        })
    };
    database.connection().query_all(&query).await?.iter().map(read).collect()
}

/// Claims up to `limit` rows for `lease`, oldest first. If the relay dies they are due again when
/// the lease has passed.
pub(crate) async fn claim(database: &Database, limit: u64, lease: Duration) -> Result<Vec<Row>> {
    let (claim, now) = (Uuid::now_v7(), now_micros());
    let open = database.begin_own().await?;
    let mut due = Vec::new();
    for row in open.connection().query_all(&due_in_order(now, limit)).await? {
        due.push(row.try_get::<i64>("", "position")?);
    }
    if due.is_empty() {
        return Ok(Vec::new());
    }
    let update = Query::update()
        .table(Outbox::Table)
        .value(Outbox::ClaimedBy, claim)
        .value(Outbox::ClaimedUntil, now.saturating_add(micros(lease)))
        .and_where(Expr::col(Outbox::Position).is_in(due))
        .and_where(Expr::col(Outbox::ClaimedUntil).lte(now))
        .take();
    open.connection().execute(&update).await?;
    let select = Query::select()
        .expr(Expr::cust("*"))
        .from(Outbox::Table)
        .and_where(Expr::col(Outbox::ClaimedBy).eq(claim))
        .order_by(Outbox::Position, Order::Asc)
        .take();
    let rows = open.connection().query_all(&select).await?;
    let rows = rows.iter().map(Row::read).collect::<Result<Vec<_>, _>>()?;
    open.commit().await?;
    Ok(rows)
}

/// Deletes rows that were published.
pub(crate) async fn remove(database: &Database, positions: &[i64]) -> Result<()> {
    let delete = Query::delete()
        .from_table(Outbox::Table)
        .and_where(Expr::col(Outbox::Position).is_in(positions.iter().copied()))
        .take();
    let open = database.begin_own().await?;
    open.connection().execute(&delete).await?;
    open.commit().await
}

/// Gives rows back that were not published.
pub(crate) async fn release(database: &Database, positions: &[i64]) -> Result<()> {
    execute(database, release_of(positions)).await
}

/// Gives a row back whose publishing failed; with it waits the rest of its aggregate.
pub(crate) async fn postpone(
    database: &Database,
    row: &Row,
    wait: Duration,
    reason: &str,
) -> Result<()> {
    let next = now_micros().saturating_add(micros(wait));
    let mut postpone = release_of(&[row.position]);
    postpone
        .value(Outbox::Attempts, row.attempts.saturating_add(1))
        .value(Outbox::NextAttemptAt, next)
        .value(Outbox::LastError, reason);
    execute(database, postpone).await
}

fn release_of(positions: &[i64]) -> UpdateStatement {
    Query::update()
        .table(Outbox::Table)
        .value(Outbox::ClaimedUntil, 0i64)
        .and_where(Expr::col(Outbox::Position).is_in(positions.iter().copied()))
        .take()
}

async fn execute(database: &Database, update: UpdateStatement) -> Result<()> {
    let open = database.begin_own().await?;
    open.connection().execute(&update).await?;
    open.commit().await
}

fn due_in_order(now: i64, limit: u64) -> SelectStatement {
    due(now).order_by(Outbox::Position, Order::Asc).limit(limit).take()
}

/// Rows that may be claimed.
fn due(now: i64) -> SelectStatement {
    let earlier = Alias::new("earlier");
    let of = |column: Outbox| Expr::col((Alias::new("earlier"), column));
    let this = |column: Outbox| Expr::col((Outbox::Table, column));
    let blocked = Query::select()
        .expr(Expr::val(1))
        .from_as(Outbox::Table, earlier)
        .and_where(of(Outbox::Aggregatetype).eq(this(Outbox::Aggregatetype)))
        .and_where(of(Outbox::Aggregateid).eq(this(Outbox::Aggregateid)))
        .and_where(of(Outbox::Position).lt(this(Outbox::Position)))
        .cond_where(
            Condition::any()
                .add(of(Outbox::NextAttemptAt).gt(now))
                .add(of(Outbox::ClaimedUntil).gt(now)),
        )
        .take();
    Query::select()
        .column((Outbox::Table, Outbox::Position))
        .from(Outbox::Table)
        .and_where(this(Outbox::NextAttemptAt).lte(now))
        .and_where(this(Outbox::ClaimedUntil).lte(now))
        .and_where(Expr::not_exists(blocked))
        .take()
}
