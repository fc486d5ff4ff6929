//! Bursts: a record that is repeated thousands of times tells nothing that its first ones did not.
//!
//! Of each kind of record, which is one place in the code, so many a second are written. The rest is counted,
//! and the count told within a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tracing::Metadata;
use tracing::callsite::Identifier;

use crate::kernel::grown::Grown;

/// How often it is told what was left out.
const TELL_INTERVAL: Duration = Duration::from_secs(1);

/// Counts records by their kind.
pub(in crate::kernel::telemetry) struct Bursts {
    /// How many of one kind are written in a second; 0 for all.
    most: u32,
    begun: Instant,
    kinds: Grown<Identifier, Arc<Kind>>,
}

struct Kind {
    metadata: &'static Metadata<'static>,
    second: AtomicU64,
    in_second: AtomicU32,
    left_out: AtomicU64,
}

impl Bursts {
    pub(in crate::kernel::telemetry) fn new(most: u32) -> Arc<Self> {
        Arc::new(Self { most, begun: Instant::now(), kinds: Grown::default() })
    }

    /// Whether one more record of this kind is written now.
    pub(super) fn admit(&self, metadata: &'static Metadata<'static>) -> bool {
        self.most == 0 || self.admit_in(metadata, self.begun.elapsed().as_secs())
    }

    fn admit_in(&self, metadata: &'static Metadata<'static>, second: u64) -> bool {
        let kind = self.kind(metadata);
        // Two threads may both see a second begin: then a few more are written.
        if kind.second.swap(second, Ordering::Relaxed) != second {
            kind.in_second.store(0, Ordering::Relaxed);
        }
        let admitted = kind.in_second.fetch_add(1, Ordering::Relaxed) < self.most;
        if !admitted {
            kind.left_out.fetch_add(1, Ordering::Relaxed);
        }
        admitted
    }

    fn kind(&self, metadata: &'static Metadata<'static>) -> Arc<Kind> {
        let kind = || Kind {
            metadata,
            second: AtomicU64::new(0),
            in_second: AtomicU32::new(0),
            left_out: AtomicU64::new(0),
        };
        self.kinds.get(&metadata.callsite(), || Arc::new(kind()))
    }

    /// What was left out since this was asked before.
    fn left_out(&self) -> Vec<(&'static Metadata<'static>, u64)> {
        let kinds = self.kinds.all();
        let counts =
            kinds.values().map(|kind| (kind.metadata, kind.left_out.swap(0, Ordering::Relaxed)));
        counts.filter(|(_, count)| *count > 0).collect()
    }

    /// Tells what was left out, for ever.
    pub(in crate::kernel::telemetry) async fn tell(self: Arc<Self>) {
        let mut interval = tokio::time::interval(TELL_INTERVAL);
        loop {
            interval.tick().await;
            for (kind, left_out) in self.left_out() {
                let (file, line) = (kind.file(), kind.line());
                let level = kind.level().as_str();
                tracing::warn!(
                    of = kind.target(),
                    of_level = level,
                    file,
                    line,
                    left_out,
                    "records of one kind were too many and are left out"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing::subscriber::with_default;
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

    use super::*;

    /// Asks for each event whether it would be written, in a second that stands still.
    struct Asks {
        bursts: Arc<Bursts>,
        second: Arc<AtomicU64>,
        written: Arc<AtomicU32>,
    }

    impl<S: tracing::Subscriber> Layer<S> for Asks {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            if self.bursts.admit_in(event.metadata(), self.second.load(Ordering::Relaxed)) {
                self.written.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    #[test]
    fn the_first_of_a_second_are_written_and_the_rest_is_counted_by_kind() {
        let (bursts, second) = (Bursts::new(3), Arc::new(AtomicU64::new(7)));
        let written = Arc::new(AtomicU32::new(0));
        let asks =
            Asks { bursts: bursts.clone(), second: second.clone(), written: written.clone() };
        let repeat = |times: u32| (0..times).for_each(|number| tracing::info!(number, "a burst"));
        with_default(tracing_subscriber::registry().with(asks), || {
            repeat(10);
            tracing::info!("another kind");
            assert_eq!(written.load(Ordering::Relaxed), 4);
            let left_out = bursts.left_out();
            assert_eq!(left_out.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [7]);
            assert!(bursts.left_out().is_empty(), "told once");
            second.store(8, Ordering::Relaxed);
            repeat(2);
            assert_eq!(written.load(Ordering::Relaxed), 6, "a new second");
        });
    }
}
