//! A histogram of atomics. The one of prometheus-client takes a lock for each observation, which every
//! request at the edge would pay.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Bucket bounds of durations in milliseconds, as the conventions advise for calls and requests.
const DURATION_BOUNDS: [u64; 14] =
    [5, 10, 25, 50, 75, 100, 250, 500, 750, 1_000, 2_500, 5_000, 7_500, 10_000];

/// Bucket bounds of sizes in bytes: each four times the one before, from 256 B to 64 MiB.
const SIZE_BOUNDS: [u64; 10] =
    [1 << 8, 1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 24, 1 << 26];

const NANOS_PER_MILLI: u64 = 1_000_000;
const NANOS_PER_SECOND: f64 = 1e9;

/// Histograms by their labels.
pub(super) type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// How often values fell into which range, and their sum. Clones count together.
#[derive(Clone, Debug)]
pub(super) struct Histogram(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The highest value of each bucket but the last, in units.
    bounds: Vec<u64>,
    /// How many units one shown unit is.
    scale: f64,
    /// One more than there are bounds.
    counts: Vec<AtomicU64>,
    sum: AtomicU64,
}

/// The bounds of durations in seconds.
pub(super) fn duration_bounds() -> impl Iterator<Item = f64> {
    DURATION_BOUNDS.iter().map(|millis| shown(millis * NANOS_PER_MILLI, NANOS_PER_SECOND))
}

/// A family of durations, shown in seconds.
pub(super) fn durations<L: Clone + std::hash::Hash + Eq>() -> Histograms<L> {
    Family::new_with_constructor(Histogram::of_durations)
}

/// A family of sizes, shown in bytes.
pub(super) fn sizes<L: Clone + std::hash::Hash + Eq>() -> Histograms<L> {
    Family::new_with_constructor(Histogram::of_sizes)
}

impl Histogram {
    pub(super) fn of_durations() -> Self {
        let bounds = DURATION_BOUNDS.map(|millis| millis * NANOS_PER_MILLI);
        Self::new(bounds.to_vec(), NANOS_PER_SECOND)
    }

    fn of_sizes() -> Self {
        Self::new(SIZE_BOUNDS.to_vec(), 1.0)
    }

    fn new(bounds: Vec<u64>, scale: f64) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Inner { bounds, scale, counts, sum: AtomicU64::new(0) }))
    }

    /// Counts a duration.
    pub(super) fn took(&self, elapsed: Duration) {
        self.observe(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Counts a value in units: nanoseconds or bytes.
    pub(super) fn observe(&self, value: u64) {
        let bucket = self.0.bounds.partition_point(|bound| *bound < value);
        self.0.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.0.sum.fetch_add(value, Ordering::Relaxed);
    }
}

fn shown(units: u64, scale: f64) -> f64 {
    units as f64 / scale
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder) -> std::fmt::Result {
        let inner = &*self.0;
        let shown = |units: u64| shown(units, inner.scale);
        let bounds = inner.bounds.iter().map(|bound| shown(*bound)).chain([f64::INFINITY]);
        // The count is that of the buckets as they were read, so that the two always agree.
        let counts = inner.counts.iter().map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = shown(inner.sum.load(Ordering::Relaxed));
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

impl TypedMetric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;
    use prometheus_client::registry::{Registry, Unit};

    use super::*;

    #[test]
    fn values_are_shown_in_cumulative_buckets_whose_bounds_belong_to_them() {
        let histogram = Histogram::of_durations();
        for millis in [5, 6, 20_000] {
            histogram.took(Duration::from_millis(millis));
        }
        let mut registry = Registry::default();
        registry.register_with_unit("wait", "A wait", Unit::Seconds, histogram);
        let mut page = String::new();
        text::encode(&mut page, &registry).expect("a string takes all that is written");
        for line in [
            "wait_seconds_sum 20.011",
            "wait_seconds_count 3",
            "wait_seconds_bucket{le=\"0.005\"} 1",
            "wait_seconds_bucket{le=\"0.01\"} 2",
            "wait_seconds_bucket{le=\"10.0\"} 2",
            "wait_seconds_bucket{le=\"+Inf\"} 3",
        ] {
            assert!(page.lines().any(|shown| shown == line), "no line {line} in\n{page}");
        }
    }

    #[test]
    fn what_many_threads_count_is_all_there() {
        let histogram = Histogram::of_sizes();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|bytes| histogram.observe(bytes)));
            }
        });
        let counts = histogram.0.counts.iter().map(|count| count.load(Ordering::Relaxed));
        assert_eq!(counts.sum::<u64>(), 4000);
        assert_eq!(histogram.0.sum.load(Ordering::Relaxed), 4 * 499_500);
    }
}
