//! A stand-in for an OpenTelemetry collector: OTLP over gRPC without TLS, on a free port.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use tonic::{Request, Response, Status};

/// The path of the one method that exporters of traces call.
const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// A collector that remembers what it was sent. It ends with the test's runtime.
pub(crate) struct Collector {
    address: SocketAddr,
    memory: Memory,
}

/// A span as it was exported, with what its process says of itself.
#[derive(Clone, Debug)]
pub(crate) struct Exported {
    pub(crate) service: String,
    pub(crate) version: String,
    pub(crate) span: Span,
}

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<ResourceSpans>>>);

impl Collector {
    pub(crate) async fn start() -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into()).await
    }

    pub(crate) async fn start_at(address: SocketAddr) -> Self {
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let (address, memory) = (listener.local_addr().unwrap(), Memory::default());
        let service = TraceServiceServer::new(memory.clone());
        let app = axum::Router::new().route_service(EXPORT, service);
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, memory }
    }

    /// The value of `telemetry.otlp_endpoint`.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything that was exported, as text.
    pub(crate) fn all(&self) -> String {
        let exports = self.memory.0.lock().unwrap();
        exports.iter().map(|export| format!("{export:?}\n")).collect()
    }

    /// The spans of a trace that a service has exported so far.
    pub(crate) fn spans(&self, trace_id: &[u8], service: &str) -> Vec<Exported> {
        let mut spans = self.exported();
        spans.retain(|of| of.service == service && of.span.trace_id == trace_id);
        spans
    }

    /// All spans that have been exported so far.
    pub(crate) fn exported(&self) -> Vec<Exported> {
        self.memory.0.lock().unwrap().iter().flat_map(exported).collect()
    }
}

#[tonic::async_trait]
impl TraceService for Memory {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.lock().unwrap().extend(request.into_inner().resource_spans);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// An attribute as text; empty when it is absent or something else.
pub(crate) fn text(attributes: &[KeyValue], key: &str) -> String {
    let attribute = attributes.iter().find(|attribute| attribute.key == key);
    match attribute.and_then(|attribute| attribute.value.as_ref()?.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        _ => String::new(),
    }
}

fn exported(export: &ResourceSpans) -> impl Iterator<Item = Exported> {
    let attributes = export.resource.as_ref().map_or(&[][..], |resource| &resource.attributes);
    let (service, version) =
        (text(attributes, "service.name"), text(attributes, "service.version"));
    let spans = export.scope_spans.iter().flat_map(|scope| &scope.spans);
    spans.map(move |span| Exported {
        service: service.clone(),
        version: version.clone(),
        span: span.clone(),
    })
}
