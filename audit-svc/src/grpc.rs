//! `mainstay.audit.v1.AuditService`: parse, call the app, render.

pub mod parse;
pub mod render;

use std::sync::Arc;

use mainstay::contract::audit::AuditEventId;
use mainstay::contract::audit::proto::audit_service_server::{AuditService, AuditServiceServer};
use mainstay::contract::audit::proto::{
    AuditEvent, GetEventRequest, ListActivityRequest, ListActivityResponse, ListEventsRequest,
    ListEventsResponse, VerifyRequest, VerifyResponse,
};
use mainstay::kernel::call;
use mainstay::kernel::page::PageRequest;
use tonic::{Request, Response, Status};

use crate::app::App;

type Reply<T> = Result<Response<T>, Status>;

/// The service for the kernel to serve.
pub fn service(app: Arc<App>) -> AuditServiceServer<Trail> {
    AuditServiceServer::new(Trail { app })
}

/// The service over the use cases.
pub struct Trail {
    app: Arc<App>,
}

#[tonic::async_trait]
impl AuditService for Trail {
    async fn list_events(&self, request: Request<ListEventsRequest>) -> Reply<ListEventsResponse> {
        let request = request.into_inner();
        let page = PageRequest::parse(request.page_size, &request.page_token)?;
        let query = parse::record_query(&page, request)?;
        Ok(render::record_page(&page, self.app.record_list(&query).await?))
    }

    async fn get_event(&self, request: Request<GetEventRequest>) -> Reply<AuditEvent> {
        let id = AuditEventId::parse(&request.into_inner().event_id)?;
        Ok(render::record(self.app.record_get(&id.to_string()).await?))
    }

    async fn verify(&self, _request: Request<VerifyRequest>) -> Reply<VerifyResponse> {
        Ok(render::report(self.app.verify().await?))
    }

    async fn list_activity(
        &self,
        request: Request<ListActivityRequest>,
    ) -> Reply<ListActivityResponse> {
        let user = call::current_user()?;
        let request = request.into_inner();
        let page = PageRequest::parse(request.page_size, &request.page_token)?;
        let query = parse::activity_query(&page, &user)?;
        Ok(render::activity_page(&page, self.app.record_list(&query).await?))
    }
}
