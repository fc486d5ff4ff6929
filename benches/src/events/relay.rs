//! The relay alone: a process that does nothing but publish what waits.

use std::time::{Duration, Instant};

use anyhow::ensure;
use mainstay::kernel::database::Database;
use mainstay::kernel::events::{EventBus, Relay};
use sea_orm::{ConnectionTrait as _, DbBackend, Statement};
use serde::Serialize;

use super::ground::Ground;
use super::observed::Observed;
use super::sample::TOPIC;
use crate::report;
use crate::usage::{Stopwatch, peak_resident_bytes, resident_bytes};

/// How often it is looked how far the relay is.
const LOOK: Duration = Duration::from_millis(20);
/// How often it is told.
const REPORT: Duration = Duration::from_millis(500);
/// After so long without one event something is wrong.
const PATIENCE: Duration = Duration::from_secs(30);

/// What came of it.
#[derive(Debug, Serialize)]
pub(super) struct Relayed {
    /// Events that the broker has taken.
    events: u64,
    /// Seconds, from the start of the relay to the last event.
    seconds: f64,
    /// Seconds of CPU time of this process.
    cpu_seconds: f64,
    /// Memory before the relay began, in bytes.
    idle_bytes: u64,
    /// The most memory that it ever had, in bytes.
    peak_bytes: u64,
}

/// Relays the events that wait, and sees to it that none is lost.
pub(super) async fn run(ground: &Ground, events: u64) -> anyhow::Result<Relayed> {
    let database = ground.writer().await?;
    let waiting = waiting(&database).await?;
    ensure!(waiting == events, "{waiting} events wait, not {events}: seed the outbox first");
    let (bus, _) = Observed::new(ground.bus()?);
    let before = records(&bus).await?;
    let idle_bytes = resident_bytes()?;
    let watch = Stopwatch::start()?;
    let relay = Relay::new(database.clone(), bus.clone(), &ground.settings()).spawn();
    finish(|| bus.published(), events).await?;
    let (seconds, cpu_seconds) = watch.read()?;
    let peak_bytes = peak_resident_bytes()?;
    relay.stop().await;
    let left = self::waiting(&database).await?;
    ensure!(left == 0, "{left} events are left in the outbox");
    let taken = records(&bus).await? - before;
    ensure!(
        taken == i64::try_from(events)?,
        "the broker holds {taken} records of {events} events: they were lost, or published twice"
    );
    Ok(Relayed { events, seconds, cpu_seconds, idle_bytes, peak_bytes })
}

/// Waits until so many are done, and tells how many are.
async fn finish(done: impl Fn() -> u64, events: u64) -> anyhow::Result<()> {
    let (mut last, mut moved, mut reported) = (0, Instant::now(), Instant::now());
    while last < events {
        tokio::time::sleep(LOOK).await;
        let now = done();
        if now > last {
            moved = Instant::now();
        }
        last = now;
        ensure!(moved.elapsed() < PATIENCE, "nothing was published for {PATIENCE:?}, after {last}");
        if reported.elapsed() > REPORT {
            report::progress(last)?;
            reported = Instant::now();
        }
    }
    Ok(())
}

/// How many records the topic holds.
async fn records(bus: &impl EventBus) -> anyhow::Result<i64> {
    Ok(bus.end(TOPIC).await?.0.values().sum())
}

async fn waiting(database: &Database) -> anyhow::Result<u64> {
    let count = Statement::from_string(DbBackend::Postgres, "SELECT count(*) AS n FROM outbox");
    let row = database.connection().query_one_raw(count).await?;
    let count: i64 = row.map(|row| row.try_get("", "n")).transpose()?.unwrap_or_default();
    Ok(u64::try_from(count)?)
}
