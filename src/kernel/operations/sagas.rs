//! Sagas that do not get on.

use std::time::Duration;

use super::{Operations, proto};
use crate::kernel::error::{Error, Result};
use crate::kernel::page::PageRequest;
use crate::kernel::saga::{Progress, SagaState, Sagas};
use crate::kernel::time::timestamp;

impl Operations {
    pub(super) async fn stuck_sagas(
        &self,
        request: proto::ListStuckSagasRequest,
    ) -> Result<proto::ListStuckSagasResponse> {
        let limit = u64::from(PageRequest::parse(request.page_size, "")?.size);
        let stuck_for = request.stuck_for.map(Duration::try_from).transpose();
        let stuck_for = stuck_for
            .map_err(|_| Error::invalid("stuck_for", "must not be negative"))?
            .unwrap_or_default();
        let sagas = self.sagas()?.list_stuck(stuck_for, limit).await?;
        Ok(proto::ListStuckSagasResponse {
            sagas: sagas.into_iter().map(rendered).collect(),
            next_page_token: String::new(),
        })
    }

    pub(super) async fn resume(&self, request: proto::ResumeSagaRequest) -> Result<proto::Saga> {
        self.sagas()?.resume(&request.name, &request.saga_id).await?;
        self.saga(&request.name, &request.saga_id).await
    }

    pub(super) async fn abort(&self, request: proto::AbortSagaRequest) -> Result<proto::Saga> {
        self.sagas()?.abort(&request.name, &request.saga_id).await?;
        self.saga(&request.name, &request.saga_id).await
    }

    async fn saga(&self, name: &str, id: &str) -> Result<proto::Saga> {
        let found = self.sagas()?.find(name, id).await?;
        found.map(rendered).ok_or_else(|| Error::not_found("saga", id))
    }

    fn sagas(&self) -> Result<Sagas> {
        Ok(Sagas::new(self.database()?.clone()))
    }
}

fn rendered(progress: Progress) -> proto::Saga {
    let state = match progress.state {
        SagaState::Running => proto::SagaState::Running,
        SagaState::Compensating => proto::SagaState::Compensating,
        SagaState::Completed => proto::SagaState::Completed,
        SagaState::Compensated => proto::SagaState::Compensated,
    };
    proto::Saga {
        name: progress.name,
        id: progress.id,
        state: state.into(),
        step: progress.step,
        reversible: progress.reversible,
        reason: progress.reason,
        create_time: Some(timestamp(progress.create_time)),
        failing_since: progress.failing_since.map(timestamp),
        last_error: progress.last_error,
    }
}
