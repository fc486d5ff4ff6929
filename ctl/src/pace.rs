//! How fast things are done: so many a second, evenly.

use std::time::Duration;

use tokio::time::Instant;

/// The most that one call does.
const MOST: u32 = 200;

/// Holds a number a second.
pub(crate) struct Pace {
    rate: Option<u32>,
    next: Instant,
}

impl Pace {
    /// So many a second; as fast as it goes when nothing is stated.
    pub(crate) fn new(rate: Option<u32>) -> Self {
        Self { rate, next: Instant::now() }
    }

    /// How many to do in one call: at most those of a tenth of a second, so that the pace is even.
    pub(crate) fn batch(&self) -> i32 {
        let batch = self.rate.map_or(MOST, |rate| (rate / 10).clamp(1, MOST));
        i32::try_from(batch).unwrap_or(1)
    }

    /// Waits until so many more may be done.
    pub(crate) async fn done(&mut self, count: usize) {
        let Some(rate) = self.rate else { return };
        let taken = Duration::from_secs(1) * u32::try_from(count).unwrap_or(u32::MAX) / rate.max(1);
        self.next = self.next.max(Instant::now()) + taken;
        tokio::time::sleep_until(self.next).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_follow_the_rate() {
        for (rate, batch) in [(None, 200), (Some(1), 1), (Some(50), 5), (Some(9000), 200)] {
            assert_eq!(Pace::new(rate).batch(), batch, "{rate:?}");
        }
    }

    #[tokio::test]
    async fn a_hundred_a_second_take_a_tenth_of_a_second_for_ten() {
        let (begin, mut pace) = (Instant::now(), Pace::new(Some(100)));
        for _ in 0..10 {
            pace.done(1).await;
        }
        assert!(begin.elapsed() >= Duration::from_millis(100));
    }
}
