//! Sagas: work over several services that is done as a whole, or undone.
//!
//! A [`Saga`] is a list of [`Step`]s, each an action and what undoes it. It is begun by a
//! transaction that says so with a [`NewSaga`], so that the state it follows from and the saga commit
//! together. From then on the database remembers where it stands. Each step is a durable
//! [job](crate::kernel::jobs): the transaction that completes the job moves the saga's row on and
//! enqueues the job of the next step, so there is no moment at which a saga is forgotten.
//!
//! | a step that | leads to |
//! |---|---|
//! | succeeds | the next step; after the last one the saga is `completed` |
//! | is refused (`INVALID_ARGUMENT`, `NOT_FOUND`, `ALREADY_EXISTS`, `FAILED_PRECONDITION`, `OUT_OF_RANGE`) | compensation: from this step back to the first; then the saga is `compensated` |
//! | fails otherwise | another attempt, with back-off, as long as it takes, or until the step [gives up](Step::give_up_after) |
//!
//! The refused step is compensated as well: an earlier attempt whose answer was lost may have had its
//! effect. A compensation therefore takes it well when there is nothing to undo, and is itself tried
//! until it succeeds. An answer such as `PERMISSION_DENIED` or `UNIMPLEMENTED` is no refusal: it
//! says that a deployment is half done, which is no reason to undo what people were promised.
//!
//! A process may die at any moment, so that actions and compensations may run more than once. They
//! are idempotent by the [key](StepCall::key) of their step. Those that only change the service's own
//! database are [local](Step::local): they commit together with the saga's row, and happen once.
//!
//! What fails for longer than `jobs.stuck_after` is on the [list of stuck sagas](Sagas::list_stuck),
//! with the reason; it goes on being tried. An operator may [resume](Sagas::resume) it at once, or
//! [abort](Sagas::abort) one that can still turn back.

mod begin;
mod definition;
mod engine;
mod operate;
mod row;

use sea_orm_migration::MigrationTrait;

pub use begin::NewSaga;
pub use definition::{Saga, Step, StepCall};
pub use operate::{Progress, SagaState, Sagas};

pub(crate) use begin::begin;
pub use engine::job_of;
pub(crate) use operate::prune;

/// The table that sagas need in each service's database.
pub(crate) fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    vec![Box::new(row::CreateSagas)]
}

/// The name of the job that moves the sagas of this name on.
fn job_name(saga: &str) -> String {
    format!("saga.{saga}")
}
