//! What operators see of a service and do about it: the gRPC service that the kernel provides beside
//! health and reflection.
//!
//! | file | what it holds |
//! |---|---|
//! | `dead_letters` | list, show, replay, discard |
//! | `topics` | read a topic, and deliver its events once more |
//! | `sagas`, `jobs` | those that do not get on, and what to do about them |
//! | `render` | from what is kept to what the contract states, redacted |
//!
//! Who may call, and what is audited, its contract states: the mesh identity `operator` alone.

mod dead_letters;
mod jobs;
mod render;
mod sagas;
mod topics;

use std::sync::Arc;

use prost_reflect::DescriptorPool;
use tonic::{Request, Response, Status};

use crate::kernel::call;
use crate::kernel::database::Database;
use crate::kernel::error::{Error, FAILED_PRECONDITION, Result};
use crate::kernel::events::dead_letter::{self, State};
use crate::kernel::events::{ConsumerStatus, Consumers, EventBus, outbox, redelivery, tried};
use crate::kernel::policy::EventCatalog;
use crate::kernel::proto::operations as proto;
use crate::kernel::time::timestamp_of;
use proto::operations_service_server::{OperationsService, OperationsServiceServer};
use render::Renderer;

/// Full name of the service.
pub const SERVICE: &str = "mainstay.operations.v1.OperationsService";

/// The most failing events of an outbox that are shown.
const MAX_FAILING: u64 = 50;

type Reply<T> = Result<Response<T>, Status>;

/// What operators are shown of, and may do to, one process and its database.
pub struct Operations {
    service: String,
    database: Option<Database>,
    bus: Arc<dyn EventBus>,
    consumers: Consumers,
    catalog: EventCatalog,
    renderer: Renderer,
}

impl Operations {
    /// The operations of a service whose contracts are in `pool`.
    pub fn new(
        service: &str,
        database: Option<Database>,
        bus: Arc<dyn EventBus>,
        consumers: Consumers,
        pool: &DescriptorPool,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            service: service.to_owned(),
            database,
            bus,
            consumers,
            catalog: EventCatalog::compile(pool)?,
            renderer: Renderer::new(pool)?,
        })
    }

    /// As a gRPC service.
    pub fn into_server(self) -> OperationsServiceServer<Self> {
        OperationsServiceServer::new(self)
    }

    fn database(&self) -> Result<&Database> {
        self.database.as_ref().ok_or_else(|| {
            Error::new(FAILED_PRECONDITION, format!("{} has no database", self.service))
        })
    }

    async fn outbox(&self) -> Result<proto::Outbox> {
        let service = self.service.clone();
        let Some(database) = &self.database else {
            return Ok(proto::Outbox { service, ..proto::Outbox::default() });
        };
        let failing = outbox::failing(database, MAX_FAILING).await?;
        Ok(proto::Outbox {
            service,
            backlog: outbox::backlog(database).await?,
            oldest_time: outbox::oldest(database).await?.and_then(timestamp_of),
            failing: failing.into_iter().map(render::failing).collect(),
        })
    }

    async fn consumer(&self, status: &ConsumerStatus) -> Result<proto::ConsumerStatus> {
        let (state, group) = (status.state(), status.group());
        let (mut retrying, mut redeliveries, mut parked) = (0, 0, 0);
        if let Some(database) = &self.database {
            retrying = tried::count(database, group).await?;
            redeliveries = redelivery::count(database, group).await?;
            parked = dead_letter::count(database, group, State::Parked).await?;
        }
        Ok(proto::ConsumerStatus {
            consumer: group.to_owned(),
            topics: status.topics().to_vec(),
            state: state.name().to_owned(),
            reason: state.reason().to_owned(),
            lag: status.lag(),
            retrying,
            redeliveries,
            parked,
            instance: tried::instance().to_owned(),
        })
    }
}

/// Who acts, as events and audit name it.
fn actor() -> String {
    call::current().map(|call| call.actor()).unwrap_or_default()
}

#[tonic::async_trait]
impl OperationsService for Operations {
    async fn get_outbox(&self, _: Request<proto::GetOutboxRequest>) -> Reply<proto::Outbox> {
        Ok(Response::new(self.outbox().await?))
    }

    async fn list_consumers(
        &self,
        _: Request<proto::ListConsumersRequest>,
    ) -> Reply<proto::ListConsumersResponse> {
        let mut reply = proto::ListConsumersResponse::default();
        for status in self.consumers.all() {
            reply.consumers.push(self.consumer(&status).await?);
        }
        Ok(Response::new(reply))
    }

    async fn list_dead_letters(
        &self,
        request: Request<proto::ListDeadLettersRequest>,
    ) -> Reply<proto::ListDeadLettersResponse> {
        Ok(Response::new(self.dead_letters(request.into_inner()).await?))
    }

    async fn get_dead_letter(
        &self,
        request: Request<proto::GetDeadLetterRequest>,
    ) -> Reply<proto::DeadLetter> {
        Ok(Response::new(self.dead_letter(&request.into_inner().letter_id, false).await?))
    }

    async fn reveal_dead_letter(
        &self,
        request: Request<proto::GetDeadLetterRequest>,
    ) -> Reply<proto::DeadLetter> {
        Ok(Response::new(self.dead_letter(&request.into_inner().letter_id, true).await?))
    }

    async fn replay_dead_letters(
        &self,
        request: Request<proto::ReplayDeadLettersRequest>,
    ) -> Reply<proto::ChangeDeadLettersResponse> {
        Ok(Response::new(self.replay_letters(request.into_inner()).await?))
    }

    async fn discard_dead_letters(
        &self,
        request: Request<proto::DiscardDeadLettersRequest>,
    ) -> Reply<proto::ChangeDeadLettersResponse> {
        Ok(Response::new(self.discard_letters(request.into_inner()).await?))
    }

    async fn list_topics(
        &self,
        _: Request<proto::ListTopicsRequest>,
    ) -> Reply<proto::ListTopicsResponse> {
        Ok(Response::new(self.topics()))
    }

    async fn read_events(
        &self,
        request: Request<proto::ReadEventsRequest>,
    ) -> Reply<proto::ReadEventsResponse> {
        Ok(Response::new(self.events(request.into_inner(), false).await?))
    }

    async fn reveal_events(
        &self,
        request: Request<proto::ReadEventsRequest>,
    ) -> Reply<proto::ReadEventsResponse> {
        Ok(Response::new(self.events(request.into_inner(), true).await?))
    }

    async fn replay_events(
        &self,
        request: Request<proto::ReplayEventsRequest>,
    ) -> Reply<proto::ReplayEventsResponse> {
        Ok(Response::new(self.replay_records(request.into_inner()).await?))
    }

    async fn list_stuck_sagas(
        &self,
        request: Request<proto::ListStuckSagasRequest>,
    ) -> Reply<proto::ListStuckSagasResponse> {
        Ok(Response::new(self.stuck_sagas(request.into_inner()).await?))
    }

    async fn resume_saga(&self, request: Request<proto::ResumeSagaRequest>) -> Reply<proto::Saga> {
        Ok(Response::new(self.resume(request.into_inner()).await?))
    }

    async fn abort_saga(&self, request: Request<proto::AbortSagaRequest>) -> Reply<proto::Saga> {
        Ok(Response::new(self.abort(request.into_inner()).await?))
    }

    async fn list_jobs(
        &self,
        request: Request<proto::ListJobsRequest>,
    ) -> Reply<proto::ListJobsResponse> {
        Ok(Response::new(self.jobs(request.into_inner()).await?))
    }

    async fn list_job_runs(
        &self,
        request: Request<proto::ListJobRunsRequest>,
    ) -> Reply<proto::ListJobRunsResponse> {
        Ok(Response::new(self.job_runs(request.into_inner()).await?))
    }

    async fn retry_job(
        &self,
        request: Request<proto::RetryJobRequest>,
    ) -> Reply<proto::RetryJobResponse> {
        self.retry(&request.into_inner().job_id).await?;
        Ok(Response::new(proto::RetryJobResponse {}))
    }

    async fn discard_job(
        &self,
        request: Request<proto::DiscardJobRequest>,
    ) -> Reply<proto::DiscardJobResponse> {
        self.discard(&request.into_inner().job_id).await?;
        Ok(Response::new(proto::DiscardJobResponse {}))
    }
}
