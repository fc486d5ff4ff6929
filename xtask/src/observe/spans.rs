//! The newest traces, in memory and within bounds: what is too much pushes the oldest out.
//!
//! Processes do much by themselves, several times a second: of that a few of each kind are kept, or it
//! would push out the calls that somebody made.

use std::collections::{HashMap, VecDeque};

use super::ids::TraceId;
use super::span::Span;

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// The most traces.
    pub(crate) traces: usize,
    /// The most traces that no request began, of each name.
    pub(crate) of_a_routine: usize,
    /// The most spans of one trace; further ones are counted.
    pub(crate) spans_a_trace: usize,
    /// The most memory of all of them together, about.
    pub(crate) bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { traces: 500, of_a_routine: 20, spans_a_trace: 2000, bytes: 32 * 1024 * 1024 }
    }
}

/// The traces that are kept.
#[derive(Debug, Default)]
pub(crate) struct Spans {
    bounds: Bounds,
    traces: HashMap<TraceId, KeptTrace>,
    /// By the time at which their first span came, the oldest first.
    order: VecDeque<TraceId>,
    /// Traces that no request began, by the title of their first span.
    routines: HashMap<String, VecDeque<TraceId>>,
    bytes: usize,
    changes: u64,
}

/// What is kept of one trace.
#[derive(Debug, Default)]
pub(crate) struct KeptTrace {
    /// In the order in which they came.
    pub(crate) spans: Vec<Span>,
    /// How many there were beyond the bound.
    pub(crate) left_out: usize,
    /// The title of its first span, if no request began it.
    pub(crate) routine: Option<String>,
    bytes: usize,
}

impl Spans {
    /// Keeps a span. One that was sent twice is kept once.
    pub(crate) fn add(&mut self, span: Span) {
        let (trace, bytes) = (span.trace, span.bytes());
        let kept = self.traces.entry(trace).or_insert_with(|| {
            self.order.push_back(trace);
            KeptTrace::default()
        });
        if kept.spans.iter().any(|known| known.id == span.id) {
            return;
        }
        self.changes += 1;
        if kept.spans.len() >= self.bounds.spans_a_trace {
            kept.left_out += 1;
            return;
        }
        let routine = span.routine().filter(|_| kept.routine.is_none());
        kept.routine = routine.clone().or(kept.routine.take());
        kept.spans.push(span);
        kept.bytes += bytes;
        self.bytes += bytes;
        if let Some(name) = routine {
            self.count_routine(name, trace);
        }
        self.forget_beyond_bounds();
    }

    /// A trace.
    pub(crate) fn trace(&self, id: TraceId) -> Option<&KeptTrace> {
        self.traces.get(&id)
    }

    /// All traces, the newest first.
    pub(crate) fn newest_first(&self) -> impl Iterator<Item = (TraceId, &KeptTrace)> {
        self.order.iter().rev().filter_map(|id| Some((*id, self.traces.get(id)?)))
    }

    /// Grows with each change.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    fn forget_beyond_bounds(&mut self) {
        while self.order.len() > self.bounds.traces || self.bytes > self.bounds.bytes {
            let Some(oldest) = self.order.front().copied() else { return };
            self.forget(oldest);
        }
    }

    fn count_routine(&mut self, name: String, trace: TraceId) {
        let of_name = self.routines.entry(name).or_default();
        of_name.push_back(trace);
        if of_name.len() > self.bounds.of_a_routine
            && let Some(oldest) = of_name.front().copied()
        {
            self.forget(oldest);
        }
    }

    fn forget(&mut self, id: TraceId) {
        self.order.retain(|kept| *kept != id);
        let Some(forgotten) = self.traces.remove(&id) else { return };
        self.bytes -= forgotten.bytes;
        let Some(name) = forgotten.routine else { return };
        if let Some(of_name) = self.routines.get_mut(&name) {
            of_name.retain(|kept| *kept != id);
            if of_name.is_empty() {
                self.routines.remove(&name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::span;
    use super::*;

    fn bounded(traces: usize, spans_a_trace: usize, bytes: usize) -> Spans {
        let bounds = Bounds { traces, of_a_routine: 2, spans_a_trace, bytes };
        Spans { bounds, ..Spans::default() }
    }

    /// As if a request had begun it.
    fn call(trace: u8) -> Span {
        let mut call = span(trace, 1, 0);
        call.attributes.push(("http.request.method".into(), "GET".into()));
        call
    }

    fn ids(spans: &Spans) -> Vec<TraceId> {
        spans.newest_first().map(|(id, _)| id).collect()
    }

    #[test]
    fn the_oldest_traces_make_room_for_new_ones() {
        let mut spans = bounded(2, 10, usize::MAX);
        for trace in 1..=3 {
            spans.add(call(trace));
        }
        let kept = ids(&spans);
        assert_eq!(kept, [span(3, 1, 0).trace, span(2, 1, 0).trace]);
        assert!(spans.trace(span(1, 1, 0).trace).is_none());
    }

    #[test]
    fn memory_is_bounded_whatever_a_span_holds() {
        let mut spans = bounded(100, 10, 10_000);
        for trace in 1..=50 {
            let mut large = call(trace);
            large.attributes.push(("text".into(), "x".repeat(3000).into()));
            spans.add(large);
            assert!(spans.bytes <= 10_000, "{}", spans.bytes);
        }
        assert!((2..=3).contains(&ids(&spans).len()), "{}", ids(&spans).len());
        let mut too_large = span(99, 1, 0);
        too_large.name = "x".repeat(20_000);
        spans.add(too_large);
        assert_eq!((ids(&spans).len(), spans.bytes), (0, 0));
        assert!(spans.routines.is_empty());
    }

    #[test]
    fn what_processes_do_by_themselves_pushes_no_call_out() {
        let mut spans = bounded(5, 10, usize::MAX);
        spans.add(call(1));
        // The service's part of a call comes before the gateway's: it has a parent, if not here yet.
        spans.add(span(2, 7, 9));
        for trace in 10..=30 {
            spans.add(span(trace, 1, 0));
        }
        let kept = ids(&spans);
        assert_eq!(kept, [30, 29, 2, 1].map(super::super::samples::trace_id));
        assert_eq!(spans.routines.values().map(VecDeque::len).sum::<usize>(), 2);
    }

    #[test]
    fn a_trace_has_a_bound_of_its_own_and_a_span_sent_twice_is_one() {
        let mut spans = bounded(2, 3, usize::MAX);
        for number in [1, 2, 2, 3, 4, 5] {
            spans.add(span(1, number, 0));
        }
        let kept = spans.trace(span(1, 1, 0).trace).unwrap();
        assert_eq!((kept.spans.len(), kept.left_out), (3, 2));
    }
}
