//! Exemplars: of each bucket of a duration, the trace of one that fell into it, for whoever looks at a
//! graph to go on from there.
//!
//! Only what a sampled trace is exported of has one, so they are kept apart from the counting, by histograms of the
//! library that see nothing else. On the page the two become one.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::TraceId;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};

use super::histogram::duration_bounds;

/// What stands between a value and its exemplar (OpenMetrics 1.0, section "Exemplars").
const MARK: &str = " # ";

/// The traces of a family of durations.
#[derive(Clone, Debug)]
pub(super) struct Exemplars<L: Clone + Eq + Hash>(
    Family<L, HistogramWithExemplars<Traced>, fn() -> HistogramWithExemplars<Traced>>,
);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Traced {
    trace_id: String,
}

impl<L: Clone + Eq + Hash> Exemplars<L> {
    pub(super) fn new() -> Self {
        Self(Family::new_with_constructor(|| HistogramWithExemplars::new(duration_bounds())))
    }

    /// Remembers the trace in which something took so long.
    pub(super) fn took(&self, labels: &L, elapsed: Duration, trace: TraceId) {
        let (traced, now) = (Traced { trace_id: trace.to_string() }, SystemTime::now());
        self.0.get_or_create(labels).observe(elapsed.as_secs_f64(), Some(traced), Some(now));
    }
}

impl<L> Exemplars<L>
where
    L: EncodeLabelSet + std::fmt::Debug + Clone + Eq + Hash + Send + Sync + 'static,
{
    /// Registers them by the name of the family that counts.
    pub(super) fn register(&self, name: &str, registry: &mut Registry) {
        registry.register_with_unit(name, "", Unit::Seconds, self.0.clone());
    }
}

/// The page with the exemplars that these registries have for its lines.
pub(super) fn join(page: String, exemplars: &Registry) -> String {
    let mut traces = String::new();
    text::encode(&mut traces, exemplars).expect("a string takes all that is written");
    let traces: HashMap<&str, &str> = traces.lines().filter_map(parts).collect();
    if traces.is_empty() {
        return page;
    }
    let lines = page.lines().map(|line| match traces.get(series(line)) {
        Some(exemplar) => Cow::Owned(format!("{line}{MARK}{exemplar}")),
        None => Cow::Borrowed(line),
    });
    lines.flat_map(|line| [line, Cow::Borrowed("\n")]).collect()
}

/// The series of a line and its exemplar.
fn parts(line: &str) -> Option<(&str, &str)> {
    let (sample, exemplar) = line.rsplit_once(MARK)?;
    Some((series(sample), exemplar))
}

/// Name and labels of a line.
fn series(line: &str) -> &str {
    line.rsplit_once(' ').map_or(line, |(series, _)| series)
}

#[cfg(test)]
mod tests {
    use super::super::histogram::{Histograms, durations};
    use super::*;

    #[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
    struct Route {
        route: &'static str,
    }

    #[test]
    fn a_bucket_shows_the_last_trace_that_fell_into_it() {
        let (counted, seen): (Histograms<Route>, _) = (durations(), Exemplars::<Route>::new());
        let (mut page, mut traces) = (Registry::default(), Registry::default());
        page.register_with_unit("wait", "A wait", Unit::Seconds, counted.clone());
        seen.register("wait", &mut traces);
        let routes = [Route { route: "/a b # {c}" }, Route { route: "/d" }];
        for (route, millis, trace_id) in
            [(&routes[0], 6, "first"), (&routes[0], 7, "last"), (&routes[0], 90_000, "slow")]
        {
            counted.get_or_create(route).took(Duration::from_millis(millis));
            let traced = Traced { trace_id: trace_id.to_owned() };
            let seconds = Duration::from_millis(millis).as_secs_f64();
            seen.0.get_or_create(route).observe(seconds, Some(traced), None);
        }
        counted.get_or_create(&routes[1]).took(Duration::from_millis(6));
        let mut text = String::new();
        text::encode(&mut text, &page).expect("written");
        let joined = join(text.clone(), &traces);

        for line in [
            "wait_seconds_bucket{le=\"0.01\",route=\"/a b # {c}\"} 2 # {trace_id=\"last\"} 0.007",
            "wait_seconds_bucket{le=\"+Inf\",route=\"/a b # {c}\"} 3 # {trace_id=\"slow\"} 90.0",
            "wait_seconds_bucket{le=\"0.025\",route=\"/a b # {c}\"} 2",
            "wait_seconds_bucket{le=\"0.01\",route=\"/d\"} 1",
            "# EOF",
        ] {
            assert!(joined.lines().any(|shown| shown == line), "no line {line} in\n{joined}");
        }
        assert_eq!(joined.matches("trace_id").count(), 2, "{joined}");
        assert_eq!(joined.lines().count(), text.lines().count());
        assert_eq!(join(text.clone(), &Registry::default()), text);
    }
}
