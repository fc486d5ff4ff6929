//! Events that are delivered once more to one consumer group, without the broker: dead letters that
//! are replayed, and records that an operator hands to a group again.
//!
//! A queue in the consuming service's database. A process of the group claims a row for a lease,
//! handles the event as any other (in the lane of its aggregate, behind its inbox row), and deletes
//! the row. If it dies in between, the lease passes and the event is delivered again.

use std::time::Duration;

use prost::Message as _;
use sea_orm::sea_query::{Expr, ExprTrait as _, OnConflict, Order, Query};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DeriveIden};

use super::{dead_letter, micros, now_micros};
use crate::kernel::database::Database;
use crate::kernel::error::{Error, Result};
use crate::kernel::proto::events::Envelope;

/// For how long a row is claimed.
pub(crate) const LEASE: Duration = Duration::from_secs(30);

/// The queue.
#[derive(DeriveIden)]
pub(crate) enum Redeliveries {
    Table,
    /// Order of the queue.
    Position,
    Consumer,
    EventId,
    /// The event, in protobuf encoding.
    Envelope,
    /// Until when a process has it, in Unix microseconds.
    ClaimedUntil,
    /// The session of that process.
    ClaimedBy,
}

/// Queues an event for a consumer; one that waits already stays where it is.
pub(crate) async fn insert(
    transaction: &DatabaseTransaction,
    consumer: &str,
    event: &Envelope,
) -> Result<()> {
    let key = [Redeliveries::Consumer, Redeliveries::EventId];
    let statement = Query::insert()
        .into_table(Redeliveries::Table)
        .columns([Redeliveries::Consumer, Redeliveries::EventId, Redeliveries::Envelope])
        .values([consumer.into(), event.id.as_str().into(), event.encode_to_vec().into()])
        .map_err(Error::internal)?
        .on_conflict(OnConflict::columns(key).do_nothing().to_owned())
        .take();
    transaction.execute(&statement).await?;
    Ok(())
}

/// Takes an event from the queue.
pub(crate) async fn remove(
    transaction: &DatabaseTransaction,
    consumer: &str,
    event_id: &str,
) -> Result<()> {
    let statement = Query::delete()
        .from_table(Redeliveries::Table)
        .and_where(Expr::col(Redeliveries::Consumer).eq(consumer))
        .and_where(Expr::col(Redeliveries::EventId).eq(event_id))
        .take();
    transaction.execute(&statement).await?;
    Ok(())
}

/// The event was handled: it leaves the queue, and if it was a dead letter, that was replayed.
pub(crate) async fn settle(database: &Database, consumer: &str, event_id: &str) -> Result<()> {
    let open = database.begin_own().await?;
    remove(open.connection(), consumer, event_id).await?;
    dead_letter::mark_replayed(open.connection(), consumer, event_id).await?;
    open.commit().await
}

/// Claims what waits, oldest first. A look that finds nothing takes no write lock.
pub(crate) async fn claim(
    database: &Database,
    consumer: &str,
    session: &str,
    limit: u64,
) -> Result<Vec<Envelope>> {
    let now = now_micros();
    let due = Query::select()
        .columns([Redeliveries::Position, Redeliveries::Envelope])
        .from(Redeliveries::Table)
        .and_where(Expr::col(Redeliveries::Consumer).eq(consumer))
        .and_where(Expr::col(Redeliveries::ClaimedUntil).lt(now))
        .order_by(Redeliveries::Position, Order::Asc)
        .limit(limit)
        .take();
    let mut claimed = Vec::new();
    let rows = database.connection().query_all(&due).await?;
    if rows.is_empty() {
        return Ok(claimed);
    }
    let open = database.begin_own().await?;
    for row in rows {
        let position: i64 = row.try_get("", "position")?;
        let take = Query::update()
            .table(Redeliveries::Table)
            .value(Redeliveries::ClaimedUntil, now.saturating_add(micros(LEASE)))
            .value(Redeliveries::ClaimedBy, session)
            .and_where(Expr::col(Redeliveries::Position).eq(position))
            .and_where(Expr::col(Redeliveries::ClaimedUntil).lt(now))
            .take();
        if open.connection().execute(&take).await?.rows_affected() == 1 {
            let envelope: Vec<u8> = row.try_get("", "envelope")?;
            claimed.push(Envelope::decode(&*envelope).map_err(Error::internal)?);
        }
    }
    open.commit().await?;
    Ok(claimed)
}

/// Keeps what a session has claimed, or with [`Duration::ZERO`] gives it back.
pub(crate) async fn hold(
    database: &Database,
    consumer: &str,
    session: &str,
    lease: Duration,
) -> Result<()> {
    let now = now_micros();
    let statement = Query::update()
        .table(Redeliveries::Table)
        .value(Redeliveries::ClaimedUntil, now.saturating_add(micros(lease)).saturating_sub(1))
        .and_where(Expr::col(Redeliveries::Consumer).eq(consumer))
        .and_where(Expr::col(Redeliveries::ClaimedBy).eq(session))
        .take();
    let open = database.begin_own().await?;
    open.connection().execute(&statement).await?;
    open.commit().await
}

/// How many events wait for a consumer.
pub(crate) async fn count(database: &Database, consumer: &str) -> Result<i64> {
    let query = Query::select()
        .expr_as(Expr::col(Redeliveries::Position).count(), "waiting")
        .from(Redeliveries::Table)
        .and_where(Expr::col(Redeliveries::Consumer).eq(consumer))
        .take();
    let row = database.connection().query_one(&query).await?;
    Ok(row.map(|row| row.try_get("", "waiting")).transpose()?.unwrap_or_default())
}
