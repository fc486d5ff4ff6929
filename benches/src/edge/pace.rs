//! When the requests of a steady load are due.
//!
//! The runtime's timers go by milliseconds: sixteen connections that wait for them fire at once, and the
//! last of such a volley waits for all others. A thread that sleeps until the next request is due keeps them
//! apart, to some fifty microseconds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use tokio::sync::Semaphore;

/// A steady load over some connections, which take turns.
#[derive(Clone)]
pub(super) struct Pace(Arc<Inner>);

struct Inner {
    begun: Instant,
    until: Instant,
    per_second: f64,
    /// What each connection may send by now.
    turns: Vec<Semaphore>,
}

impl Pace {
    /// So many requests a second from now on.
    pub(super) fn begin(connections: u32, per_second: f64, time: Duration) -> anyhow::Result<Self> {
        ensure!(per_second > 0.0, "a load of no requests");
        let begun = Instant::now();
        let turns = (0..connections).map(|_| Semaphore::new(0)).collect();
        let pace = Self(Arc::new(Inner { begun, until: begun + time, per_second, turns }));
        let beating = pace.clone();
        std::thread::Builder::new().name("pace".to_owned()).spawn(move || beating.beat())?;
        Ok(pace)
    }

    /// Waits until a connection's next request is due, and says when that was; `None` when the time is over.
    pub(super) async fn next(&self, connection: u32, sent: u32) -> anyhow::Result<Option<Instant>> {
        let count = u32::try_from(self.0.turns.len())?;
        let due = self.due(sent * count + connection);
        let Some(turns) = self.0.turns.get(connection as usize).filter(|_| due < self.0.until)
        else {
            return Ok(None);
        };
        turns.acquire().await?.forget();
        Ok(Some(due))
    }

    fn due(&self, number: u32) -> Instant {
        self.0.begun + Duration::from_secs_f64(f64::from(number) / self.0.per_second)
    }

    fn beat(&self) {
        for (number, turns) in (0..).zip(self.0.turns.iter().cycle()) {
            let due = self.due(number);
            if due >= self.0.until {
                return;
            }
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            turns.add_permits(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_take_turns_and_none_goes_before_its_time() {
        let pace = Pace::begin(2, 1000.0, Duration::from_millis(50)).unwrap();
        let mut dues = Vec::new();
        for sent in 0.. {
            let Some(first) = pace.next(0, sent).await.unwrap() else { break };
            assert!(first <= Instant::now());
            let second = pace.next(1, sent).await.unwrap().unwrap();
            assert!(second <= Instant::now());
            dues.extend([first, second]);
        }
        assert_eq!(dues.len(), 50);
        assert!(
            dues.windows(2).all(|pair| pair[1] - pair[0] == Duration::from_millis(1)),
            "{dues:?}"
        );
    }
}
