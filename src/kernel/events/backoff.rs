//! How long to wait before something is tried again.

use std::time::Duration;

use rand::RngExt as _;

use crate::kernel::settings::EventSettings;

/// The longest wait for something that is away: when it is back, all is soon well.
const LONGEST_OUTAGE_WAIT: Duration = Duration::from_secs(5);

/// Exponential back-off with full jitter: a wait is drawn from nothing to its nominal length, so
/// that what failed together spreads over the whole time instead of coming back in waves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
}

impl Backoff {
    pub(crate) fn new(settings: &EventSettings) -> Self {
        Self { first: settings.retry_backoff, longest: settings.max_retry_backoff }
    }

    /// From `first` up to `longest`.
    pub(crate) const fn between(first: Duration, longest: Duration) -> Self {
        Self { first, longest }
    }

    /// The wait after the given number of failed attempts.
    pub(crate) fn wait(self, attempts: u32) -> Duration {
        self.nominal(attempts).mul_f64(rand::rng().random_range(0.0..=1.0))
    }

    /// As [`Backoff::wait`], while something is away that comes back by itself.
    pub(crate) fn wait_out(self, attempts: u32) -> Duration {
        let longest = self.longest.min(LONGEST_OUTAGE_WAIT);
        Self { longest, ..self }.wait(attempts)
    }

    /// The longest that [`Backoff::wait`] may be.
    fn nominal(self, attempts: u32) -> Duration {
        let doublings = attempts.saturating_sub(1).min(20);
        self.first.saturating_mul(1 << doublings).min(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_stay_below_the_longest() {
        let backoff = Backoff::between(Duration::from_millis(100), Duration::from_secs(30));
        for (attempts, nominal) in [(0, 100), (1, 100), (2, 200), (5, 1600), (99, 30_000)] {
            assert_eq!(backoff.nominal(attempts).as_millis(), nominal, "{attempts}");
        }
    }

    #[test]
    fn an_outage_is_waited_out_in_short_steps() {
        let backoff = Backoff::between(Duration::from_secs(8), Duration::from_secs(30));
        let waits: Vec<_> = (0..400).map(|_| backoff.wait_out(9)).collect();
        assert!(waits.iter().all(|wait| *wait <= LONGEST_OUTAGE_WAIT));
        let late = waits.iter().filter(|wait| **wait > LONGEST_OUTAGE_WAIT / 2).count();
        assert!((100..300).contains(&late), "{late} of 400 waits in the later half");
    }

    #[test]
    fn waits_spread_over_the_whole_of_their_nominal_length() {
        let backoff = Backoff::between(Duration::from_secs(8), Duration::from_secs(8));
        let waits: Vec<_> = (0..400).map(|_| backoff.wait(1)).collect();
        for quarter in 0..4 {
            let (from, to) = (quarter * 2, quarter * 2 + 2);
            let within = |wait: &&Duration| (from..to).contains(&wait.as_secs());
            let count = waits.iter().filter(within).count();
            assert!(count > 40, "{count} of 400 waits between {from} and {to} s");
        }
    }
}
