//! A process dies, hangs or comes too late while it runs a job.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mainstay::kernel::error::ABORTED;
use mainstay::kernel::jobs::{Job, Jobs, Outcome, Run};
use sea_orm::ConnectionTrait as _;
use tokio::sync::{Notify, mpsc};

use super::{all_done, enqueue, note_job, note_once, noting, run};
use crate::world::{World, eventually, notes, notes_when};

/// A job that tells when it runs, and never ends.
fn hanging(started: &Arc<Notify>) -> Job {
    let started = started.clone();
    Job::new("note", move |_| {
        started.notify_one();
        std::future::pending()
    })
}

#[tokio::test]
async fn a_job_whose_process_died_is_claimed_by_the_next_epoch() {
    let world = World::new();
    let database = world.database("auth-svc").await;
    let started = Arc::new(Notify::new());
    enqueue(&database, note_job("a")).await;
    let dying = run(&database, hanging(&started));
    started.notified().await;
    drop(dying);

    let _runner = run(&database, noting(&database));
    assert_eq!(notes_when(&database, 1).await, ["a"]);
    all_done(&database).await;
    let past = Jobs::new(database.clone()).history("note", 10).await.unwrap();
    let ends: Vec<_> = past.iter().map(|run| (run.epoch, run.outcome)).collect();
    assert_eq!(ends, [(2, Outcome::Succeeded), (1, Outcome::Lost)]);
}

#[tokio::test]
async fn a_job_that_kills_every_process_fails_in_the_end() {
    let world = World::new();
    let database = world.database("auth-svc").await;
    enqueue(&database, note_job("a")).await;
    for _ in 0..2 {
        let started = Arc::new(Notify::new());
        let dying = run(&database, hanging(&started).max_attempts(2));
        started.notified().await;
        drop(dying);
    }
    let _runner = run(&database, noting(&database).max_attempts(2));
    let jobs = Jobs::new(database.clone());
    let failed =
        eventually("the job has failed", async || jobs.list_failed(None, 10).await.unwrap().pop())
            .await;
    assert!(failed.last_error.contains("died"), "{failed:?}");
    assert_eq!(notes(&database).await, Vec::<String>::new());
}

/// The run outlives its lease, as in a process that was suspended; then it wants to commit.
#[tokio::test]
async fn a_finish_after_the_lease_was_lost_changes_nothing() {
    let world = World::new();
    let database = world.database("auth-svc").await;
    let (started, resumed) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (ended, mut end) = mpsc::unbounded_channel();
    let (writer, start, resume) = (database.clone(), started.clone(), resumed.clone());
    let suspended = Job::new("note", move |run: Run| {
        let (writer, resume, ended) = (writer.clone(), resume.clone(), ended.clone());
        // Not dropped with the run: a thread that the scheduler forgot.
        tokio::spawn(async move {
            resume.notified().await;
            ended.send(note_once(&writer, &run).await).unwrap();
        });
        start.notify_one();
        std::future::pending()
    });
    enqueue(&database, note_job("a")).await;
    let suspended = run(&database, suspended);
    started.notified().await;
    drop(suspended);

    let _runner = run(&database, noting(&database));
    assert_eq!(notes_when(&database, 1).await, ["a"]);
    resumed.notify_one();
    let error = end.recv().await.unwrap().unwrap_err();
    assert!(error.is(&ABORTED), "{error}");
    assert_eq!(notes(&database).await, ["a"]);
}

/// Another replica takes a live run's job over, as after a long stall of the database: the heartbeat
/// sees it, and the run is dropped.
#[tokio::test]
async fn a_run_that_loses_its_lease_is_dropped() {
    struct Dropped(mpsc::UnboundedSender<()>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let world = World::new();
    let database = world.database("auth-svc").await;
    let started = Arc::new(Notify::new());
    let (dropped, mut drops) = mpsc::unbounded_channel();
    let start = started.clone();
    let job = Job::new("note", move |_| {
        let guard = Dropped(dropped.clone());
        start.notify_one();
        async move {
            let _guard = guard;
            std::future::pending().await
        }
    });
    enqueue(&database, note_job("a")).await;
    let _runner = run(&database, job);
    started.notified().await;
    let transaction = database.begin().await.unwrap();
    let taken = "UPDATE job SET epoch = epoch + 1, owner = NULL, run_after = 9000000000000000";
    transaction.connection().execute_unprepared(taken).await.unwrap();
    transaction.commit().await.unwrap();
    drops.recv().await.unwrap();
}

#[tokio::test]
async fn a_job_keeps_its_lease_for_as_long_as_it_runs() {
    let world = World::new();
    let database = world.database("auth-svc").await;
    let runs = Arc::new(AtomicU32::new(0));
    let job = || {
        let (runs, writer) = (runs.clone(), database.clone());
        Job::new("note", move |run: Run| {
            runs.fetch_add(1, Ordering::SeqCst);
            let writer = writer.clone();
            async move {
                // Three leases long, which is what is tested.
                tokio::time::sleep(Duration::from_millis(1200)).await;
                note_once(&writer, &run).await
            }
        })
    };
    enqueue(&database, note_job("a")).await;
    let _runners = [run(&database, job()), run(&database, job())];
    assert_eq!(notes_when(&database, 1).await, ["a"]);
    assert_eq!(runs.load(Ordering::SeqCst), 1, "nobody else claimed it");
}

#[tokio::test]
async fn of_two_runners_each_job_is_run_by_one() {
    let world = World::new();
    let database = world.database("auth-svc").await;
    let other = world.database("auth-svc").await;
    let _runners = [run(&database, noting(&database)), run(&other, noting(&other))];
    for number in 0..40 {
        enqueue(&database, note_job(&number.to_string())).await;
    }
    all_done(&database).await;
    let mut numbers: Vec<u32> =
        notes(&database).await.iter().map(|note| note.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..40).collect::<Vec<_>>());
}

/// What was committed with the completion stays, and is not repeated, whatever the run does then.
#[tokio::test]
async fn what_fails_after_its_effect_is_done_all_the_same() {
    let world = World::new();
    let database = world.database("auth-svc").await;
    let writer = database.clone();
    let job = Job::new("note", move |run: Run| {
        let writer = writer.clone();
        async move {
            note_once(&writer, &run).await?;
            panic!("after the effect");
        }
    });
    let runner = run(&database, job);
    enqueue(&database, note_job("a")).await;
    all_done(&database).await;
    runner.stop().await;
    assert_eq!(notes(&database).await, ["a"]);
}
