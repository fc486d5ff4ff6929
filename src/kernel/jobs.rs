//! Durable jobs: work that the service's database remembers until it is done.
//!
//! A [`Job`] is a name and what handles it. It is begun by a [`NewJob`] that a transaction
//! [enqueues](crate::kernel::database::Transaction::enqueue), so that state and job commit together
//! or not at all, or by its own schedule. The [`Runner`] of any replica claims what is due, for a
//! lease under an epoch. A process that dies lets its leases lapse; the next claim raises the epoch,
//! and every statement that ends a run is conditional on it: a late finish changes nothing.
//!
//! What is promised: a job runs at least once, at one place at a time but for clocks that disagree by
//! more than two thirds of a lease, and it is completed once. Work inside [`Run::once`] commits
//! together with the completion, so that its effect happens exactly once.
//!
//! | file | what it holds |
//! |---|---|
//! | `definition` | [`Job`]: name, handler, schedule, bounds |
//! | `enqueue` | [`NewJob`], and its row |
//! | `schedule` | when a job is due by itself |
//! | `runner`, `attempt`, `leases` | claim, run, keep the lease, record, drain |
//! | `queue`, `outcome` | the statements of a claim, and of each way a run ends |
//! | `history`, `operate` | what ran, what failed for good, what an operator may do about it |
//! | `worker` | the background task that each of a process's workers is |

mod attempt;
mod definition;
mod enqueue;
mod history;
mod leases;
mod operate;
mod outcome;
mod prune;
mod queue;
mod run;
mod runner;
mod schedule;
mod schema;
mod worker;

use sea_orm_migration::MigrationTrait;

pub use definition::Job;
pub use enqueue::{JobId, NewJob};
pub use history::{Outcome, PastRun};
pub use operate::{JobState, Jobs, KnownJob};
pub use run::Run;
pub use runner::Runner;
pub use schedule::Schedule;
pub use worker::Worker;

pub(crate) use enqueue::append;
pub(crate) use outcome::{Lease, complete};
pub(crate) use prune::kernel_jobs;

/// The tables that jobs need in each service's database.
pub(crate) fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    vec![Box::new(schema::CreateJobs), Box::new(schema::AddTracestate)]
}
