//! The outbox without a relay: change data capture reads the rows from the database's log.
//!
//! The log keeps what a replication slot has not read, also when the row itself is gone. So rows may
//! go as soon as a slot is there. They stay for a while all the same, because a capture that begins
//! anew takes a snapshot of the table.

use std::time::Duration;

use sea_orm::{ConnectionTrait as _, DbBackend, Statement};

use crate::kernel::database::{Database, Open};
use crate::kernel::error::Result;
use crate::kernel::events::{micros, now_micros};

/// The most rows deleted at once.
const CHUNK: u64 = 10_000;

/// Whether somebody reads the log of this database, and has not fallen behind what it keeps.
const IS_CAPTURED: &str = "SELECT 1 AS found FROM pg_replication_slots \
     WHERE slot_type = 'logical' AND database = current_database() \
         AND wal_status IS DISTINCT FROM 'lost' LIMIT 1";

/// Positions grow with time, but for the commits that overtake each other: only the oldest rows are
/// looked at.
const DELETE: &str = "DELETE FROM outbox WHERE \"position\" IN ( \
         SELECT \"position\" FROM ( \
             SELECT \"position\", created_at FROM outbox ORDER BY \"position\" LIMIT $1 \
         ) AS oldest WHERE created_at <= $2)";

/// Deletes rows of the outbox that were written longer ago than `retention`, and returns how many.
/// For a service whose `events.relay` is off. While no logical replication slot reads the database,
/// nothing is deleted: the rows are all there is of their events.
pub async fn prune_captured(database: &Database, retention: Duration) -> Result<u64> {
    let asked = Statement::from_string(DbBackend::Postgres, IS_CAPTURED);
    if database.connection().query_one_raw(asked).await?.is_none() {
        tracing::warn!(
            "no logical replication slot reads the database: the rows of the outbox stay until \
             change data capture has one; or set events.relay = true"
        );
        return Ok(0);
    }
    let before = now_micros().saturating_sub(micros(retention));
    let mut pruned = 0;
    loop {
        let open = database.begin_own().await?;
        let removed = delete(&open, before).await?;
        open.commit().await?;
        pruned += removed;
        if removed < CHUNK {
            return Ok(pruned);
        }
    }
}

async fn delete(open: &Open, before: i64) -> Result<u64> {
    let chunk = i64::try_from(CHUNK).unwrap_or(i64::MAX);
    let values = [chunk.into(), before.into()];
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, DELETE, values);
    Ok(open.connection().execute_raw(statement).await?.rows_affected())
}
