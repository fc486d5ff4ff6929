//! Jobs that are not done, and how they ran.

use uuid::Uuid;

use super::{Operations, proto};
use crate::kernel::error::{Error, Result};
use crate::kernel::jobs::{JobState, Jobs, KnownJob, PastRun};
use crate::kernel::page::PageRequest;
use crate::kernel::time::timestamp;

impl Operations {
    pub(super) async fn jobs(
        &self,
        request: proto::ListJobsRequest,
    ) -> Result<proto::ListJobsResponse> {
        let limit = u64::from(PageRequest::parse(request.page_size, "")?.size);
        let name = Some(request.name.as_str()).filter(|name| !name.is_empty());
        let jobs = match request.failed {
            true => self.queue()?.list_failed(name, limit).await?,
            false => self.queue()?.list(name, limit).await?,
        };
        Ok(proto::ListJobsResponse {
            jobs: jobs.into_iter().map(rendered).collect(),
            next_page_token: String::new(),
        })
    }

    pub(super) async fn job_runs(
        &self,
        request: proto::ListJobRunsRequest,
    ) -> Result<proto::ListJobRunsResponse> {
        let limit = u64::from(PageRequest::parse(request.page_size, "")?.size);
        let runs = self.queue()?.history(&request.name, limit).await?;
        Ok(proto::ListJobRunsResponse {
            runs: runs.into_iter().map(ran).collect(),
            next_page_token: String::new(),
        })
    }

    pub(super) async fn retry(&self, id: &str) -> Result<()> {
        self.queue()?.retry(job_id(id)?).await
    }

    pub(super) async fn discard(&self, id: &str) -> Result<()> {
        self.queue()?.discard(job_id(id)?).await
    }

    fn queue(&self) -> Result<Jobs> {
        Ok(Jobs::new(self.database()?.clone()))
    }
}

fn job_id(id: &str) -> Result<Uuid> {
    id.parse().map_err(|_| Error::invalid("job_id", "must be a UUID"))
}

fn rendered(job: KnownJob) -> proto::Job {
    let state = match job.state {
        JobState::Waiting => proto::JobState::Waiting,
        JobState::Running => proto::JobState::Running,
        JobState::Failed => proto::JobState::Failed,
    };
    proto::Job {
        id: job.id.to_string(),
        name: job.name,
        state: state.into(),
        unique_key: job.unique_key.unwrap_or_default(),
        due_time: Some(timestamp(job.due_time)),
        create_time: Some(timestamp(job.create_time)),
        attempts: job.attempts,
        failing_since: job.failing_since.map(timestamp),
        last_error: job.last_error,
    }
}

fn ran(run: PastRun) -> proto::JobRun {
    proto::JobRun {
        job_id: run.job_id.to_string(),
        name: run.name,
        epoch: run.epoch,
        start_time: Some(timestamp(run.start_time)),
        end_time: Some(timestamp(run.end_time)),
        outcome: run.outcome.as_str().to_owned(),
        error: run.error,
    }
}
