//! The form of a log record: one line, as JSON or for people.

mod burst;

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;

use chrono::{SecondsFormat, Utc};
use opentelemetry::trace::{SpanContext, TraceContextExt as _};
use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Dispatch, Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::subject;
use crate::kernel::call;
use crate::kernel::settings::LogFormat;

pub(super) use burst::Bursts;

/// Writes every event to standard output with the trace, span and request it belongs to.
pub(super) struct LogLayer {
    service: &'static str,
    format: LogFormat,
    bursts: Arc<Bursts>,
}

impl LogLayer {
    pub(super) fn new(service: &'static str, format: LogFormat, bursts: Arc<Bursts>) -> Self {
        Self { service, format, bursts }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for LogLayer {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if !self.bursts.admit(event.metadata()) {
            return;
        }
        let record = Record::of(self.service, event, Ids::of(event, &context));
        let line = match self.format {
            LogFormat::Json => record.json(),
            LogFormat::Text => record.text(),
        };
        // A closed standard output is no reason to fail a call.
        let _ = std::io::stdout().lock().write_all(line.as_bytes());
    }
}

/// What is known about one event.
struct Record {
    service: &'static str,
    time: chrono::DateTime<Utc>,
    level: &'static str,
    target: String,
    fields: Fields,
    ids: Ids,
}

impl Record {
    fn of(service: &'static str, event: &Event<'_>, ids: Ids) -> Self {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        Self {
            service,
            time: Utc::now(),
            level: metadata.level().as_str(),
            target: metadata.target().to_owned(),
            fields,
            ids,
        }
    }

    fn json(&self) -> String {
        let mut record = Map::new();
        record.insert("time".into(), self.time.to_rfc3339_opts(SecondsFormat::Micros, true).into());
        record.insert("level".into(), self.level.to_ascii_lowercase().into());
        record.insert("service".into(), self.service.into());
        record.insert("target".into(), self.target.clone().into());
        record.insert("message".into(), self.fields.message.clone().into());
        for (name, id) in &self.ids.0 {
            record.insert((*name).into(), id.clone().into());
        }
        for (name, value) in &self.fields.others {
            record.entry(name.clone()).or_insert_with(|| value.clone());
        }
        format!("{}\n", Value::Object(record))
    }

    fn text(&self) -> String {
        let mut line = format!(
            "{} {:>5} {} {}",
            self.time.format("%H:%M:%S%.3f"),
            self.level,
            self.service,
            self.fields.message
        );
        for (name, value) in &self.fields.others {
            let _ = write!(line, " {name}={value}");
        }
        for (name, id) in self.ids.0.iter().filter(|(name, _)| *name != "span_id") {
            let _ = write!(line, " {name}={id}");
        }
        line.push('\n');
        line
    }
}

/// Trace and span of the span in which an event happened, request and hashed user of the current call.
#[derive(Clone, Debug, Default)]
pub struct Ids(Vec<(&'static str, String)>);

impl Ids {
    /// Those of an event that is happening.
    pub(super) fn of<S: Subscriber + for<'a> LookupSpan<'a>>(
        event: &Event<'_>,
        context: &Context<'_, S>,
    ) -> Self {
        let mut ids = Vec::with_capacity(4);
        if let Some(span) = traced(event, context) {
            ids.push(("trace_id", span.trace_id().to_string()));
            ids.push(("span_id", span.span_id().to_string()));
        }
        if let Some(call) = call::current() {
            ids.push(("request_id", call.request_id.clone()));
            let subject = call.user.as_ref().and_then(|user| subject::hashed(&user.id));
            ids.extend(subject.map(|subject| ("subject", subject)));
        }
        Self(ids)
    }

    /// One of them: `trace_id`, `span_id`, `request_id` or `subject`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, id)| id.as_str())
    }
}

/// The place in a trace of an event: that of the innermost span around it that is traced.
fn traced<S: Subscriber + for<'a> LookupSpan<'a>>(
    event: &Event<'_>,
    context: &Context<'_, S>,
) -> Option<SpanContext> {
    context.event_scope(event)?.find_map(|span| {
        let of_span =
            |dispatch: &Dispatch| tracing_opentelemetry::get_otel_context(&span.id(), dispatch);
        let place = tracing::dispatcher::get_default(of_span)?.span().span_context().clone();
        place.is_valid().then_some(place)
    })
}

/// The fields of an event, its message apart.
#[derive(Default)]
pub(super) struct Fields {
    pub(super) message: String,
    others: Map<String, Value>,
}

impl Fields {
    /// The text of a field; `None` if it is absent or no text.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.others.get(name)?.as_str().map(str::to_owned)
    }

    fn add(&mut self, field: &Field, value: Value) {
        self.others.insert(field.name().to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.add(field, json!(value));
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, json!(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, json!(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, json!(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, json!(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let message = "account \"a\"\nregistered".into();
        let mut fields = Fields { message, ..Fields::default() };
        fields.others.insert("attempt".into(), json!(2));
        fields.others.insert("level".into(), json!("forged"));
        let ids = Ids(vec![("trace_id", "4bf9".to_owned()), ("span_id", "00f0".to_owned())]);
        let target = "auth_svc::app".to_owned();
        Record { service: "auth-svc", time: Utc::now(), level: "INFO", target, fields, ids }
    }

    #[test]
    fn a_json_record_is_one_line_whose_own_names_cannot_be_forged() {
        let line = record().json();
        assert_eq!(line.matches('\n').count(), 1);
        let value: Value = serde_json::from_str(&line).expect("a JSON object");
        assert_eq!(value["level"], "info");
        assert_eq!(value["service"], "auth-svc");
        assert_eq!(value["trace_id"], "4bf9");
        assert_eq!(value["attempt"], 2);
        assert_eq!(value["message"], "account \"a\"\nregistered");
    }

    #[test]
    fn a_text_record_names_service_and_fields() {
        let line = record().text();
        assert!(line.contains("INFO auth-svc"), "{line}");
        assert!(line.contains("attempt=2") && line.contains("trace_id=4bf9"), "{line}");
    }
}
