//! A process dies in the middle of a saga: another goes on, and nothing happens twice.

use mainstay::kernel::saga::SagaState;

use super::elsewhere::{Answer, Elsewhere};
use super::{begin, ended, run, trip};
use crate::world::{World, notes};

/// Dies in the step, before or after it had its effect elsewhere; the state is not written.
#[tokio::test]
async fn a_death_in_a_step_repeats_that_step_alone() {
    for answer in [Answer::HangBefore, Answer::HangAfter] {
        for step in ["flight", "hotel", "car"] {
            let world = World::new();
            let database = world.database("auth-svc").await;
            let elsewhere = Elsewhere::default();
            elsewhere.answer(step, answer);
            let dying = run(&database, trip(&elsewhere, &database));
            begin(&database, "t1").await;
            elsewhere.called(step, 1).await;
            drop(dying);

            elsewhere.answer(step, Answer::Accept);
            let _runner = run(&database, trip(&elsewhere, &database));
            ended(&database, "t1", SagaState::Completed).await;
            let effects = elsewhere.effects();
            assert_eq!(effects, ["t1/flight", "t1/hotel", "t1/car"], "{step} {answer:?}");
            assert_eq!(notes(&database).await, ["noted flight+hotel"], "{step} {answer:?}");
        }
    }
}

#[tokio::test]
async fn a_death_in_a_compensation_repeats_that_compensation_alone() {
    for answer in [Answer::HangBefore, Answer::HangAfter] {
        for step in ["car", "hotel", "flight"] {
            let world = World::new();
            let database = world.database("auth-svc").await;
            let elsewhere = Elsewhere::default();
            let undoing = format!("{step}/compensation");
            elsewhere.answer("car", Answer::Refuse);
            elsewhere.answer(&undoing, answer);
            let dying = run(&database, trip(&elsewhere, &database));
            begin(&database, "t1").await;
            elsewhere.called(&undoing, 1).await;
            drop(dying);

            elsewhere.answer(&undoing, Answer::Accept);
            let _runner = run(&database, trip(&elsewhere, &database));
            ended(&database, "t1", SagaState::Compensated).await;
            assert_eq!(
                elsewhere.effects(),
                [
                    "t1/flight",
                    "t1/hotel",
                    "t1/car/compensation",
                    "t1/hotel/compensation",
                    "t1/flight/compensation",
                ],
                "{step} {answer:?}"
            );
            assert_eq!(notes(&database).await, ["noted flight+hotel", "crossed out"]);
        }
    }
}

/// Two replicas share the sagas; each effect is there once.
#[tokio::test]
async fn two_replicas_move_sagas_on_together() {
    let world = World::new();
    let database = world.database("auth-svc").await;
    let other = world.database("auth-svc").await;
    let elsewhere = Elsewhere::default();
    let _runners =
        [run(&database, trip(&elsewhere, &database)), run(&other, trip(&elsewhere, &other))];
    let ids: Vec<_> = (0..10).map(|number| format!("t{number}")).collect();
    for id in &ids {
        begin(&database, id).await;
    }
    for id in &ids {
        ended(&database, id, SagaState::Completed).await;
    }
    assert_eq!(elsewhere.effects().len(), 30);
    assert_eq!(notes(&database).await.len(), 10);
}
