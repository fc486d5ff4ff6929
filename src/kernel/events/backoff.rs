//! How long to wait before something is tried again.

use std::time::Duration;

use rand::RngExt as _;

use crate::kernel::settings::EventSettings;

/// Exponential back-off with jitter: what failed together is not tried again together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
}

impl Backoff {
    pub(crate) fn new(settings: &EventSettings) -> Self {
        Self { first: settings.retry_backoff, longest: settings.max_retry_backoff }
    }

    /// The wait after the given number of failed attempts, from half to all of its nominal length.
    pub(crate) fn wait(self, attempts: u32) -> Duration {
        let doublings = attempts.saturating_sub(1).min(20);
        let nominal = self.first.saturating_mul(1 << doublings).min(self.longest);
        nominal.mul_f64(rand::rng().random_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_stay_below_the_longest() {
        let backoff =
            Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(30) };
        for (attempts, most_millis) in [(0, 100), (1, 100), (2, 200), (5, 1600), (99, 30_000)] {
            let wait = backoff.wait(attempts).as_millis();
            assert!(wait <= most_millis && wait >= most_millis / 2, "{attempts}: {wait} ms");
        }
    }
}
