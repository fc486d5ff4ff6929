//! What has been seen, and the questions that the page asks of it.
//!
//! Spans and log lines come by different ways and in no order to each other, so each is kept by itself,
//! and they are joined by the ids that both carry when somebody asks.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::ids::TraceId;
use super::lines::{Line, Lines};
use super::span::Span;
use super::spans::{KeptTrace, Spans};
use super::trace::{self, Row, Summary};

/// The most traces or lines in one answer.
const MOST_SHOWN: usize = 500;

/// Levels of log lines, the gravest first.
const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// Spans and lines, shared by those who bring and those who ask.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    spans: Mutex<Spans>,
    lines: Mutex<Lines>,
}

/// Which traces are wanted.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct TraceFilter {
    /// Those that a service worked on; empty for all.
    pub(crate) service: String,
    /// Those that have a text somewhere: a route, a request id, an attribute, a log line.
    pub(crate) text: String,
    /// Those in which something failed.
    pub(crate) errors: bool,
    /// Also those that no request began.
    pub(crate) background: bool,
    /// Those that took so long.
    pub(crate) min_ms: f64,
}

/// Which lines are wanted.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct LineFilter {
    /// Those of a process; empty for all.
    pub(crate) service: String,
    /// Those of this level and graver ones; empty for all.
    pub(crate) level: String,
    /// Those that have a text somewhere.
    pub(crate) text: String,
}

/// The list of traces, the newest first.
#[derive(Debug, Serialize)]
pub(crate) struct TraceList {
    /// How many are kept, with or without those that no request began.
    pub(crate) kept: usize,
    /// Everybody who has sent spans.
    pub(crate) services: BTreeSet<String>,
    /// Those that are wanted.
    pub(crate) traces: Vec<Summary>,
}

/// One trace with all that is known about it.
#[derive(Debug, Serialize)]
pub(crate) struct Trace {
    /// What the list tells.
    pub(crate) summary: Summary,
    /// Its spans as a waterfall.
    pub(crate) rows: Vec<Row>,
    /// How many spans were too many to be kept.
    pub(crate) left_out: usize,
    /// What was logged for it.
    pub(crate) lines: Vec<Line>,
}

impl Memory {
    /// Keeps a span.
    pub(crate) fn span(&self, span: Span) {
        self.spans().add(span);
    }

    /// Keeps what a process wrote.
    pub(crate) fn line(&self, service: &'static str, written: &str) {
        let line = Line::of(service, written);
        self.lines().add(line, written.len());
    }

    /// Grows with all that is kept.
    pub(crate) fn changes(&self) -> u64 {
        self.spans().changes() + self.lines().changes()
    }

    /// Everybody who has sent spans, whatever began their traces.
    pub(crate) fn services(&self) -> BTreeSet<String> {
        let background = TraceFilter { background: true, ..TraceFilter::default() };
        self.traces(&background).services
    }

    /// The traces that are wanted.
    pub(crate) fn traces(&self, filter: &TraceFilter) -> TraceList {
        let (spans, lines) = (self.spans(), self.lines());
        let text = filter.text.trim().to_lowercase();
        let access: HashMap<TraceId, &Line> =
            lines.all().filter(|line| line.is_access()).filter_map(with_trace).collect();
        let having_text: HashSet<TraceId> = if text.is_empty() {
            HashSet::new()
        } else {
            lines.all().filter(|line| line.has(&text)).filter_map(|line| line.trace).collect()
        };
        let mut list = TraceList { kept: 0, services: BTreeSet::new(), traces: Vec::new() };
        for (id, kept) in spans.newest_first() {
            let Some(summary) = trace::summary(id, kept, access.get(&id).copied()) else {
                continue;
            };
            if !summary.is_request && !filter.background {
                continue;
            }
            list.kept += 1;
            list.services.extend(summary.services.iter().cloned());
            let has_text =
                text.is_empty() || having_text.contains(&id) || has_text(&summary, kept, &text);
            if has_text && filter.wants(&summary) && list.traces.len() < MOST_SHOWN {
                list.traces.push(summary);
            }
        }
        list.traces.sort_by(|left, right| right.start_ms.total_cmp(&left.start_ms));
        list
    }

    /// A trace, if it is still kept.
    pub(crate) fn trace(&self, id: TraceId) -> Option<Trace> {
        let (spans, lines) = (self.spans(), self.lines());
        let kept = spans.trace(id)?;
        let of_trace: Vec<Line> =
            lines.all().filter(|line| line.trace == Some(id)).cloned().collect();
        let access = of_trace.iter().find(|line| line.is_access());
        Some(Trace {
            summary: trace::summary(id, kept, access)?,
            rows: trace::waterfall(&kept.spans),
            left_out: kept.left_out,
            lines: of_trace,
        })
    }

    /// The newest trace that was done for a request, as spans or log lines say.
    pub(crate) fn trace_of_request(&self, request: &str) -> Option<TraceId> {
        let (spans, lines) = (self.spans(), self.lines());
        let of_request = lines.all().filter(|line| line.request.as_deref() == Some(request));
        let logged: HashSet<TraceId> = of_request.filter_map(|line| line.trace).collect();
        let found = spans.newest_first().find(|(id, kept)| {
            logged.contains(id)
                || kept.spans.iter().any(|span| span.text("request_id") == Some(request))
        });
        found.map(|(id, _)| id)
    }

    /// The newest lines that are wanted, the newest last.
    pub(crate) fn log(&self, filter: &LineFilter) -> Vec<Line> {
        let lines = self.lines();
        let text = filter.text.trim().to_lowercase();
        let wanted = lines.all().rev().filter(|line| filter.wants(line, &text));
        let mut newest: Vec<Line> = wanted.take(MOST_SHOWN).cloned().collect();
        newest.reverse();
        newest
    }

    fn spans(&self) -> MutexGuard<'_, Spans> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TraceFilter {
    fn wants(&self, summary: &Summary) -> bool {
        (self.service.is_empty() || summary.services.contains(&self.service))
            && (!self.errors || summary.failed)
            && summary.duration_ms >= self.min_ms
    }
}

impl LineFilter {
    fn wants(&self, line: &Line, text: &str) -> bool {
        let gravity = |level: &str| LEVELS.iter().position(|known| *known == level);
        // What is no record has no level, and is mostly the words of a panic.
        let is_grave =
            gravity(&line.level) <= gravity(&self.level) || gravity(&self.level).is_none();
        (self.service.is_empty() || line.service == self.service)
            && is_grave
            && (text.is_empty() || line.has(text))
    }
}

fn with_trace(line: &Line) -> Option<(TraceId, &Line)> {
    Some((line.trace?, line))
}

/// Whether a trace has a text, given in lower case, in its name, its ids or its spans.
fn has_text(summary: &Summary, kept: &KeptTrace, text: &str) -> bool {
    let has = |candidate: &str| candidate.to_lowercase().contains(text);
    has(&summary.name)
        || summary.id.to_string().contains(text)
        || kept.spans.iter().any(|span| {
            has(&span.name)
                || has(&span.status_message)
                || span.attributes.iter().any(|(_, value)| value.as_str().is_some_and(has))
        })
}

#[cfg(test)]
mod tests {
    use super::super::samples::{access_line, span, trace_id};
    use super::*;

    fn memory() -> Memory {
        let memory = Memory::default();
        for trace in 1..=3 {
            let mut slow = span(trace, trace, 0);
            slow.end_nanos += u64::from(trace) * 100_000_000;
            slow.is_error = trace == 2;
            if trace == 3 {
                slow.attributes.push(("http.request.method".into(), "GET".into()));
            }
            memory.span(slow);
        }
        memory.lines().add(access_line(3, "req-3", 200), 10);
        memory
    }

    fn found(filter: &TraceFilter) -> Vec<TraceId> {
        memory().traces(filter).traces.iter().map(|summary| summary.id).collect()
    }

    #[test]
    fn traces_are_listed_newest_first_and_filtered() {
        assert_eq!(found(&TraceFilter::default()), [trace_id(3)]);
        let all = TraceFilter { background: true, ..TraceFilter::default() };
        assert_eq!(found(&all), [3, 2, 1].map(trace_id));
        assert_eq!(found(&TraceFilter { errors: true, ..all.clone() }), [trace_id(2)]);
        assert_eq!(found(&TraceFilter { min_ms: 200.0, ..all.clone() }), [3, 2].map(trace_id));
        let of = |service: &str| TraceFilter { service: service.into(), ..all.clone() };
        assert_eq!((found(&of("auth-svc")).len(), found(&of("gateway")).len()), (3, 0));
        let with = |text: &str| TraceFilter { text: text.into(), ..all.clone() };
        assert_eq!(found(&with("REQ-3 ")), [trace_id(3)]);
        assert_eq!(found(&with("users/ME")), [trace_id(3)]);
        assert_eq!(found(&with("span 1")), [trace_id(1)]);
        assert_eq!(found(&with("nowhere")), []);
    }

    #[test]
    fn a_request_leads_to_its_trace_by_a_span_or_by_a_line() {
        let memory = memory();
        let mut call = span(1, 9, 1);
        call.attributes.push(("request_id".into(), "req-1".into()));
        memory.span(call);
        assert_eq!(memory.trace_of_request("req-1"), Some(trace_id(1)));
        assert_eq!(memory.trace_of_request("req-3"), Some(trace_id(3)));
        assert_eq!(memory.trace_of_request("req"), None);
    }

    #[test]
    fn a_trace_has_its_lines() {
        let trace = memory().trace(trace_id(3)).unwrap();
        assert_eq!((trace.rows.len(), trace.lines.len()), (1, 1));
        assert!(memory().trace(trace_id(9)).is_none());
    }

    #[test]
    fn lines_are_filtered_by_level_service_and_text() {
        let memory = Memory::default();
        for level in ["debug", "info", "warn", "error"] {
            memory.line("gateway", &format!(r#"{{"level":"{level}","message":"of {level}"}}"#));
        }
        memory.line("auth-svc", "panicked");
        let said = |filter: &LineFilter| -> Vec<String> {
            memory.log(filter).into_iter().map(|line| line.message).collect()
        };
        let all = LineFilter::default();
        assert_eq!(said(&all).len(), 5);
        let warn = LineFilter { level: "warn".into(), ..all.clone() };
        assert_eq!(said(&warn), ["of warn", "of error", "panicked"]);
        let gateway = LineFilter { service: "gateway".into(), text: "OF D".into(), ..all };
        assert_eq!(said(&gateway), ["of debug"]);
    }
}
