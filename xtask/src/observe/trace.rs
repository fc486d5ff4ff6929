//! One trace: its spans in the order of a waterfall, and what is told of it in a row of the list.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde::Serialize;
use serde_json::{Map, Value};

use super::ids::{SpanId, TraceId};
use super::lines::Line;
use super::span::{Attributes, Link, Span};
use super::spans::KeptTrace;

const NANOS_PER_MILLI: f64 = 1_000_000.0;

/// What the gateway writes for a request that no route is for.
const NO_ROUTE: &str = "_OTHER";

/// A row of the list of traces.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Summary {
    /// Its id.
    pub(crate) id: TraceId,
    /// What began it: method and route of a request, else the name of its first span.
    pub(crate) name: String,
    /// Where it began.
    pub(crate) service: String,
    /// Everybody who worked on it.
    pub(crate) services: BTreeSet<String>,
    /// The reply's HTTP status or gRPC code; empty where there was no call.
    pub(crate) status: String,
    /// Whether the call, or anything done for it, failed for a reason of the platform's.
    pub(crate) failed: bool,
    /// Whether somebody's request began it, and no process by itself.
    pub(crate) is_request: bool,
    /// How many spans failed.
    pub(crate) errors: usize,
    /// How many spans there are.
    pub(crate) spans: usize,
    /// When it began, milliseconds of Unix time.
    pub(crate) start_ms: f64,
    /// How long its first span took: what the caller waited.
    pub(crate) duration_ms: f64,
    /// How long all of it took, consumers of its events included.
    pub(crate) extent_ms: f64,
    /// The requests it was done for.
    pub(crate) requests: BTreeSet<String>,
}

/// A row of the waterfall.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Row {
    id: SpanId,
    parent: Option<SpanId>,
    /// How far below its root.
    depth: usize,
    /// It has a parent that is not there: the caller's own, or one that was not sent.
    is_torn: bool,
    service: String,
    name: String,
    kind: &'static str,
    /// Since the beginning of the trace.
    start_ms: f64,
    duration_ms: f64,
    failed: bool,
    status_message: String,
    attributes: Map<String, Value>,
    events: Vec<EventRow>,
    links: Vec<Link>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct EventRow {
    at_ms: f64,
    name: String,
    attributes: Map<String, Value>,
}

/// The spans of a trace with parents before their children and siblings in the order of time. Every
/// span is there once, whatever its parent is said to be.
pub(crate) fn waterfall(spans: &[Span]) -> Vec<Row> {
    let ids: HashSet<SpanId> = spans.iter().map(|span| span.id).collect();
    let begin = spans.iter().map(|span| span.start_nanos).min().unwrap_or_default();
    let mut children: HashMap<Option<SpanId>, Vec<&Span>> = HashMap::new();
    let mut by_time: Vec<&Span> = spans.iter().collect();
    by_time.sort_by_key(|span| (span.start_nanos, std::cmp::Reverse(span.end_nanos)));
    for span in &by_time {
        children.entry(span.parent.filter(|id| ids.contains(id))).or_default().push(span);
    }
    let mut walk = Walk { children, shown: HashSet::new(), rows: Vec::new(), begin };
    walk.below(None);
    // Parents that form a ring lead to no root. Nobody who measures sends such.
    for span in by_time {
        walk.from(span);
    }
    walk.rows
}

/// What is told of a trace in the list. `line` is the gateway's line about its request, which may be
/// missing: in a burst lines are left out. The same stands in the gateway's span, less the request's id.
pub(crate) fn summary(id: TraceId, kept: &KeptTrace, line: Option<&Line>) -> Option<Summary> {
    let root = root(&kept.spans)?;
    let begin = kept.spans.iter().map(|span| span.start_nanos).min()?;
    let end = kept.spans.iter().map(|span| span.end_nanos).max()?;
    let errors = kept.spans.iter().filter(|span| span.failed()).count();
    let access = |of_span: &str, of_line: &str| {
        root.attribute(of_span).or_else(|| line?.fields.get(of_line))
    };
    let http_status = access("http.response.status_code", "status").and_then(status);
    let code = root.text("rpc.response.status_code").unwrap_or_default().to_owned();
    let of_spans = kept.spans.iter().filter_map(|span| span.text("request_id"));
    let of_line = line.and_then(|line| line.request.as_deref());
    Some(Summary {
        id,
        name: request_name(access).unwrap_or_else(|| root.title()),
        service: root.service.clone(),
        services: kept.spans.iter().map(|span| span.service.clone()).collect(),
        status: http_status.map_or(code, |status| status.to_string()),
        failed: errors > 0 || http_status.is_some_and(|status| status >= 500),
        is_request: kept.routine.is_none(),
        errors,
        spans: kept.spans.len() + kept.left_out,
        start_ms: milliseconds(begin),
        duration_ms: milliseconds(root.end_nanos - root.start_nanos),
        extent_ms: milliseconds(end - begin),
        requests: of_spans.chain(of_line).map(str::to_owned).collect(),
    })
}

/// The first span of those whose parent is not there.
fn root(spans: &[Span]) -> Option<&Span> {
    let ids: HashSet<SpanId> = spans.iter().map(|span| span.id).collect();
    let is_root = |span: &&Span| span.parent.is_none_or(|parent| !ids.contains(&parent));
    let first = spans.iter().filter(is_root).min_by_key(|span| span.start_nanos);
    first.or_else(|| spans.iter().min_by_key(|span| span.start_nanos))
}

/// `GET /api/v1/users/me`
fn request_name<'a>(access: impl Fn(&str, &str) -> Option<&'a Value>) -> Option<String> {
    let method = access("http.request.method", "method")?.as_str()?;
    let route = access("http.route", "route").and_then(Value::as_str);
    let route = route.filter(|route| *route != NO_ROUTE);
    Some(format!("{method} {}", route.unwrap_or("(no such route)")))
}

/// Exporters send some numbers as text.
fn status(stated: &Value) -> Option<u64> {
    stated.as_u64().or_else(|| stated.as_str()?.parse().ok())
}

struct Walk<'a> {
    children: HashMap<Option<SpanId>, Vec<&'a Span>>,
    shown: HashSet<SpanId>,
    rows: Vec<Row>,
    begin: u64,
}

impl<'a> Walk<'a> {
    /// Those without a parent here, and all below them.
    fn below(&mut self, parent: Option<SpanId>) {
        for span in self.children.get(&parent).cloned().unwrap_or_default() {
            self.from(span);
        }
    }

    /// A span and all below it; with a stack of its own, for a trace may be deep.
    fn from(&mut self, span: &'a Span) {
        let mut stack = vec![(span, 0)];
        while let Some((span, depth)) = stack.pop() {
            if !self.shown.insert(span.id) {
                continue;
            }
            self.rows.push(self.row(span, depth));
            let below = self.children.get(&Some(span.id)).into_iter().flatten();
            stack.extend(below.rev().map(|child| (*child, depth + 1)));
        }
    }

    fn row(&self, span: &Span, depth: usize) -> Row {
        Row {
            id: span.id,
            parent: span.parent,
            depth,
            is_torn: depth == 0 && span.parent.is_some(),
            service: span.service.clone(),
            name: span.title(),
            kind: span.kind,
            start_ms: milliseconds(span.start_nanos - self.begin),
            duration_ms: milliseconds(span.end_nanos - span.start_nanos),
            failed: span.failed(),
            status_message: span.status_message.clone(),
            attributes: object(&span.attributes),
            events: span.events.iter().map(|event| self.event(event)).collect(),
            links: span.links.clone(),
        }
    }

    fn event(&self, event: &super::span::SpanEvent) -> EventRow {
        EventRow {
            at_ms: milliseconds(event.nanos.saturating_sub(self.begin)),
            name: event.name.clone(),
            attributes: object(&event.attributes),
        }
    }
}

fn object(attributes: &Attributes) -> Map<String, Value> {
    attributes.iter().cloned().collect()
}

fn milliseconds(nanos: u64) -> f64 {
    nanos as f64 / NANOS_PER_MILLI
}

#[cfg(test)]
mod tests {
    use super::super::samples::{access_line, span, span_id, trace_id};
    use super::*;

    /// What the list tells of the trace 1.
    fn told(spans: Vec<Span>, access: Option<&Line>) -> Summary {
        let mut store = super::super::spans::Spans::default();
        spans.into_iter().for_each(|span| store.add(span));
        let id = trace_id(1);
        summary(id, store.trace(id).unwrap(), access).unwrap()
    }

    fn shape(rows: &[Row]) -> Vec<(SpanId, usize)> {
        rows.iter().map(|row| (row.id, row.depth)).collect()
    }

    #[test]
    fn children_follow_their_parents_in_the_order_of_time_however_they_came() {
        let rows = waterfall(&[span(1, 4, 2), span(1, 3, 1), span(1, 2, 1), span(1, 1, 0)]);
        let expected = [(1, 0), (2, 1), (4, 2), (3, 1)].map(|(id, depth)| (span_id(id), depth));
        assert_eq!(shape(&rows), expected);
        assert_eq!((rows[2].start_ms, rows[2].duration_ms), (3.0, 10.0));
    }

    #[test]
    fn a_span_whose_parent_is_elsewhere_is_a_root_that_says_so() {
        let rows = waterfall(&[span(1, 2, 9), span(1, 3, 2)]);
        assert_eq!(shape(&rows), [(span_id(2), 0), (span_id(3), 1)]);
        assert!(rows[0].is_torn && !rows[1].is_torn);
    }

    #[test]
    fn spans_in_a_ring_and_very_deep_ones_are_shown_once() {
        let rows = waterfall(&[span(1, 1, 2), span(1, 2, 1), span(1, 3, 3)]);
        assert_eq!(rows.len(), 3);
        let chain: Vec<Span> = (1..=255).map(|number| span(1, number, number - 1)).collect();
        assert_eq!(waterfall(&chain).last().unwrap().depth, 254);
    }

    #[test]
    fn a_request_is_named_by_the_gateways_line() {
        let mut call = span(1, 2, 1);
        call.service = "identity-svc".into();
        call.attributes.push(("request_id".into(), "req-1".into()));
        let mut edge = span(1, 1, 0);
        edge.attributes.push(("http.request.method".into(), "GET".into()));
        let line = access_line(1, "req-1", 503);
        let told = told(vec![edge, call], Some(&line));
        assert_eq!((told.name.as_str(), told.status.as_str()), ("GET /api/v1/users/me", "503"));
        assert!(told.failed && told.is_request && told.errors == 0);
        assert_eq!((told.spans, told.services.len(), told.requests.len()), (2, 2, 1));
        assert_eq!((told.duration_ms, told.extent_ms), (10.0, 11.0));
    }

    #[test]
    fn without_the_line_it_is_named_by_what_stands_in_the_gateways_span() {
        let known =
            [("http.request.method", "GET".into()), ("http.response.status_code", "404".into())];
        let known = known.map(|(name, value): (&str, Value)| (name.to_owned(), value));
        let mut edge = span(1, 1, 0);
        edge.attributes = known.into();
        let unrouted = told(vec![edge.clone()], None);
        let name_and_status = (unrouted.name.as_str(), unrouted.status.as_str());
        assert_eq!(name_and_status, ("GET (no such route)", "404"));
        edge.attributes.push(("http.route".into(), "/api/v1/users/me".into()));
        assert_eq!(told(vec![edge], None).name, "GET /api/v1/users/me");
    }

    #[test]
    fn a_call_that_failed_for_the_servers_reason_is_an_error_and_a_refusal_is_none() {
        for (code, failed) in [("UNAVAILABLE", true), ("NOT_FOUND", false)] {
            let mut call = span(1, 1, 0);
            call.attributes.push(("rpc.response.status_code".into(), code.into()));
            let told = told(vec![call], None);
            assert_eq!((told.status.as_str(), told.failed), (code, failed));
        }
    }

    #[test]
    fn spans_of_one_name_are_told_apart() {
        let mut handled = span(1, 1, 0);
        handled.name = "handle event".into();
        handled.attributes.push(("event_type".into(), "auth.AccountRegistered".into()));
        let told = told(vec![handled], None);
        assert_eq!(told.name, "handle event auth.AccountRegistered");
    }
}
