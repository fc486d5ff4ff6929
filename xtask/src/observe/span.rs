//! A span as it is kept: what OTLP sent, less what nobody looks at.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Sent;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1 as otlp;
use serde::Serialize;
use serde_json::Value;

use super::ids::{SpanId, TraceId};

/// What a span costs beside its texts, about.
const BYTES_BESIDE_TEXTS: usize = 256;

/// How deep lists in attributes may lie in one another; what is deeper is left out.
const MAX_DEPTH: usize = 4;

/// What the gateway knows of every request.
const REQUEST_METHOD: &str = "http.request.method";

/// Attributes that tell spans of one name apart, the most telling first.
const TELLING: [&str; 3] = ["event_type", "job", "topic"];

/// gRPC codes that say that a call failed for a reason of the server's, by the OpenTelemetry
/// conventions.
const FAILURES: [&str; 6] =
    ["UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"];

/// A piece of work within a trace.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Span {
    /// The trace it is part of.
    pub(crate) trace: TraceId,
    /// Its id.
    pub(crate) id: SpanId,
    /// The span that it was done for.
    pub(crate) parent: Option<SpanId>,
    /// Who did it.
    pub(crate) service: String,
    /// What it is called.
    pub(crate) name: String,
    /// `server`, `client`, `producer`, `consumer` or `internal`.
    pub(crate) kind: &'static str,
    /// When it began, in Unix time.
    pub(crate) start_nanos: u64,
    /// When it ended.
    pub(crate) end_nanos: u64,
    /// What is known about it.
    pub(crate) attributes: Attributes,
    /// What happened within it.
    pub(crate) events: Vec<SpanEvent>,
    /// Spans that it has to do with and is no part of.
    pub(crate) links: Vec<Link>,
    /// Whether it said that it failed.
    pub(crate) is_error: bool,
    /// What it said about that.
    pub(crate) status_message: String,
}

/// Names and values, in the order in which they were sent.
pub(crate) type Attributes = Vec<(String, Value)>;

/// Something that happened at one moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SpanEvent {
    /// When, in Unix time.
    pub(crate) nanos: u64,
    /// What.
    pub(crate) name: String,
    /// What is known about it.
    pub(crate) attributes: Attributes,
}

/// A span of this or another trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Link {
    /// Its trace.
    pub(crate) trace: TraceId,
    /// Its id.
    pub(crate) span: SpanId,
}

impl Span {
    /// What was sent; `None` if it has no valid ids.
    pub(crate) fn of(service: &str, sent: otlp::Span) -> Option<Self> {
        let status = sent.status.unwrap_or_default();
        Some(Self {
            trace: TraceId::from_bytes(&sent.trace_id)?,
            id: SpanId::from_bytes(&sent.span_id)?,
            parent: SpanId::from_bytes(&sent.parent_span_id),
            service: service.to_owned(),
            name: sent.name,
            kind: kind(sent.kind),
            start_nanos: sent.start_time_unix_nano,
            end_nanos: sent.end_time_unix_nano.max(sent.start_time_unix_nano),
            attributes: attributes(sent.attributes, 0),
            events: sent.events.into_iter().map(SpanEvent::of).collect(),
            links: sent.links.iter().filter_map(Link::of).collect(),
            is_error: status.code == otlp::status::StatusCode::Error as i32,
            status_message: status.message,
        })
    }

    /// An attribute.
    pub(crate) fn attribute(&self, name: &str) -> Option<&Value> {
        find(&self.attributes, name)
    }

    /// The text of an attribute.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.attribute(name)?.as_str()
    }

    /// The name, with what tells it from others of the name.
    pub(crate) fn title(&self) -> String {
        match TELLING.iter().find_map(|name| self.text(name)) {
            Some(telling) => format!("{} {telling}", self.name),
            None => self.name.clone(),
        }
    }

    /// The title, if it begins a trace and is no request at the gateway.
    pub(crate) fn routine(&self) -> Option<String> {
        let begins = self.parent.is_none() && self.text(REQUEST_METHOD).is_none();
        begins.then(|| self.title())
    }

    /// Whether it failed, by its own word or by the code of its call.
    pub(crate) fn failed(&self) -> bool {
        self.is_error || self.text("rpc.response.status_code").is_some_and(is_failure)
    }

    /// How much memory it takes, about.
    pub(crate) fn bytes(&self) -> usize {
        let events: usize = self.events.iter().map(SpanEvent::bytes).sum();
        BYTES_BESIDE_TEXTS
            + self.service.len()
            + self.name.len()
            + self.status_message.len()
            + size_of::<Link>() * self.links.len()
            + bytes_of(&self.attributes)
            + events
    }
}

/// The service that a resource names.
pub(crate) fn service_name(resource: &[KeyValue]) -> String {
    let named = resource.iter().find(|attribute| attribute.key == "service.name");
    match named.and_then(|attribute| attribute.value.as_ref()?.value.as_ref()) {
        Some(Sent::StringValue(name)) => name.clone(),
        _ => "unknown".to_owned(),
    }
}

/// Whether a gRPC code says that the server failed.
pub(crate) fn is_failure(code: &str) -> bool {
    FAILURES.contains(&code)
}

impl SpanEvent {
    fn of(sent: otlp::span::Event) -> Self {
        let (nanos, name) = (sent.time_unix_nano, sent.name);
        Self { nanos, name, attributes: attributes(sent.attributes, 0) }
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.name.len() + bytes_of(&self.attributes)
    }
}

impl Link {
    fn of(sent: &otlp::span::Link) -> Option<Self> {
        let (trace, span) =
            (TraceId::from_bytes(&sent.trace_id), SpanId::from_bytes(&sent.span_id));
        trace.zip(span).map(|(trace, span)| Self { trace, span })
    }
}

fn kind(sent: i32) -> &'static str {
    match otlp::span::SpanKind::try_from(sent) {
        Ok(otlp::span::SpanKind::Server) => "server",
        Ok(otlp::span::SpanKind::Client) => "client",
        Ok(otlp::span::SpanKind::Producer) => "producer",
        Ok(otlp::span::SpanKind::Consumer) => "consumer",
        _ => "internal",
    }
}

fn attributes(sent: Vec<KeyValue>, depth: usize) -> Attributes {
    sent.into_iter().map(|attribute| (attribute.key, value(attribute.value, depth))).collect()
}

fn value(sent: Option<AnyValue>, depth: usize) -> Value {
    match sent.and_then(|sent| sent.value) {
        Some(Sent::StringValue(text)) => text.into(),
        Some(Sent::BoolValue(truth)) => truth.into(),
        // As text where a script would round it.
        Some(Sent::IntValue(number)) if number.unsigned_abs() > 1 << 53 => {
            number.to_string().into()
        }
        Some(Sent::IntValue(number)) => number.into(),
        Some(Sent::DoubleValue(number)) => number.into(),
        Some(Sent::BytesValue(bytes)) => format!("{} bytes", bytes.len()).into(),
        Some(Sent::ArrayValue(array)) if depth < MAX_DEPTH => {
            array.values.into_iter().map(|item| value(Some(item), depth + 1)).collect()
        }
        Some(Sent::KvlistValue(list)) if depth < MAX_DEPTH => {
            Value::Object(attributes(list.values, depth + 1).into_iter().collect())
        }
        _ => Value::Null,
    }
}

fn find<'a>(attributes: &'a Attributes, name: &str) -> Option<&'a Value> {
    attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value)
}

fn bytes_of(attributes: &Attributes) -> usize {
    let size = |(name, value): &(String, Value)| {
        let text = match value {
            Value::String(text) => text.len(),
            Value::Array(_) | Value::Object(_) => value.to_string().len(),
            _ => 0,
        };
        size_of::<(String, Value)>() + name.len() + text
    };
    attributes.iter().map(size).sum()
}
