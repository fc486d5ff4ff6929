//! Takes spans as OTLP over gRPC, the `trace` service alone.

use std::sync::Arc;

use axum::{Router, middleware};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use tonic::{Request, Response, Status};

use super::guard;
use super::memory::Memory;
use super::span::{Span, service_name};

/// The one method that exporters of traces call.
const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// The largest export. A process sends 512 spans at once at most, of about a kilobyte each.
const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// What answers exporters.
pub(super) fn router(memory: Arc<Memory>) -> Router {
    let service =
        TraceServiceServer::new(Receiver(memory)).max_decoding_message_size(MAX_MESSAGE_BYTES);
    Router::new().route_service(EXPORT, service).layer(middleware::from_fn(guard::guard))
}

struct Receiver(Arc<Memory>);

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let sent = request.into_inner().resource_spans;
        let rejected = sent.into_iter().map(|spans| self.take(spans)).sum();
        let partial_success = (rejected > 0).then(|| ExportTracePartialSuccess {
            rejected_spans: rejected,
            error_message: "spans without a valid id".to_owned(),
        });
        Ok(Response::new(ExportTraceServiceResponse { partial_success }))
    }
}

impl Receiver {
    /// Keeps the spans of a process, and returns how many of them are none.
    fn take(&self, sent: ResourceSpans) -> i64 {
        let service = service_name(&sent.resource.unwrap_or_default().attributes);
        let mut rejected = 0;
        for span in sent.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            match Span::of(&service, span) {
                Some(span) => self.0.span(span),
                None => rejected += 1,
            }
        }
        rejected
    }
}
