//! Jobs that are not done, and how they ran.

use clap::Subcommand;
use mainstay::contract::operations::OperationsClient as _;
use mainstay::contract::operations::proto::{
    DiscardJobRequest, ListJobRunsRequest, ListJobsRequest, RetryJobRequest,
};

use super::{Desk, confirm};
use crate::output::{self, Column, Show};

const JOBS: [Column; 7] = [
    ("SERVICE", "/service"),
    ("NAME", "/name"),
    ("STATE", "/state"),
    ("DUE", "/due_time"),
    ("ATTEMPTS", "/attempts"),
    ("ERROR", "/last_error"),
    ("ID", "/id"),
];

const RUNS: [Column; 5] = [
    ("BEGAN", "/start_time"),
    ("ENDED", "/end_time"),
    ("OUTCOME", "/outcome"),
    ("ERROR", "/error"),
    ("JOB", "/job_id"),
];

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List jobs that are not done, those due for longest first
    List {
        /// Only of this service
        #[arg(long)]
        service: Option<String>,
        /// Only of this name
        #[arg(long)]
        name: Option<String>,
        /// Only those that have failed for good
        #[arg(long)]
        failed: bool,
    },
    /// List the latest runs of a job, latest first
    Runs {
        /// The service that runs it
        service: String,
        /// Its name
        name: String,
    },
    /// Run a job at once; one that has failed for good begins anew
    Retry {
        /// The service that runs it
        service: String,
        /// Its id
        id: String,
    },
    /// Forget a job
    Discard {
        /// The service that runs it
        service: String,
        /// Its id
        id: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

pub(crate) async fn run(desk: &Desk, command: Command) -> anyhow::Result<()> {
    match command {
        Command::List { service, name, failed } => {
            let request =
                ListJobsRequest { name: name.unwrap_or_default(), failed, page_size: 200 };
            list(desk, service, request).await
        }
        Command::Runs { service, name } => runs(desk, &service, name).await,
        Command::Retry { service, id } => {
            desk.mesh.operations(&service)?.retry_job(RetryJobRequest { job_id: id }).await?;
            Ok(())
        }
        Command::Discard { service, id, yes } => {
            confirm(yes, &format!("forget job {id} of {service}"))?;
            desk.mesh.operations(&service)?.discard_job(DiscardJobRequest { job_id: id }).await?;
            Ok(())
        }
    }
}

async fn list(
    desk: &Desk,
    service: Option<String>,
    request: ListJobsRequest,
) -> anyhow::Result<()> {
    let mut jobs = Vec::new();
    for service in desk.mesh.services(service.as_deref()).await? {
        let found = desk.mesh.operations(&service)?.list_jobs(request.clone()).await?;
        for job in &found.jobs {
            jobs.push(output::of_service(&service, output::json(job, Show::All)?));
        }
    }
    output::list(desk.settings.output, &JOBS, &jobs)
}

async fn runs(desk: &Desk, service: &str, name: String) -> anyhow::Result<()> {
    let request = ListJobRunsRequest { name, page_size: 0 };
    let found = desk.mesh.operations(service)?.list_job_runs(request).await?;
    let runs = found.runs.iter().map(|run| output::json(run, Show::All));
    output::list(desk.settings.output, &RUNS, &runs.collect::<anyhow::Result<Vec<_>>>()?)
}
