//! Durable jobs: enqueued with the state they follow from, run until they are done.

mod crash;
mod schedule;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mainstay::kernel::database::Database;
use mainstay::kernel::error::INVALID_ARGUMENT;
use mainstay::kernel::jobs::{Job, JobState, Jobs, NewJob, Outcome, Run, Runner, Worker};
use mainstay::kernel::registry::{Instance, Snapshot};
use mainstay::kernel::settings::{DatabaseSettings, JobSettings, Secret};
use mainstay::kernel::{Error, Result};
use sea_orm::{ConnectionTrait as _, DbBackend, Statement};
use tokio::sync::watch;

use crate::world::{World, eventually, note, notes, notes_when};

/// Quick polling and retrying, and a lease that lapses while one waits.
pub(crate) fn quick() -> JobSettings {
    JobSettings {
        poll_interval: Duration::from_millis(10),
        lease: Duration::from_millis(400),
        retry_backoff: Duration::from_millis(5),
        max_retry_backoff: Duration::from_millis(40),
        max_attempts: 3,
        stop_patience: Duration::from_millis(100),
        ..JobSettings::default()
    }
}

pub(crate) fn run(database: &Database, job: Job) -> Worker {
    Runner::new(database.clone(), [job], &quick()).spawn()
}

pub(crate) async fn enqueue(database: &Database, job: NewJob) -> bool {
    let transaction = database.begin().await.unwrap();
    let id = transaction.enqueue(job).await.unwrap();
    transaction.commit().await.unwrap();
    id.is_some()
}

/// A job that notes what it was enqueued with, in the transaction that completes it.
pub(crate) fn noting(database: &Database) -> Job {
    let database = database.clone();
    Job::new("note", move |run: Run| {
        let database = database.clone();
        async move { note_once(&database, &run).await }
    })
}

pub(crate) async fn note_once(database: &Database, run: &Run) -> Result<()> {
    let text: String = run.payload()?;
    run.once(async {
        let transaction = database.begin().await?;
        note(&transaction, &text).await?;
        transaction.commit().await
    })
    .await
}

pub(crate) fn note_job(text: &str) -> NewJob {
    NewJob::new("note", text).unwrap()
}

/// Waits until no job is left.
pub(crate) async fn all_done(database: &Database) {
    let jobs = Jobs::new(database.clone());
    eventually("all jobs are done", async || {
        jobs.list(None, 100).await.unwrap().is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_job_runs_when_its_transaction_commits_and_never_if_it_does_not() {
    let world = World::new();
    let database = world.database("auth-svc").await;
    let _runner = run(&database, noting(&database));
    let transaction = database.begin().await.unwrap();
    transaction.enqueue(note_job("rolled back")).await.unwrap();
    drop(transaction);
    assert!(enqueue(&database, note_job("committed")).await);
    assert_eq!(notes_when(&database, 1).await, ["committed"]);
    all_done(&database).await;
    assert_eq!(notes(&database).await, ["committed"]);
}

#[tokio::test]
async fn a_key_is_enqueued_once_until_its_job_is_done_and_a_time_is_waited_for() {
    let world = World::new();
    let database = world.database("auth-svc").await;
    let keyed = || note_job("keyed").unique("k");
    assert!(enqueue(&database, keyed().after(Duration::from_millis(300))).await);
    assert!(!enqueue(&database, keyed()).await, "the key is taken");
    assert!(enqueue(&database, note_job("other").unique("l")).await);

    let _runner = run(&database, noting(&database));
    assert_eq!(notes_when(&database, 2).await, ["other", "keyed"], "the later one was due later");
    all_done(&database).await;
    assert!(enqueue(&database, keyed()).await, "the key is free again");
    assert_eq!(notes_when(&database, 3).await.len(), 3);
}

#[tokio::test]
async fn a_job_that_fails_is_tried_again_then_stays_visible_until_somebody_retries_it() {
    let world = World::new();
    let database = world.database("auth-svc").await;
    let runs = Arc::new(AtomicU32::new(0));
    let (counted, writer) = (runs.clone(), database.clone());
    let job = Job::new("note", move |run: Run| {
        let number = counted.fetch_add(1, Ordering::SeqCst);
        let writer = writer.clone();
        async move {
            match number {
                0 => Err(Error::internal(anyhow::anyhow!("the first run fails"))),
                1 => panic!("the second run panics"),
                2 => std::future::pending().await,
                _ => note_once(&writer, &run).await,
            }
        }
    });
    let _runner = run(&database, job.timeout(Duration::from_millis(50)));
    enqueue(&database, note_job("a")).await;
    let jobs = Jobs::new(database.clone());
    let failed =
        eventually("the job has failed", async || jobs.list_failed(None, 10).await.unwrap().pop())
            .await;
    assert_eq!((failed.state, failed.attempts), (JobState::Failed, 3));
    assert!(failed.failing_since.is_some());
    assert!(failed.last_error.contains("longer than 50ms"), "{failed:?}");
    let past = jobs.history("note", 10).await.unwrap();
    let errors: Vec<_> = past.iter().map(|run| run.error.as_str()).collect();
    assert!(errors[2].contains("the first run fails"), "{errors:?}");
    assert!(errors[1].contains("the second run panics"), "{errors:?}");

    jobs.retry(failed.id).await.unwrap();
    assert_eq!(notes_when(&database, 1).await, ["a"]);
    all_done(&database).await;
    assert_eq!(runs.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_job_that_makes_no_sense_fails_at_once_and_can_be_discarded() {
    let world = World::new();
    let database = world.database("auth-svc").await;
    let _runner = run(&database, noting(&database));
    enqueue(&database, NewJob::new("note", 7).unwrap()).await;
    let jobs = Jobs::new(database.clone());
    let failed =
        eventually("the job has failed", async || jobs.list_failed(None, 10).await.unwrap().pop())
            .await;
    assert_eq!(failed.attempts, 1);
    assert!(failed.last_error.contains(&*INVALID_ARGUMENT.reason), "{failed:?}");
    jobs.discard(failed.id).await.unwrap();
    all_done(&database).await;
    assert!(jobs.discard(failed.id).await.is_err());
}

#[tokio::test]
async fn an_outage_does_not_count_and_ends_when_the_service_appears() {
    let world = World::new();
    let database = world.database("auth-svc").await;
    let (instances, watched) = watch::channel(Arc::new(Snapshot::new()));
    let (away, tries) = (Arc::new(AtomicU32::new(1)), Arc::new(AtomicU32::new(0)));
    let (is_away, counted, writer) = (away.clone(), tries.clone(), database.clone());
    let job = Job::new("note", move |run: Run| {
        counted.fetch_add(1, Ordering::SeqCst);
        let (away, writer) = (is_away.load(Ordering::SeqCst) == 1, writer.clone());
        async move {
            match away {
                true => Err(Error::unavailable("identity-svc is away")),
                false => note_once(&writer, &run).await,
            }
        }
    });
    let settings = JobSettings { max_retry_backoff: Duration::from_secs(3600), ..quick() };
    let _runner = Runner::new(database.clone(), [job], &settings)
        .hasten_with(watched, ["identity-svc"])
        .spawn();
    enqueue(&database, note_job("a")).await;
    eventually("more tries than would count", async || {
        (tries.load(Ordering::SeqCst) >= 10).then_some(())
    })
    .await;
    assert_eq!(Jobs::new(database.clone()).list_failed(None, 10).await.unwrap(), []);

    away.store(0, Ordering::SeqCst);
    let instance = Instance {
        id: "1".into(),
        service: "identity-svc".into(),
        address: "127.0.0.1:1".into(),
        version: "1".into(),
        ..Instance::default()
    };
    instances.send_replace(Arc::new(Snapshot::from([("identity-svc".into(), vec![instance])])));
    assert_eq!(notes_when(&database, 1).await, ["a"]);
}

#[tokio::test]
async fn a_drain_asks_a_job_to_stop_and_gives_it_back_at_once() {
    let world = World::new();
    let database = world.database("auth-svc").await;
    let settings = JobSettings { lease: Duration::from_secs(3600), ..quick() };
    let (started, was_started) = tokio::sync::mpsc::unbounded_channel();
    let mut was_started = was_started;
    for obeys in [true, false] {
        let started = started.clone();
        let job = Job::new("note", move |run: Run| {
            started.send(()).unwrap();
            async move {
                if obeys {
                    run.stopping().cancelled().await;
                    return Err(Error::unavailable("asked to stop"));
                }
                std::future::pending().await
            }
        });
        if obeys {
            enqueue(&database, note_job("a")).await;
        }
        let runner = Runner::new(database.clone(), [job], &settings).spawn();
        was_started.recv().await.unwrap();
        runner.stop().await;
    }
    let _runner = Runner::new(database.clone(), [noting(&database)], &settings).spawn();
    assert_eq!(notes_when(&database, 1).await, ["a"]);
    all_done(&database).await;
    let past = Jobs::new(database.clone()).history("note", 10).await.unwrap();
    let outcomes: Vec<_> = past.iter().map(|run| run.outcome).collect();
    assert_eq!(outcomes, [Outcome::Succeeded, Outcome::Released, Outcome::Released]);
}

#[tokio::test]
async fn a_job_of_a_name_nobody_knows_waits() {
    let world = World::new();
    let database = world.database("auth-svc").await;
    enqueue(&database, NewJob::new("of another version", ()).unwrap()).await;
    enqueue(&database, note_job("a")).await;
    let _runner = run(&database, noting(&database));
    assert_eq!(notes_when(&database, 1).await, ["a"]);
    let waiting = Jobs::new(database.clone()).list(Some("of another version"), 10).await.unwrap();
    assert_eq!((waiting.len(), waiting[0].state), (1, JobState::Waiting));
}

#[tokio::test]
async fn a_row_that_cannot_be_read_holds_up_no_other_job() {
    // SQLite alone takes anything into a column.
    let world = World::new();
    let url = format!("sqlite://{}?mode=rwc", world.file("auth-svc.db").display());
    let settings = DatabaseSettings { url: Secret::from(url), ..DatabaseSettings::default() };
    let database = Database::open("auth-svc", &settings).unwrap();
    database.migrate(Vec::new()).await.unwrap();
    let runs = Arc::new(AtomicU32::new(0));
    let counting = Arc::clone(&runs);
    let count = Job::new("note", move |_: Run| {
        counting.fetch_add(1, Ordering::Relaxed);
        std::future::ready(Ok(()))
    });
    assert!(enqueue(&database, note_job("spoilt")).await);
    let spoil = Statement::from_string(DbBackend::Sqlite, "UPDATE job SET id = 'of others'");
    database.connection().execute_raw(spoil).await.unwrap();
    assert!(enqueue(&database, note_job("sound")).await);

    let _runner = run(&database, count);
    eventually("the sound one has run", async || (runs.load(Ordering::Relaxed) == 1).then_some(()))
        .await;
}
