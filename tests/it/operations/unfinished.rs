//! Sagas and jobs that do not get on, in an operator's hands.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mainstay::contract::operations::{OPERATOR, OperationsClient as _, proto};
use mainstay::kernel::error::{Error, FAILED_PRECONDITION, INVALID_ARGUMENT, NOT_FOUND};
use mainstay::kernel::jobs::{Job, NewJob, Run};
use mainstay::kernel::lifecycle::Module;
use mainstay::kernel::saga::{NewSaga, Saga, Step, StepCall};

use super::{Operated, audited};
use crate::lifecycle::{SlowTrail, sound_module};
use crate::world::eventually;

const SAGA: &str = "delivery";
const JOB: &str = "sweep";

/// A service whose saga and whose job do not get on for as long as it is broken.
struct Service {
    operated: Operated,
    broken: Arc<AtomicBool>,
}

impl std::ops::Deref for Service {
    type Target = Operated;

    fn deref(&self) -> &Operated {
        &self.operated
    }
}

impl Service {
    async fn start() -> Self {
        let broken = Arc::new(AtomicBool::new(true));
        let faulty = broken.clone();
        Self { operated: Operated::start(|_| module(faulty)).await, broken }
    }

    async fn begin(&self, id: &str) {
        let transaction = self.database.begin().await.unwrap();
        transaction.begin_saga(NewSaga::new(SAGA, id, ()).unwrap()).await.unwrap();
        transaction.commit().await.unwrap();
    }

    async fn enqueue(&self) {
        let transaction = self.database.begin().await.unwrap();
        transaction.enqueue(NewJob::new(JOB, ()).unwrap()).await.unwrap();
        transaction.commit().await.unwrap();
    }

    async fn stuck(&self, count: usize) -> Vec<proto::Saga> {
        eventually(&format!("{count} stuck sagas"), async || {
            let request = proto::ListStuckSagasRequest::default();
            let sagas = self.client.list_stuck_sagas(request).await.unwrap().sagas;
            let told = sagas.iter().all(|saga| !saga.last_error.is_empty());
            (sagas.len() == count && told).then_some(sagas)
        })
        .await
    }

    async fn failed_jobs(&self, count: usize) -> Vec<proto::Job> {
        eventually(&format!("{count} failed jobs"), async || {
            let request = proto::ListJobsRequest {
                name: JOB.into(),
                failed: true,
                ..proto::ListJobsRequest::default()
            };
            let jobs = self.client.list_jobs(request).await.unwrap().jobs;
            (jobs.len() == count).then_some(jobs)
        })
        .await
    }

    async fn runs(&self) -> Vec<proto::JobRun> {
        let request = proto::ListJobRunsRequest { name: JOB.into(), page_size: 0 };
        self.client.list_job_runs(request).await.unwrap().runs
    }
}

fn module(broken: Arc<AtomicBool>) -> Module {
    let done = |_: StepCall, (): ()| std::future::ready(Ok(()));
    let answer = broken.clone();
    let step = Step::new("hand over", move |_: StepCall, (): ()| {
        let broken = answer.load(Ordering::SeqCst);
        std::future::ready(match broken {
            true => Err(Error::unavailable("nobody is at home")),
            false => Ok(()),
        })
    })
    .compensate(|_, (): ()| std::future::ready(Ok(())));
    let job = Job::new(JOB, move |_: Run| {
        let broken = broken.load(Ordering::SeqCst);
        std::future::ready(match broken {
            true => Err(Error::new(INVALID_ARGUMENT, "the broom is missing")),
            false => Ok(()),
        })
    });
    sound_module(SlowTrail::new())
        .saga(Saga::new(SAGA).step(Step::new("pack", done).compensate(done)).step(step))
        .job(job)
}

fn of(saga_id: &str) -> (String, String) {
    (SAGA.to_owned(), saga_id.to_owned())
}

#[tokio::test]
async fn a_stuck_saga_is_listed_with_its_reason_then_aborted_or_resumed() {
    let service = Service::start().await;
    for id in ["d1", "d2"] {
        service.begin(id).await;
    }
    let stuck = service.stuck(2).await;
    let ids: Vec<_> = stuck.iter().map(|saga| saga.id.as_str()).collect();
    assert_eq!(ids, ["d1", "d2"], "the oldest first");
    assert_eq!((stuck[0].name.as_str(), stuck[0].step.as_str()), (SAGA, "hand over"));
    assert_eq!(stuck[0].state(), proto::SagaState::Running);
    assert!(stuck[0].last_error.contains("nobody is at home"), "{:?}", stuck[0]);
    assert!(stuck[0].failing_since.is_some() && stuck[0].reversible);
    let hour = prost_types::Duration { seconds: 3600, nanos: 0 };
    let patient = proto::ListStuckSagasRequest { stuck_for: Some(hour), page_size: 0 };
    assert_eq!(service.client.list_stuck_sagas(patient).await.unwrap().sagas, []);

    let (name, saga_id) = of("d1");
    let abort = proto::AbortSagaRequest { name, saga_id };
    service.client.abort_saga(abort.clone()).await.unwrap();
    service.stuck(1).await;
    let again = service.client.abort_saga(abort).await.unwrap_err();
    assert!(again.is(&FAILED_PRECONDITION), "{again:?}");

    // Before what it waits for is mended: then it goes on by itself, and may be done before it is resumed.
    let (name, saga_id) = of("d2");
    service.client.resume_saga(proto::ResumeSagaRequest { name, saga_id }).await.unwrap();
    service.broken.store(false, Ordering::SeqCst);
    service.stuck(0).await;
    let record = audited(&service.mesh, "AbortSaga", 2).await.remove(0);
    assert_eq!((record.resource.as_str(), record.caller.as_str()), ("sagas/d1", OPERATOR));
    let (name, saga_id) = of("d3");
    let unknown = service.client.resume_saga(proto::ResumeSagaRequest { name, saga_id }).await;
    assert!(unknown.unwrap_err().is(&NOT_FOUND));
}

#[tokio::test]
async fn a_job_that_has_failed_for_good_is_listed_with_its_runs_then_retried_or_discarded() {
    let service = Service::start().await;
    service.enqueue().await;
    let failed = service.failed_jobs(1).await.remove(0);
    assert_eq!(failed.state(), proto::JobState::Failed);
    assert!(failed.last_error.contains("the broom is missing"), "{failed:?}");
    let runs = service.runs().await;
    assert_eq!(runs.len(), failed.attempts as usize);
    assert_eq!((runs[0].outcome.as_str(), &runs[0].job_id), ("failed", &failed.id));

    service.broken.store(false, Ordering::SeqCst);
    let job_id = failed.id;
    service.client.retry_job(proto::RetryJobRequest { job_id }).await.unwrap();
    service.failed_jobs(0).await;
    eventually("the job is done", async || (service.runs().await[0].outcome == "ok").then_some(()))
        .await;

    service.broken.store(true, Ordering::SeqCst);
    service.enqueue().await;
    let job_id = service.failed_jobs(1).await.remove(0).id;
    let discard = proto::DiscardJobRequest { job_id: job_id.clone() };
    service.client.discard_job(discard.clone()).await.unwrap();
    service.failed_jobs(0).await;
    assert!(service.client.discard_job(discard).await.unwrap_err().is(&NOT_FOUND));
    let record = audited(&service.mesh, "DiscardJob", 2).await.remove(0);
    assert_eq!(record.resource, format!("jobs/{job_id}"));
    let vague = proto::RetryJobRequest { job_id: "the last one".into() };
    let refused = service.client.retry_job(vague).await.unwrap_err();
    assert!(refused.is(&INVALID_ARGUMENT), "{refused:?}");
}
