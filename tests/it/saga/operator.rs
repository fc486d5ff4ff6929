//! What an operator sees of sagas that do not get on, and does about them.

use std::time::Duration;

use mainstay::kernel::error::{FAILED_PRECONDITION, NOT_FOUND};
use mainstay::kernel::saga::{Saga, SagaState, Sagas};
use mainstay::kernel::settings::JobSettings;
use sea_orm::ConnectionTrait as _;

use super::elsewhere::{Answer, Elsewhere};
use super::{TRIP, begin, ended, run, run_with, trip};
use crate::jobs::quick;
use crate::world::{World, eventually};

/// What failed three times is not tried again while a story lasts, unless somebody says so.
fn reluctant() -> JobSettings {
    JobSettings {
        retry_backoff: Duration::from_secs(3600),
        max_retry_backoff: Duration::from_secs(3600),
        ..quick()
    }
}

#[tokio::test]
async fn a_stuck_saga_is_listed_with_its_reason_and_resumed() {
    let world = World::new();
    let database = world.database("auth-svc").await;
    let elsewhere = Elsewhere::default();
    elsewhere.answer("hotel", Answer::Away);
    let _runner = run_with(&database, trip(&elsewhere, &database), &reluctant());
    begin(&database, "t1").await;
    let sagas = Sagas::new(database.clone());
    let stuck = eventually("the saga is stuck", async || {
        sagas.list_stuck(Duration::ZERO, 10).await.unwrap().pop()
    })
    .await;
    assert_eq!((stuck.id.as_str(), stuck.step.as_str()), ("t1", "hotel"));
    assert!(stuck.last_error.contains("hotel is away"), "{stuck:?}");
    assert!(sagas.list_stuck(Duration::from_secs(60), 10).await.unwrap().is_empty());

    elsewhere.answer("hotel", Answer::Accept);
    sagas.resume(TRIP, "t1").await.unwrap();
    ended(&database, "t1", SagaState::Completed).await;
    assert!(sagas.list_stuck(Duration::ZERO, 10).await.unwrap().is_empty());
    assert!(sagas.resume(TRIP, "t1").await.unwrap_err().is(&FAILED_PRECONDITION));
    assert!(sagas.resume(TRIP, "t2").await.unwrap_err().is(&NOT_FOUND));
}

#[tokio::test]
async fn a_stuck_saga_is_aborted() {
    let world = World::new();
    let database = world.database("auth-svc").await;
    let elsewhere = Elsewhere::default();
    elsewhere.answer("hotel", Answer::Away);
    let _runner = run(&database, trip(&elsewhere, &database));
    begin(&database, "t1").await;
    elsewhere.called("hotel", 3).await;
    let sagas = Sagas::new(database.clone());
    sagas.abort(TRIP, "t1").await.unwrap();
    let progress = ended(&database, "t1", SagaState::Compensated).await;
    assert_eq!(progress.reason, "aborted by an operator");
    assert_eq!(
        elsewhere.effects(),
        ["t1/flight", "t1/hotel/compensation", "t1/flight/compensation"]
    );
    assert!(sagas.abort(TRIP, "t1").await.unwrap_err().is(&FAILED_PRECONDITION));
}

#[tokio::test]
async fn there_is_no_way_back_behind_an_irreversible_step() {
    let world = World::new();
    let database = world.database("auth-svc").await;
    let elsewhere = Elsewhere::default();
    elsewhere.answer("letter", Answer::Refuse);
    let saga = Saga::new(TRIP)
        .step(elsewhere.step("flight").irreversible())
        .step(elsewhere.step("letter"));
    let _runner = run(&database, saga);
    begin(&database, "t1").await;
    elsewhere.called("letter", 3).await;
    let sagas = Sagas::new(database.clone());
    assert!(sagas.abort(TRIP, "t1").await.unwrap_err().is(&FAILED_PRECONDITION));
    elsewhere.answer("letter", Answer::Accept);
    ended(&database, "t1", SagaState::Completed).await;
    assert_eq!(elsewhere.effects(), ["t1/flight", "t1/letter"]);
}

/// Somebody discarded the job: the saga is listed all the same, and gets a new one.
#[tokio::test]
async fn a_saga_that_nothing_moves_on_is_stuck_and_resumed() {
    let world = World::new();
    let database = world.database("auth-svc").await;
    begin(&database, "t1").await;
    let transaction = database.begin().await.unwrap();
    transaction.connection().execute_unprepared("DELETE FROM job").await.unwrap();
    transaction.commit().await.unwrap();
    let sagas = Sagas::new(database.clone());
    assert_eq!(sagas.list_stuck(Duration::from_secs(3600), 10).await.unwrap().len(), 1);

    sagas.resume(TRIP, "t1").await.unwrap();
    let elsewhere = Elsewhere::default();
    let _runner = run(&database, trip(&elsewhere, &database));
    ended(&database, "t1", SagaState::Completed).await;
}
