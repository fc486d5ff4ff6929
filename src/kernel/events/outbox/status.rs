//! The outbox as operators see it.

use sea_orm::sea_query::{Expr, ExprTrait as _, Order, Query};
use sea_orm::{ConnectionTrait as _, QueryResult};
use uuid::Uuid;

use super::schema::Outbox;
use crate::kernel::database::Database;
use crate::kernel::error::Result;

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
        .column(Outbox::CreatedAt)
        .from(Outbox::Table)
        .order_by(Outbox::Position, Order::Asc)
        .limit(1)
        .take();
    let row = database.connection().query_one(&query).await?;
    Ok(row.map(|row| row.try_get("", "created_at")).transpose()?)
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
