//! Sagas: work over several services that is done as a whole, or undone.

mod crash;
mod elsewhere;
mod operator;

use std::time::Duration;

use mainstay::kernel::database::Database;
use mainstay::kernel::jobs::{Runner, Worker};
use mainstay::kernel::saga::{self, NewSaga, Progress, Saga, SagaState, Sagas, Step};
use mainstay::kernel::settings::JobSettings;

use crate::jobs::quick;
use crate::world::{World, eventually, note, notes};
use elsewhere::{Answer, Elsewhere};

const TRIP: &str = "trip";

pub(crate) fn run(database: &Database, saga: Saga) -> Worker {
    run_with(database, saga, &quick())
}

pub(crate) fn run_with(database: &Database, saga: Saga, settings: &JobSettings) -> Worker {
    Runner::new(database.clone(), [saga::job_of(saga, database.clone())], settings).spawn()
}

pub(crate) async fn begin(database: &Database, id: &str) -> bool {
    let transaction = database.begin().await.unwrap();
    let saga = NewSaga::new(TRIP, id, Vec::<String>::new()).unwrap();
    let begun = transaction.begin_saga(saga).await.unwrap();
    transaction.commit().await.unwrap();
    begun
}

/// Waits until the saga is in this state.
pub(crate) async fn ended(database: &Database, id: &str, state: SagaState) -> Progress {
    let sagas = Sagas::new(database.clone());
    eventually(&format!("the saga is {}", state.as_str()), async || {
        let progress = sagas.find(TRIP, id).await.unwrap().unwrap();
        assert!(!progress.state.is_finished() || progress.state == state, "{progress:?}");
        (progress.state == state).then_some(progress)
    })
    .await
}

/// Flight, hotel and car, each booked elsewhere; the note of the trip is kept here.
pub(crate) fn trip(elsewhere: &Elsewhere, database: &Database) -> Saga {
    let (done, undone) = (database.clone(), database.clone());
    Saga::new(TRIP)
        .step(elsewhere.step("flight"))
        .step(elsewhere.step("hotel"))
        .step(
            Step::local("note", move |_, data: Vec<String>| {
                let database = done.clone();
                async move {
                    let transaction = database.begin().await?;
                    note(&transaction, &format!("noted {}", data.join("+"))).await?;
                    transaction.commit().await?;
                    Ok(data)
                }
            })
            .compensate_local(move |_, data: Vec<String>| {
                let database = undone.clone();
                async move {
                    let transaction = database.begin().await?;
                    note(&transaction, "crossed out").await?;
                    transaction.commit().await?;
                    Ok(data)
                }
            }),
        )
        .step(elsewhere.step("car"))
}

#[tokio::test]
async fn steps_are_done_in_order_and_hand_their_data_on() {
    let world = World::new();
    let database = world.database("auth-svc").await;
    let elsewhere = Elsewhere::default();
    let _runner = run(&database, trip(&elsewhere, &database));
    assert!(begin(&database, "t1").await);
    assert!(!begin(&database, "t1").await, "begun once");
    ended(&database, "t1", SagaState::Completed).await;
    assert_eq!(elsewhere.effects(), ["t1/flight", "t1/hotel", "t1/car"]);
    assert_eq!(notes(&database).await, ["noted flight+hotel"]);
}

#[tokio::test]
async fn a_saga_whose_transaction_rolls_back_never_was() {
    let world = World::new();
    let database = world.database("auth-svc").await;
    let transaction = database.begin().await.unwrap();
    let saga = NewSaga::new(TRIP, "t1", Vec::<String>::new()).unwrap();
    assert!(transaction.begin_saga(saga).await.unwrap());
    drop(transaction);
    let elsewhere = Elsewhere::default();
    let _runner = run(&database, trip(&elsewhere, &database));
    begin(&database, "t2").await;
    ended(&database, "t2", SagaState::Completed).await;
    assert_eq!(Sagas::new(database.clone()).find(TRIP, "t1").await.unwrap(), None);
    assert_eq!(elsewhere.effects(), ["t2/flight", "t2/hotel", "t2/car"]);
}

#[tokio::test]
async fn a_refusal_undoes_what_was_done_last_first() {
    let world = World::new();
    let database = world.database("auth-svc").await;
    let elsewhere = Elsewhere::default();
    elsewhere.answer("car", Answer::Refuse);
    let _runner = run(&database, trip(&elsewhere, &database));
    begin(&database, "t1").await;
    let progress = ended(&database, "t1", SagaState::Compensated).await;
    assert!(progress.reason.contains("step car was refused"), "{progress:?}");
    assert_eq!(
        elsewhere.effects(),
        [
            "t1/flight",
            "t1/hotel",
            "t1/car/compensation",
            "t1/hotel/compensation",
            "t1/flight/compensation",
        ]
    );
    assert_eq!(notes(&database).await, ["noted flight+hotel", "crossed out"]);
}

#[tokio::test]
async fn an_outage_is_waited_for_and_undoes_nothing() {
    let world = World::new();
    let database = world.database("auth-svc").await;
    let elsewhere = Elsewhere::default();
    elsewhere.answer("hotel", Answer::Away);
    let _runner = run(&database, trip(&elsewhere, &database));
    begin(&database, "t1").await;
    elsewhere.called("hotel", 10).await;
    elsewhere.answer("hotel", Answer::Accept);
    ended(&database, "t1", SagaState::Completed).await;
    assert_eq!(elsewhere.effects(), ["t1/flight", "t1/hotel", "t1/car"]);
}

/// The first attempt had its effect, and its answer was lost; the second is refused.
#[tokio::test]
async fn a_refused_step_is_undone_too_for_an_earlier_attempt_may_have_had_its_effect() {
    let world = World::new();
    let database = world.database("auth-svc").await;
    let elsewhere = Elsewhere::default();
    elsewhere.answer("flight", Answer::LoseReply);
    let _runner = run(&database, trip(&elsewhere, &database));
    begin(&database, "t1").await;
    elsewhere.called("flight", 2).await;
    elsewhere.answer("flight", Answer::Refuse);
    ended(&database, "t1", SagaState::Compensated).await;
    assert_eq!(elsewhere.effects(), ["t1/flight", "t1/flight/compensation"]);
}

#[tokio::test]
async fn a_compensation_is_tried_until_it_succeeds() {
    let world = World::new();
    let database = world.database("auth-svc").await;
    let elsewhere = Elsewhere::default();
    elsewhere.answer("car", Answer::Refuse);
    elsewhere.answer("hotel/compensation", Answer::Refuse);
    let _runner = run(&database, trip(&elsewhere, &database));
    begin(&database, "t1").await;
    elsewhere.called("hotel/compensation", 5).await;
    elsewhere.answer("hotel/compensation", Answer::Accept);
    ended(&database, "t1", SagaState::Compensated).await;
    assert_eq!(elsewhere.effects().last().unwrap(), "t1/flight/compensation");
}

#[tokio::test]
async fn a_step_waits_for_its_time_and_gives_up_after_its_patience() {
    let world = World::new();
    let database = world.database("auth-svc").await;
    let elsewhere = Elsewhere::default();
    elsewhere.answer("hotel", Answer::Away);
    let delay = Duration::from_secs(1);
    let saga = Saga::new(TRIP)
        .step(elsewhere.step("flight"))
        .step(elsewhere.step("hotel").after(delay).give_up_after(Duration::from_millis(50)));
    let _runner = run(&database, saga);
    begin(&database, "t1").await;
    elsewhere.called("flight", 1).await;
    let begun = std::time::Instant::now();
    elsewhere.called("hotel", 1).await;
    // The timer began before the call of the step before was seen here.
    assert!(begun.elapsed() > delay / 2, "{:?}", begun.elapsed());
    let progress = ended(&database, "t1", SagaState::Compensated).await;
    assert!(progress.reason.contains("hotel is away"), "{progress:?}");
}
