//! From a commit to the effect elsewhere, at a rate that no part finds hard.
//!
//! Events begin at their times whatever became of the ones before, so that a stall counts for each
//! of them. The time of an event runs from the call of its commit until its consumer's transaction,
//! with inbox row and effect, is committed and the broker is told.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use mainstay::contract;
use mainstay::contract::proto::mainstay::identity::v1::UserCreated;
use mainstay::kernel::Result;
use mainstay::kernel::database::Database;
use mainstay::kernel::events::{Consumer, EventBus, Received, Relay, Start};
use mainstay::kernel::jobs::Worker;
use sea_orm::{ConnectionTrait as _, DbBackend, Statement};
use serde::Serialize;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::ground::Ground;
use super::observed::{Consumed, Observed};
use super::sample::event;
use crate::report;
use crate::usage::Stopwatch;

/// Events before those that count, one after the other: connections open, and the group forms.
const WARM_UP: usize = 50;
/// After so long without one event something is wrong.
const PATIENCE: Duration = Duration::from_secs(30);
/// After so many events it is told how many there were.
const REPORT_EVERY: usize = 250;

/// What came of it.
#[derive(Debug, Serialize)]
pub(super) struct Latency {
    /// Events consumed.
    events: usize,
    /// Events a second that were committed.
    rate: f64,
    /// Seconds of CPU time of this process, which wrote, relayed and consumed them.
    cpu_seconds: f64,
    /// Milliseconds that 99 of 100 commits took by themselves: part of the way, and no relay's work.
    commit_p99_ms: f64,
    /// Milliseconds in which half of the events were consumed.
    p50_ms: f64,
    /// Milliseconds in which 99 of 100 events were consumed.
    p99_ms: f64,
    /// Milliseconds that the slowest event took.
    max_ms: f64,
}

/// When the commit of each event was called, by its number.
type Commits = Arc<Vec<OnceLock<Instant>>>;

/// Commits so many events at that rate, and waits until they are consumed.
pub(super) async fn run(ground: &Ground, events: usize, rate: u32) -> anyhow::Result<Latency> {
    let (writer, reader) = (ground.writer().await?, ground.reader().await?);
    let create = "CREATE TABLE IF NOT EXISTS seen (user_id text NOT NULL, name text NOT NULL)";
    reader.connection().execute_unprepared(create).await?;
    let (bus, mut consumed) = Observed::new(ground.bus()?);
    let relay = Relay::new(writer.clone(), bus.clone(), &ground.settings()).spawn();
    let consumer = consume(ground, &reader, bus)?;
    let commits: Commits = Arc::new((0..WARM_UP + events).map(|_| OnceLock::new()).collect());
    for number in 0..WARM_UP {
        write(&writer, &commits, number).await?;
        collect(&mut consumed, &commits, 1).await?;
    }
    let watch = Stopwatch::start()?;
    let writing = write_all(&writer, &commits, events, rate);
    let (written, latencies) = tokio::try_join!(writing, collect(&mut consumed, &commits, events))?;
    let (_, cpu_seconds) = watch.read()?;
    relay.stop().await;
    consumer.stop().await;
    let (p50_ms, p99_ms) = (percentile(&latencies, 50), percentile(&latencies, 99));
    let max_ms = percentile(&latencies, 100);
    let (rate, commit_p99_ms) =
        (events as f64 / written.seconds, percentile(&written.commits_ms, 99));
    Ok(Latency { events, rate, cpu_seconds, commit_p99_ms, p50_ms, p99_ms, max_ms })
}

/// A consumer with an effect: a row for each event.
fn consume(ground: &Ground, reader: &Database, bus: Arc<dyn EventBus>) -> anyhow::Result<Worker> {
    let database = reader.clone();
    let consumer = Consumer::new("bench").on(move |received: Received<UserCreated>| {
        let database = database.clone();
        async move { see(&database, received.payload).await }
    });
    consumer.start(Start {
        service: reader.service(),
        database: Some(reader.clone()),
        bus,
        pool: contract::pool(),
        settings: &ground.settings(),
    })
}

async fn see(database: &Database, user: UserCreated) -> Result<()> {
    let transaction = database.begin().await?;
    let insert = "INSERT INTO seen (user_id, name) VALUES ($1, $2)";
    let values = [user.user_id.into(), user.display_name.into()];
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, insert, values);
    transaction.connection().execute_raw(statement).await?;
    transaction.commit().await
}

/// What the writers saw.
struct Written {
    /// How long it took to write them all.
    seconds: f64,
    /// Milliseconds of each commit, the quickest first.
    commits_ms: Vec<f64>,
}

/// Writes events at their times.
async fn write_all(
    writer: &Database,
    commits: &Commits,
    events: usize,
    rate: u32,
) -> anyhow::Result<Written> {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate.max(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (begun, mut writes, mut commits_ms) = (Instant::now(), JoinSet::new(), Vec::new());
    for number in WARM_UP..WARM_UP + events {
        ticks.tick().await;
        let (writer, commits) = (writer.clone(), commits.clone());
        writes.spawn(async move { write(&writer, &commits, number).await });
        while let Some(written) = writes.try_join_next() {
            commits_ms.push(written??);
        }
    }
    while let Some(written) = writes.join_next().await {
        commits_ms.push(written??);
    }
    commits_ms.sort_by(f64::total_cmp);
    Ok(Written { seconds: begun.elapsed().as_secs_f64(), commits_ms })
}

/// Returns how many milliseconds the commit took.
async fn write(writer: &Database, commits: &Commits, number: usize) -> Result<f64> {
    let transaction = writer.begin().await?;
    transaction.publish(&event(number as u64)).await?;
    let begun = *commits[number].get_or_init(Instant::now);
    transaction.commit().await?;
    Ok(begun.elapsed().as_secs_f64() * 1000.0)
}

/// Takes so many consumed events, in milliseconds since their commits, the quickest first.
async fn collect(
    consumed: &mut UnboundedReceiver<Consumed>,
    commits: &Commits,
    events: usize,
) -> anyhow::Result<Vec<f64>> {
    let mut latencies = Vec::new();
    for done in 1..=events {
        let next = tokio::time::timeout(PATIENCE, consumed.recv()).await;
        let Consumed { number, at } = next
            .with_context(|| format!("nothing was consumed for {PATIENCE:?}, after {done} events"))?
            .context("the consumer has ended")?;
        let commit = commits.get(usize::try_from(number)?).and_then(OnceLock::get);
        let since = at.saturating_duration_since(*commit.context("an event that nobody wrote")?);
        latencies.push(since.as_secs_f64() * 1000.0);
        if events > 1 && done % REPORT_EVERY == 0 {
            report::progress(done as u64)?;
        }
    }
    ensure!(!latencies.is_empty(), "no event was asked for");
    latencies.sort_by(f64::total_cmp);
    Ok(latencies)
}

/// The value below which so many of 100 lie, by the nearest rank; of a list that is sorted.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).clamp(1, sorted.len());
    sorted[rank - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        for (percent, value) in [(50, 50.0), (99, 99.0), (100, 100.0)] {
            assert_eq!(percentile(&hundred, percent), value);
        }
        assert_eq!(percentile(&[7.0], 50), 7.0);
        assert_eq!(percentile(&[1.0, 2.0], 99), 2.0);
    }
}
