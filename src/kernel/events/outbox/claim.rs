//! Claiming: what a relay publishes next, so that any number of relays keep each aggregate's order.
//!
//! The first row of an aggregate stands for the whole of it: who has claimed it may publish the rows
//! behind it as well, and nobody else may touch them. A row is due until it is deleted; it is never
//! looked for by `position > last`, because with several writers a smaller position may commit
//! later, and would be skipped for good.
//!
//! Read are the oldest rows of all, as many as the relay asks for, so the primary key is the only
//! index that is needed. A claim is a row lock on PostgreSQL, held by the open transaction until the
//! rows are settled: a relay that dies lets go at once. On SQLite, where that transaction would keep
//! every writer out, it is a lease.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DbBackend, QueryResult, Statement};
use uuid::Uuid;

use super::Row;
use crate::kernel::database::{Database, Open};
use crate::kernel::error::Result;
use crate::kernel::events::{micros, now_micros};

/// Rows claimed by a relay. Dropped, they are free again: at once on PostgreSQL, when the lease has
/// passed on SQLite.
pub(crate) struct Claim {
    database: Database,
    /// The transaction whose locks are the claim, on PostgreSQL.
    held: Option<Open>,
    id: Uuid,
    /// The rows, in the order in which they were written.
    pub(crate) rows: Vec<Row>,
    /// How many rows were looked at: fewer than were asked for if there were no more.
    pub(crate) seen: u64,
}

/// How far a claim looks, and how much it takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reach {
    /// How many of the oldest rows are looked at.
    pub(crate) look: u64,
    /// How many rows are claimed at most.
    pub(crate) take: u64,
}

/// What became of claimed rows. Those that it does not name are free again.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    pub(crate) published: Vec<i64>,
    pub(crate) postponed: Vec<Postponed>,
}

/// A row whose publishing failed; with it waits the rest of its aggregate.
#[derive(Debug)]
pub(crate) struct Postponed {
    pub(crate) position: i64,
    /// How often publishing has failed.
    pub(crate) attempts: u32,
    pub(crate) wait: Duration,
    pub(crate) reason: String,
}

/// Claims rows for `lease`, oldest first. Where nothing is due it writes nothing.
pub(crate) async fn claim(database: &Database, reach: Reach, lease: Duration) -> Result<Claim> {
    let id = Uuid::now_v7();
    if !database.is_postgres() {
        return claim_leased(database, id, reach, lease).await;
    }
    let open = database.begin_own().await?;
    open.connection().execute_unprepared(&session(lease)).await?;
    let (rows, seen) = select(open.connection(), reach).await?;
    let claim = |held| Claim { database: database.clone(), held, id, rows, seen };
    if seen == 0 {
        open.rollback().await?;
        return Ok(claim(None));
    }
    Ok(claim(Some(open)))
}

impl Claim {
    /// The claimed rows once more, for those whose envelopes were handed to the bus.
    pub(crate) async fn read_again(&self) -> Result<Vec<Row>> {
        let positions = self.rows.iter().map(|row| row.position);
        let query = "SELECT * FROM outbox WHERE \"position\" {among} ORDER BY \"position\"";
        let rows = match &self.held {
            Some(open) => {
                open.connection().query_all_raw(among(open.connection(), query, positions))
            }
            None => {
                let connection = self.database.connection();
                connection.query_all_raw(among(connection, query, positions))
            }
        };
        Ok(rows.await?.iter().map(Row::read).collect::<Result<Vec<_>, _>>()?)
    }

    /// Deletes what was published, notes what failed, and gives the rest back.
    pub(crate) async fn settle(self, settled: Settled) -> Result<()> {
        let leased = self.held.is_none();
        let open = match self.held {
            Some(open) => open,
            None => self.database.begin_own().await?,
        };
        let connection = open.connection();
        if !settled.published.is_empty() {
            let delete = "DELETE FROM outbox WHERE \"position\" {among}";
            connection.execute_raw(among(connection, delete, settled.published)).await?;
        }
        let now = now_micros();
        for row in settled.postponed {
            let values = [
                i32::try_from(row.attempts).unwrap_or(i32::MAX).into(),
                now.saturating_add(micros(row.wait)).into(),
                row.reason.into(),
                row.position.into(),
            ];
            let postpone = "UPDATE outbox SET attempts = $1, next_attempt_at = $2, last_error = $3 \
                            WHERE \"position\" = $4";
            connection.execute_raw(statement(connection, postpone, values)).await?;
        }
        if leased {
            let release = "UPDATE outbox SET claimed_until = 0 WHERE claimed_by = $1";
            connection.execute_raw(statement(connection, release, [self.id.into()])).await?;
        }
        open.commit().await
    }
}

/// On SQLite the claim is written down, in the first row of each aggregate.
async fn claim_leased(
    database: &Database,
    id: Uuid,
    reach: Reach,
    lease: Duration,
) -> Result<Claim> {
    let claim = |rows, seen| Claim { database: database.clone(), held: None, id, rows, seen };
    // A relay that has nothing to do never takes the one write lock.
    let (waiting, seen) = select(database.connection(), reach).await?;
    if waiting.is_empty() {
        return Ok(claim(waiting, seen));
    }
    let open = database.begin_own().await?;
    let (rows, seen) = select(open.connection(), reach).await?;
    let until = now_micros().saturating_add(micros(lease));
    let heads = rows.iter().filter(|row| row.is_first).map(|row| row.position);
    let connection = open.connection();
    let mark = format!(
        "UPDATE outbox SET claimed_by = x'{}', claimed_until = {until} WHERE \"position\" {{among}}",
        id.simple()
    );
    connection.execute_raw(among(connection, &mark, heads)).await?;
    open.commit().await?;
    Ok(claim(rows, seen))
}

/// What holds within the transaction of a claim. The table is empty one moment and large the next,
/// so no plan is kept, and none reads the whole of it. A deletion that a crash of the server undoes
/// means that a row is published again, which the inboxes of the consumers are there for.
fn session(lease: Duration) -> String {
    let lease = lease.as_millis();
    format!(
        "SET LOCAL plan_cache_mode TO force_custom_plan; SET LOCAL enable_seqscan TO off; \
         SET LOCAL synchronous_commit TO off; \
         SET LOCAL idle_in_transaction_session_timeout TO {lease}"
    )
}

/// Rows that are due, of aggregates that nobody has claimed, and how many rows were looked at.
///
/// Of the aggregates seen so many are claimed as probably have `take` rows together, so that other
/// relays find some left.
async fn select(connection: &impl ConnectionTrait, reach: Reach) -> Result<(Vec<Row>, u64)> {
    let (greatest, lock) = match connection.get_database_backend() {
        DbBackend::Postgres => ("greatest", "FOR UPDATE SKIP LOCKED"),
        _ => ("max", ""),
    };
    let query = format!(
        "WITH oldest AS MATERIALIZED ( \
             SELECT \"position\", \
                 min(\"position\") OVER (PARTITION BY aggregatetype, aggregateid) AS head \
             FROM (SELECT \"position\", aggregatetype, aggregateid FROM outbox \
                   ORDER BY \"position\" LIMIT $1) AS looked_at \
         ), held AS MATERIALIZED ( \
             SELECT \"position\" FROM outbox \
             WHERE \"position\" IN (SELECT head FROM oldest) \
                 AND next_attempt_at <= $2 AND claimed_until <= $2 \
             ORDER BY \"position\" \
             LIMIT (SELECT {greatest}(1, $3 * count(DISTINCT head) / {greatest}(1, count(*))) \
                    FROM oldest) \
             {lock} \
         ) \
         SELECT seen.amount AS seen, claimed.* \
         FROM (SELECT count(*) AS amount FROM oldest) AS seen LEFT JOIN ( \
             SELECT oldest.head, outbox.* FROM oldest \
             JOIN held ON held.\"position\" = oldest.head \
             JOIN outbox ON outbox.\"position\" = oldest.\"position\" \
             ORDER BY outbox.\"position\" LIMIT $3 \
         ) AS claimed ON 1 = 1 ORDER BY claimed.\"position\""
    );
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX).into();
    let values = [number(reach.look), now_micros().into(), number(reach.take)];
    let found = connection.query_all_raw(statement(connection, &query, values)).await?;
    let mut rows = Vec::with_capacity(found.len());
    for row in &found {
        if row.try_get::<Option<i64>>("", "position")?.is_some() {
            rows.push(Row::read_claimed(row)?);
        }
    }
    Ok((rows, seen(found.first())?))
}

fn seen(row: Option<&QueryResult>) -> Result<u64> {
    let seen = row.map(|row| row.try_get::<i64>("", "seen")).transpose()?;
    Ok(seen.and_then(|seen| u64::try_from(seen).ok()).unwrap_or_default())
}

/// A statement with `{among}` for "is one of these positions". They travel as one value, so that the
/// text is the same however many there are.
fn among(
    connection: &impl ConnectionTrait,
    query: &str,
    positions: impl IntoIterator<Item = i64>,
) -> Statement {
    let list: Vec<_> = positions.into_iter().map(|position| position.to_string()).collect();
    let list = list.join(",");
    let (condition, list) = match connection.get_database_backend() {
        DbBackend::Postgres => ("= ANY($1::text::bigint[])", format!("{{{list}}}")),
        _ => ("IN (SELECT value FROM json_each($1))", format!("[{list}]")),
    };
    statement(connection, &query.replace("{among}", condition), [list.into()])
}

fn statement<const N: usize>(
    connection: &impl ConnectionTrait,
    query: &str,
    values: [sea_orm::Value; N],
) -> Statement {
    Statement::from_sql_and_values(connection.get_database_backend(), query, values)
}
