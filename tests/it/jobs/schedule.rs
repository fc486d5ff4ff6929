//! Jobs that are due by themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mainstay::kernel::database::Database;
use mainstay::kernel::error::Error;
use mainstay::kernel::jobs::{Job, Jobs, KnownJob};
use sea_orm::ConnectionTrait as _;

use super::run;
use crate::world::{World, eventually};

/// Counts its runs, and how many run at once at most.
#[derive(Clone, Default)]
struct Counter {
    runs: Arc<AtomicU32>,
    at_once: Arc<AtomicU32>,
    most_at_once: Arc<AtomicU32>,
}

impl Counter {
    fn job(&self) -> Job {
        let counter = self.clone();
        Job::new("tick", move |_| {
            let counter = counter.clone();
            async move {
                let at_once = counter.at_once.fetch_add(1, Ordering::SeqCst) + 1;
                counter.most_at_once.fetch_max(at_once, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(20)).await;
                counter.at_once.fetch_sub(1, Ordering::SeqCst);
                counter.runs.fetch_add(1, Ordering::SeqCst);
                Ok(())
            }
        })
    }

    async fn runs_when(&self, runs: u32) {
        eventually(&format!("{runs} runs"), async || {
            (self.runs.load(Ordering::SeqCst) >= runs).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn several_replicas_run_a_schedule_one_at_a_time() {
    let world = World::new();
    let database = world.database("auth-svc").await;
    let counter = Counter::default();
    let tick = || counter.job().every(Duration::from_millis(10));
    let _runners = [run(&database, tick()), run(&database, tick()), run(&database, tick())];
    counter.runs_when(10).await;
    assert_eq!(counter.most_at_once.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn times_missed_in_an_outage_are_made_up_for_once() {
    let world = World::new();
    let database = world.database("auth-svc").await;
    let counter = Counter::default();
    let yearly = || counter.job().cron("0 4 1 1 *");
    let first = run(&database, yearly());
    let next = eventually("the schedule is declared", async || next_at(&database).await).await;
    first.stop().await;
    assert_eq!(counter.runs.load(Ordering::SeqCst), 0, "not due before its time");

    // Long ago, as after years without any process.
    move_next(&database, 1_000_000).await;
    let second = run(&database, yearly());
    counter.runs_when(1).await;
    second.stop().await;
    assert_eq!(next_at(&database).await.unwrap(), next);
    assert_eq!(counter.runs.load(Ordering::SeqCst), 1);
    assert_eq!(Jobs::new(database.clone()).list(None, 10).await.unwrap(), []);
}

#[tokio::test]
async fn a_changed_schedule_begins_anew_and_an_unchanged_one_goes_on() {
    let world = World::new();
    let database = world.database("auth-svc").await;
    let counter = Counter::default();
    let hourly = || counter.job().every(Duration::from_secs(3600));
    for _ in 0..2 {
        let runner = run(&database, hourly());
        counter.runs_when(1).await;
        runner.stop().await;
    }
    assert_eq!(counter.runs.load(Ordering::SeqCst), 1, "a restart is no reason to run");
    let _runner = run(&database, counter.job().every(Duration::from_secs(7200)));
    counter.runs_when(2).await;
}

#[tokio::test]
async fn of_a_schedule_that_fails_one_job_is_left_until_the_next_that_succeeds() {
    let world = World::new();
    let database = world.database("auth-svc").await;
    let counter = Counter::default();
    let failing = counter.clone();
    let job = Job::new("tick", move |_| {
        let number = failing.runs.fetch_add(1, Ordering::SeqCst);
        std::future::ready(match number {
            0..3 => Err(Error::internal(anyhow::anyhow!("run {number} fails"))),
            _ => Ok(()),
        })
    });
    let runner = run(&database, job.cron("0 4 1 1 *").max_attempts(1));
    eventually("the schedule is declared", async || next_at(&database).await).await;
    let jobs = Jobs::new(database.clone());
    for number in 0..3 {
        move_next(&database, 1_000_000).await;
        let failed = eventually("the run has failed", async || {
            let failed = jobs.list_failed(None, 10).await.unwrap();
            let is_latest =
                |job: &KnownJob| job.last_error.contains(&format!("run {number} fails"));
            failed.iter().any(is_latest).then_some(failed)
        })
        .await;
        assert_eq!(failed.len(), 1, "{failed:?}");
    }
    move_next(&database, 1_000_000).await;
    counter.runs_when(4).await;
    eventually("nothing is left", async || {
        jobs.list(None, 10).await.unwrap().is_empty().then_some(())
    })
    .await;
    runner.stop().await;
}

async fn next_at(database: &Database) -> Option<i64> {
    let query = sea_orm::sea_query::Query::select().column("next_at").from("job_schedule").take();
    let row = database.connection().query_one(&query).await.unwrap()?;
    Some(row.try_get("", "next_at").unwrap())
}

async fn move_next(database: &Database, next: i64) {
    let transaction = database.begin().await.unwrap();
    let update = format!("UPDATE job_schedule SET next_at = {next}");
    transaction.connection().execute_unprepared(&update).await.unwrap();
    transaction.commit().await.unwrap();
}
