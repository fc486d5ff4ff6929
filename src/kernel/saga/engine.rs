//! Moving sagas on: one job for each step, in either direction.
//!
//! Whatever a step does elsewhere comes first; then one transaction completes the job, moves the row
//! on and enqueues the job of the next step. A process that dies before it has done the step, after
//! it, or before the commit leaves the job as it was: the next epoch begins the step again.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tonic::Code;

use super::begin::FIRST;
use super::definition::{Action, Saga, Step, StepCall};
use super::job_name;
use super::operate::SagaState;
use super::row::{self, Next, Row};
use crate::kernel::database::Database;
use crate::kernel::error::{DEADLINE_EXCEEDED, Error, Result};
use crate::kernel::failpoint::Failpoint;
use crate::kernel::jobs::{Job, Jobs, NewJob, Run};
use crate::kernel::telemetry;

/// The job that moves the sagas of this definition on, for a runner that no module starts.
pub fn job_of(saga: Saga, database: Database) -> Job {
    let longest = saga.steps().iter().map(|step| step.timeout).max().unwrap_or_default();
    let name = job_name(saga.name());
    let engine = Arc::new(Engine { saga, database });
    // Steps keep their own time; what is left to the job is to write what came of them.
    let timeout = longest + Duration::from_secs(60);
    Job::new(name, move |run| {
        let engine = engine.clone();
        async move { engine.advance(&run).await }
    })
    .timeout(timeout)
    .endless()
}

struct Engine {
    saga: Saga,
    database: Database,
}

/// What is to be done next with a saga.
struct Task<'a> {
    step: &'a Step,
    action: &'a Action,
    is_local: bool,
    call: StepCall,
}

impl Engine {
    async fn advance(&self, run: &Run) -> Result<()> {
        let id: String = run.payload()?;
        let row = row::read(self.database.connection(), self.saga.name(), &id).await?;
        // Pruned, or finished by another job: there is nothing left to do.
        let Some(row) = row.filter(|row| !row.state.is_finished()) else { return Ok(()) };
        let index = self.index_of(&row)?;
        let Some(task) = self.task(&row, index, run.attempt()) else {
            return self.finish(run, &row, index, &row.data).await;
        };
        let Err(error) = self.perform(run, &row, index, &task).await else { return Ok(()) };
        let turns_back = row.state == SagaState::Running
            && self.may_turn_back(index)
            && (is_refusal(&error) || self.is_given_up(task.step, &id).await?);
        if !turns_back {
            return Err(error);
        }
        let step = task.step.name;
        let about = telemetry::hashed_subject(&id);
        tracing::warn!(saga = self.saga.name(), about, step, %error, "a step was refused: compensating");
        let reason = format!("step {step} was refused: {error}");
        self.turn_back(run, &row, index, &reason).await
    }

    fn index_of(&self, row: &Row) -> Result<usize> {
        if row.step == FIRST {
            let first = self.saga.steps().iter().position(|step| !step.is_begun);
            return Ok(first.unwrap_or_default());
        }
        let found = self.saga.steps().iter().position(|step| step.name == row.step);
        found.ok_or_else(|| {
            let (saga, step) = (self.saga.name(), &row.step);
            Error::internal(anyhow::anyhow!("saga {saga} has no step {step} in this version"))
        })
    }

    /// What to do at this step; `None` where there is nothing to undo.
    fn task(&self, row: &Row, index: usize, attempt: u32) -> Option<Task<'_>> {
        let step = &self.saga.steps()[index];
        let is_compensation = row.state == SagaState::Compensating;
        let (action, is_local) = match (is_compensation, &step.compensation) {
            (false, _) => (&step.action, step.is_local),
            (true, Some(compensation)) => (&compensation.action, compensation.is_local),
            (true, None) => return None,
        };
        let call = StepCall { saga_id: row.id.clone(), step: step.name, is_compensation, attempt };
        Some(Task { step, action, is_local, call })
    }

    async fn perform(&self, run: &Run, row: &Row, index: usize, task: &Task<'_>) -> Result<()> {
        let act = async {
            let acting = (task.action)(task.call.clone(), row.data.clone());
            let acted = tokio::time::timeout(task.step.timeout, acting)
                .await
                .unwrap_or_else(|_| Err(Error::new(DEADLINE_EXCEEDED, "the step took too long")));
            if acted.is_ok() && task.call.is_compensation {
                Failpoint::MidCompensation.pass();
            }
            acted
        };
        if task.is_local {
            return run.once(async { self.write(row, index, &act.await?).await }).await;
        }
        let data = act.await?;
        self.finish(run, row, index, &data).await
    }

    /// The step is done, or undone: completes the job together with moving the saga on.
    async fn finish(&self, run: &Run, row: &Row, index: usize, data: &Value) -> Result<()> {
        run.once(self.write(row, index, data)).await
    }

    /// Moves the saga on from a step that is done, or undone.
    async fn write(&self, row: &Row, index: usize, data: &Value) -> Result<()> {
        let steps = self.saga.steps();
        let to = match row.state {
            SagaState::Compensating => index.checked_sub(1).ok_or(SagaState::Compensated),
            _ => Some(index + 1).filter(|next| *next < steps.len()).ok_or(SagaState::Completed),
        };
        let (state, target) = match to {
            Ok(target) => (row.state, target),
            Err(finished) => (finished, index),
        };
        let delay = match row.state {
            SagaState::Running => steps[target].delay,
            _ => Duration::ZERO,
        };
        let next = self.next(state, target, None);
        self.commit(row, &next, data, delay).await
    }

    async fn turn_back(&self, run: &Run, row: &Row, index: usize, reason: &str) -> Result<()> {
        let next = self.next(SagaState::Compensating, index, Some(reason));
        run.once(self.commit(row, &next, &row.data, Duration::ZERO)).await
    }

    fn next<'a>(&'a self, state: SagaState, target: usize, reason: Option<&'a str>) -> Next<'a> {
        let steps = self.saga.steps();
        let reversible = steps[..=target].iter().all(|step| !step.is_irreversible);
        Next { state, step: steps[target].name, reversible, reason }
    }

    async fn commit(
        &self,
        row: &Row,
        next: &Next<'_>,
        data: &Value,
        delay: Duration,
    ) -> Result<()> {
        let transaction = self.database.begin().await?;
        row::advance(transaction.connection(), row, next, data).await?;
        if !next.state.is_finished() {
            let job = NewJob::new(job_name(self.saga.name()), &row.id)?.unique(&row.id);
            transaction.enqueue(job.after(delay)).await?;
        }
        transaction.commit().await?;
        let (saga, state, step) = (self.saga.name(), next.state.as_str(), next.step);
        // A saga may be about a user, and have the user's id.
        let about = telemetry::hashed_subject(&row.id);
        tracing::debug!(saga, about, state, step, "a saga moves on");
        Ok(())
    }

    /// Whether everything done so far can be undone.
    fn may_turn_back(&self, index: usize) -> bool {
        self.saga.steps()[..index].iter().all(|step| !step.is_irreversible)
    }

    async fn is_given_up(&self, step: &Step, id: &str) -> Result<bool> {
        let Some(patience) = step.give_up_after else { return Ok(false) };
        let job = Jobs::new(self.database.clone()).find(&job_name(self.saga.name()), id).await?;
        let Some(since) = job.and_then(|job| job.failing_since) else { return Ok(false) };
        Ok((chrono::Utc::now() - since).to_std().is_ok_and(|failing| failing >= patience))
    }
}

/// An answer that no repetition will change.
fn is_refusal(error: &Error) -> bool {
    matches!(
        error.code().grpc,
        Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::FailedPrecondition
            | Code::OutOfRange
    )
}
