//! Events that wait: rows as the outbox has them, written by SQL, for a million transactions would
//! take longer than everything that is measured.

use mainstay::contract::proto::mainstay::identity::v1::UserCreated;
use mainstay::kernel::database::Database;
use prost::{Message as _, Name as _};
use sea_orm::ConnectionTrait as _;
use serde::Serialize;

use super::ground::Ground;
use super::sample::{AGGREGATES, KEY_PREFIX, NUMBER_DIGITS, TOPIC, event};
use crate::report;
use crate::usage::Stopwatch;

/// Rows of one statement: well within the statement timeout.
const CHUNK: u64 = 50_000;

/// What came of it.
#[derive(Debug, Serialize)]
pub(super) struct Seeded {
    /// Seconds.
    seconds: f64,
    /// Bytes of one payload.
    payload_bytes: usize,
    /// Aggregates over which the events are spread.
    aggregates: u64,
}

/// Writes so many events.
pub(super) async fn run(ground: &Ground, events: u64) -> anyhow::Result<Seeded> {
    let database = ground.writer().await?;
    let watch = Stopwatch::start()?;
    let mut written = 0;
    while written < events {
        let until = events.min(written + CHUNK);
        write(&database, written, until).await?;
        written = until;
        report::progress(written)?;
    }
    let (seconds, _) = watch.read()?;
    let payload_bytes = event(0).encoded_len();
    Ok(Seeded { seconds, payload_bytes, aggregates: AGGREGATES })
}

/// Writes the events of these numbers. Ids grow with time as UUIDv7 do; aggregates come in no order,
/// but in the same one in each run.
async fn write(database: &Database, from: u64, until: u64) -> anyhow::Result<()> {
    let payload: String =
        event(0).encode_to_vec().iter().map(|byte| format!("{byte:02x}")).collect();
    let statement = format!(
        "INSERT INTO outbox (id, aggregatetype, aggregateid, type, payload, topic, source, \
             traceparent, actor, request_id, created_at, next_attempt_at) \
         SELECT (lpad(to_hex(now.micros / 1000 + n), 12, '0') || '7000' || '8000' \
                 || lpad(to_hex(n), 12, '0'))::uuid, \
             '{TOPIC}', '{KEY_PREFIX}' || lpad((abs(hashint8(n)::bigint) % {AGGREGATES})::text, \
                 {NUMBER_DIGITS}, '0'), \
             '{type_name}', '\\x{payload}'::bytea, '{TOPIC}', '/{service}', '', '', '', \
             now.micros, now.micros \
         FROM generate_series({from}::bigint, {until}::bigint - 1) AS n, \
             (SELECT (extract(epoch FROM now()) * 1000000)::bigint AS micros) AS now",
        type_name = UserCreated::full_name(),
        service = database.service(),
    );
    database.connection().execute_unprepared(&statement).await?;
    Ok(())
}
