//! The page of `up --observe` as programs see it, and spans that nobody's process sent.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Sent;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use serde_json::Value;

use crate::harness::{Platform, Said, eventually};

const PAGE_PORT: u16 = 8070;
const RECEIVER_PORT: u16 = 8071;

/// An answer of HTTP.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// Up with `--observe`, or the story ends here.
pub(crate) fn must_come_up(platform: &Platform) -> Said {
    let said = platform.said(&mut platform.up_command(&["--observe", "--detach"]));
    assert!(said.success, "{}\n{}", said.out, said.err);
    said
}

pub(crate) fn ports(platform: &Platform) -> [u16; 2] {
    [PAGE_PORT, RECEIVER_PORT].map(|port| platform.port(port))
}

pub(crate) fn url(platform: &Platform) -> String {
    format!("http://127.0.0.1:{}", platform.port(PAGE_PORT))
}

/// What the page's server answers whoever asks for a host.
pub(crate) fn get_from(platform: &Platform, host: &str, path: &str) -> Reply {
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\norigin: http://evil.example\r\n");
    exchange(platform.port(PAGE_PORT), &request, "")
}

/// The JSON that the page gets; `None` while what is asked for is not there.
pub(crate) fn json(platform: &Platform, path: &str) -> Option<Value> {
    let reply = get_from(platform, "127.0.0.1", path);
    (reply.status == 200).then(|| serde_json::from_str(&reply.body).unwrap())
}

/// Registers somebody at the gateway, and returns the id of the request.
pub(crate) fn register(platform: &Platform, name: &str) -> String {
    let body = format!(r#"{{"email": "{name}@example.com", "password": "correct horse battery"}}"#);
    let head = "POST /api/v1/auth/register HTTP/1.1\r\nhost: localhost\r\n\
                content-type: application/json\r\n";
    let reply = exchange(platform.port(8080), head, &body);
    assert_eq!(reply.status, 200, "{}", reply.body);
    let id = reply.head.lines().find_map(|line| line.strip_prefix("x-request-id: "));
    id.expect("every reply has its id").to_owned()
}

/// The trace of a request, once it is as it has to be.
pub(crate) fn trace_of(platform: &Platform, request: &str, is_whole: fn(&Value) -> bool) -> Value {
    eventually("the trace is whole", || {
        let found = json(platform, &format!("/api/requests/{request}"))?;
        let id = found["trace"].as_str().unwrap().to_owned();
        json(platform, &format!("/api/traces/{id}")).filter(is_whole)
    })
}

/// Whether a service did something of this name in a trace.
pub(crate) fn has_span(trace: &Value, service: &str, name: &str) -> bool {
    let rows = trace["rows"].as_array().unwrap();
    rows.iter().any(|row| row["service"] == service && row["name"] == name)
}

/// Whether the consumers of a registration have had their turn, whichever is the last.
pub(crate) fn is_registration(trace: &Value) -> bool {
    let handled = "handle event mainstay.auth.v1.AccountRegistered";
    ["identity-svc", "authz-svc", "audit-svc"].iter().all(|it| has_span(trace, it, handled))
        && has_span(trace, "gateway", "POST /api/v1/auth/register")
        && has_span(trace, "auth-svc", "mainstay.auth.v1.AuthService/Register")
        && has_span(trace, "identity-svc", "mainstay.identity.v1.UserService/CreateUser")
}

/// A span of a trace by number.
pub(crate) fn span(trace: u8, name: &str) -> Span {
    let start_time_unix_nano = 1_800_000_000_000_000_000 + u64::from(trace);
    Span {
        trace_id: vec![trace; 16],
        span_id: vec![trace; 8],
        // Somebody else's: so it counts as part of a call.
        parent_span_id: vec![99; 8],
        name: name.to_owned(),
        start_time_unix_nano,
        end_time_unix_nano: start_time_unix_nano + 5_000_000,
        ..Span::default()
    }
}

pub(crate) fn attribute(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(Sent::StringValue(value.to_owned())) };
    KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
}

/// Sends spans as a process of this name does.
pub(crate) fn send(
    platform: &Platform,
    service: &str,
    spans: Vec<Span>,
) -> Result<ExportTraceServiceResponse, tonic::Status> {
    let attributes = vec![attribute("service.name", service)];
    let resource_spans = vec![ResourceSpans {
        resource: Some(Resource { attributes, ..Resource::default() }),
        scope_spans: vec![ScopeSpans { spans, ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    }];
    let endpoint = format!("http://127.0.0.1:{}", platform.port(RECEIVER_PORT));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut client = TraceServiceClient::connect(endpoint).await.unwrap();
        let sent = client.export(ExportTraceServiceRequest { resource_spans }).await;
        sent.map(tonic::Response::into_inner)
    })
}

fn exchange(port: u16, head: &str, body: &str) -> Reply {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let length = body.len();
    let request = format!("{head}connection: close\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
    Reply { status, head: head.to_owned(), body: body.to_owned() }
}
