//! Metrics of what a process keeps of others' states: caches of answers, and the streams by which
//! it learns that they have changed. The handles are taken once, so that the hot path touches
//! nothing but a counter.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// Labels of `mainstay_kept_lookups_total` and `mainstay_kept_drops_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LookupLabels {
    /// `decisions` or `entitlements`.
    cache: &'static str,
    /// `hit`: answered by what is kept. `miss`: had to be asked. `bypass`: was asked although it may
    /// be kept, because nobody vouches for what is.
    outcome: &'static str,
}

/// Labels of `mainstay_kept_drops_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CacheLabels {
    /// `decisions` or `entitlements`.
    cache: &'static str,
}

/// Labels of `mainstay_watch_age_seconds` and `mainstay_watch_broken_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WatchLabels {
    /// What is kept by it: `decisions` or `entitlements`.
    watch: &'static str,
}

/// What is measured of all caches and streams.
#[derive(Debug, Default)]
pub(super) struct Kept {
    lookups: Family<LookupLabels, Counter>,
    drops: Family<CacheLabels, Counter>,
    watch_age: Family<WatchLabels, Gauge<f64, AtomicU64>>,
    watch_broken: Family<WatchLabels, Counter>,
}

impl Kept {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "mainstay_kept_lookups",
            "Questions by whether a kept answer was used",
            self.lookups.clone(),
        );
        registry.register(
            "mainstay_kept_drops",
            "How often kept answers were dropped because what they follow from had changed",
            self.drops.clone(),
        );
        registry.register_with_unit(
            "mainstay_watch_age",
            "How long ago it was certain that kept answers are current; -1 before it ever was",
            Unit::Seconds,
            self.watch_age.clone(),
        );
        registry.register(
            "mainstay_watch_broken",
            "Streams of changes that could not be opened, broke or fell silent",
            self.watch_broken.clone(),
        );
    }

    pub(super) fn cache(&self, cache: &'static str) -> CacheMetrics {
        let lookups = |outcome| self.lookups.get_or_create_owned(&LookupLabels { cache, outcome });
        CacheMetrics {
            hits: lookups("hit"),
            misses: lookups("miss"),
            bypasses: lookups("bypass"),
            drops: self.drops.get_or_create_owned(&CacheLabels { cache }),
        }
    }

    pub(super) fn watch(&self, watch: &'static str) -> WatchMetrics {
        let labels = WatchLabels { watch };
        let metrics = WatchMetrics {
            age: self.watch_age.get_or_create_owned(&labels),
            broken: self.watch_broken.get_or_create_owned(&labels),
        };
        metrics.age(None);
        metrics
    }
}

/// What is measured of one cache.
#[derive(Clone, Debug)]
pub struct CacheMetrics {
    hits: Counter,
    misses: Counter,
    bypasses: Counter,
    drops: Counter,
}

impl CacheMetrics {
    /// A question was answered by what is kept.
    pub fn hit(&self) {
        self.hits.inc();
    }

    /// A question had to be asked.
    pub fn miss(&self) {
        self.misses.inc();
    }

    /// A question was asked because nobody vouches for what is kept.
    pub fn bypass(&self) {
        self.bypasses.inc();
    }

    /// What is kept was dropped.
    pub fn drop_all(&self) {
        self.drops.inc();
    }
}

/// What is measured of one stream of changes.
#[derive(Clone, Debug)]
pub struct WatchMetrics {
    age: Gauge<f64, AtomicU64>,
    broken: Counter,
}

impl WatchMetrics {
    /// How long ago what is kept was certain to be current; `None` before it ever was.
    pub fn age(&self, age: Option<Duration>) {
        self.age.set(age.map_or(-1.0, |age| age.as_secs_f64()));
    }

    /// The stream could not be opened, broke or fell silent.
    pub fn broken(&self) {
        self.broken.inc();
    }
}
