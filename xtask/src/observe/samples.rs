//! Spans and lines for tests.

use super::ids::{SpanId, TraceId};
use super::lines::Line;
use super::span::Span;

/// A trace by number.
pub(super) fn trace_id(number: u8) -> TraceId {
    TraceId::from_bytes(&[number; 16]).unwrap()
}

/// A span by number.
pub(super) fn span_id(number: u8) -> SpanId {
    SpanId::from_bytes(&[number; 8]).unwrap()
}

/// A span of 10 ms that begins as many milliseconds after the epoch as its number says; the parent 0
/// is none.
pub(super) fn span(trace: u8, number: u8, parent: u8) -> Span {
    let start_nanos = u64::from(number) * 1_000_000;
    Span {
        trace: trace_id(trace),
        id: span_id(number),
        parent: (parent > 0).then(|| span_id(parent)),
        service: "auth-svc".into(),
        name: format!("span {number}"),
        kind: "internal",
        start_nanos,
        end_nanos: start_nanos + 10_000_000,
        attributes: Vec::new(),
        events: Vec::new(),
        links: Vec::new(),
        is_error: false,
        status_message: String::new(),
    }
}

/// The gateway's line about a request of a trace.
pub(super) fn access_line(trace: u8, request: &str, status: u16) -> Line {
    let trace = trace_id(trace);
    let record = format!(
        r#"{{"time":"2026-01-02T03:04:05.678901Z","level":"info","target":"access","message":"m",
        "trace_id":"{trace}","request_id":"{request}","method":"GET","route":"/api/v1/users/me",
        "status":{status}}}"#
    );
    Line::of("gateway", &record)
}
