//! The newest log lines of all processes, in memory and within bounds.

use std::collections::VecDeque;

use serde::Serialize;
use serde_json::{Map, Value};

use super::ids::{SpanId, TraceId};
use crate::log_line::{now, plain};

/// The most lines.
const MAX_LINES: usize = 20_000;

/// The most memory that lines take, about.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// What a line costs beside its texts, about.
const BYTES_BESIDE_TEXTS: usize = 400;

/// The target of the gateway's line about each request.
const ACCESS: &str = "access";

/// Fields that stand in places of their own.
const PLACED: [&str; 10] = [
    "time",
    "timestamp",
    "level",
    "message",
    "service",
    "target",
    "fields",
    "trace_id",
    "span_id",
    "request_id",
];

/// A line that a process wrote.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Line {
    /// Its place in the order in which lines came, over all processes.
    pub(crate) number: u64,
    /// Who wrote it.
    pub(crate) service: &'static str,
    /// When, RFC 3339.
    pub(crate) time: String,
    /// `error`, `warn`, `info`, `debug` or `trace`; empty if the line is no record.
    pub(crate) level: String,
    /// Which module of the code.
    pub(crate) target: String,
    /// What it says.
    pub(crate) message: String,
    /// The trace it was written in.
    pub(crate) trace: Option<TraceId>,
    /// The span it was written in.
    pub(crate) span: Option<SpanId>,
    /// The request it was written for.
    pub(crate) request: Option<String>,
    /// Whatever else it says.
    pub(crate) fields: Map<String, Value>,
}

/// The lines that are kept.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    kept: VecDeque<(Line, usize)>,
    bytes: usize,
    changes: u64,
}

impl Lines {
    /// Keeps a line.
    pub(crate) fn add(&mut self, mut line: Line, written_bytes: usize) {
        self.changes += 1;
        line.number = self.changes;
        let bytes = BYTES_BESIDE_TEXTS + written_bytes;
        self.bytes += bytes;
        self.kept.push_back((line, bytes));
        while self.kept.len() > MAX_LINES || self.bytes > MAX_BYTES {
            let Some((_, bytes)) = self.kept.pop_front() else { return };
            self.bytes -= bytes;
        }
    }

    /// All of them, the oldest first.
    pub(crate) fn all(&self) -> impl DoubleEndedIterator<Item = &Line> {
        self.kept.iter().map(|(line, _)| line)
    }

    /// Grows with each line.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }
}

impl Line {
    /// What a process wrote. What is no JSON record, such as the words of a panic, is a message.
    pub(crate) fn of(service: &'static str, written: &str) -> Self {
        match serde_json::from_str::<Map<String, Value>>(written) {
            Ok(record) => Self::of_record(service, record),
            Err(_) => {
                Self::of_record(service, Map::from_iter([("message".into(), written.into())]))
            }
        }
    }

    /// Whether it is the gateway's line about a request.
    pub(crate) fn is_access(&self) -> bool {
        self.target == ACCESS
    }

    /// Whether it has a text, given in lower case, anywhere.
    pub(crate) fn has(&self, text: &str) -> bool {
        let texts = [&self.message, &self.target];
        let fields = self
            .fields
            .iter()
            .any(|(name, value)| name.contains(text) || plain(value).to_lowercase().contains(text));
        let ids = self.request.iter().any(|id| id.to_lowercase().contains(text))
            || self.trace.is_some_and(|id| id.to_string().contains(text));
        fields || ids || texts.iter().any(|it| it.to_lowercase().contains(text))
    }

    /// Records have their fields at the top or in an object of their own.
    fn of_record(service: &'static str, mut record: Map<String, Value>) -> Self {
        if let Some(Value::Object(nested)) = record.remove("fields") {
            record.extend(nested);
        }
        let text = |name: &str| record.get(name).map(plain).unwrap_or_default();
        let time = [text("time"), text("timestamp")].into_iter().find(|time| !time.is_empty());
        Self {
            number: 0,
            service,
            time: time.unwrap_or_else(now),
            level: text("level").to_lowercase(),
            target: text("target"),
            message: text("message"),
            trace: text("trace_id").parse().ok(),
            span: text("span_id").parse().ok(),
            request: Some(text("request_id")).filter(|id| !id.is_empty()),
            fields: record
                .into_iter()
                .filter(|(name, _)| !PLACED.contains(&name.as_str()))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{access_line, trace_id};
    use super::*;

    #[test]
    fn a_record_is_taken_apart_and_anything_else_is_a_message() {
        let line = access_line(7, "req-1", 200);
        assert_eq!((line.trace, line.request.as_deref()), (Some(trace_id(7)), Some("req-1")));
        assert!(line.is_access() && line.has("users/me") && line.has("req-1"));
        assert_eq!(line.fields["status"], 200);
        let panic = Line::of("auth-svc", "thread 'main' panicked");
        assert_eq!((panic.level.as_str(), panic.message.as_str()), ("", "thread 'main' panicked"));
        assert!(panic.time.ends_with('Z'));
    }

    #[test]
    fn the_oldest_lines_make_room() {
        let mut lines = Lines::default();
        for number in 0..MAX_LINES + 5 {
            lines.add(Line::of("gateway", &number.to_string()), 5);
        }
        assert_eq!(lines.all().count(), MAX_LINES);
        assert_eq!(lines.all().next().unwrap().message, "5");
        for _ in 0..10 {
            lines.add(Line::of("gateway", "long"), MAX_BYTES / 4);
        }
        assert!(lines.all().count() <= 4 && lines.bytes <= MAX_BYTES, "{}", lines.bytes);
    }
}
