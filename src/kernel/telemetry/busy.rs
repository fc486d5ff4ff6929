//! How busy the threads of the runtimes are.

use std::time::{Duration, Instant};

use tokio::runtime::{Handle, RuntimeMetrics};
use tokio::time::MissedTickBehavior;

use super::Metrics;

/// Over how long a time it is measured.
const INTERVAL: Duration = Duration::from_secs(5);

/// Measures the busiest of the runtime that this runs on and these others, for ever. Near 1 calls wait for
/// threads rather than for what they ask for.
pub(in crate::kernel) async fn report(metrics: Metrics, others: Vec<Handle>) {
    let own = std::iter::once(Handle::current());
    let mut runtimes: Vec<_> = own.chain(others).map(|handle| Runtime::of(&handle)).collect();
    let mut interval = tokio::time::interval(INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let busiest = runtimes.iter_mut().filter_map(Runtime::ratio).reduce(f64::max);
        if let Some(ratio) = busiest {
            metrics.runtime_busy(ratio);
        }
    }
}

struct Runtime {
    metrics: RuntimeMetrics,
    /// When it was looked at last, and how long all its threads had been at work until then.
    last: (Instant, Duration),
}

impl Runtime {
    fn of(handle: &Handle) -> Self {
        let metrics = handle.metrics();
        let last = (Instant::now(), total_busy(&metrics));
        Self { metrics, last }
    }

    /// The part of the time since the last look in which its threads were at work.
    fn ratio(&mut self) -> Option<f64> {
        let (now, busy) = (Instant::now(), total_busy(&self.metrics));
        let (last, busy_then) = std::mem::replace(&mut self.last, (now, busy));
        let available = now.duration_since(last).as_secs_f64() * self.metrics.num_workers() as f64;
        let ratio = busy.saturating_sub(busy_then).as_secs_f64() / available;
        (available > 0.0).then(|| ratio.clamp(0.0, 1.0))
    }
}

fn total_busy(runtime: &RuntimeMetrics) -> Duration {
    (0..runtime.num_workers()).map(|worker| runtime.worker_total_busy_duration(worker)).sum()
}
