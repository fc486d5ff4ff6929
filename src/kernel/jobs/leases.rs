//! The leases of this process: prolonged while their jobs run, given up when they are lost.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::outcome::Lease;
use super::queue;
use crate::kernel::database::Database;

/// How often leases are prolonged, as a part of their length.
const BEATS: u32 = 3;

/// The jobs that run here.
#[derive(Default)]
pub(super) struct Leases(Mutex<HashMap<(Uuid, i64), Held>>);

struct Held {
    until: Instant,
    lost: CancellationToken,
}

impl Leases {
    /// Notes a lease that was claimed at `since`; the token is cancelled when it is lost.
    pub(super) fn hold(
        &self,
        lease: &Lease,
        since: Instant,
        length: Duration,
    ) -> CancellationToken {
        let lost = CancellationToken::new();
        let held = Held { until: since + length, lost: lost.clone() };
        self.lock().insert((lease.job_id, lease.epoch), held);
        lost
    }

    /// The run has ended.
    pub(super) fn drop_held(&self, lease: &Lease) {
        self.lock().remove(&(lease.job_id, lease.epoch));
    }

    /// Prolongs the leases for ever. One that somebody else has taken over is lost at once; one that
    /// could not be prolonged is lost when it lapses by this process's own clock.
    pub(super) async fn keep(&self, database: &Database, owner: Uuid, length: Duration) {
        loop {
            tokio::time::sleep(length / BEATS).await;
            if self.lock().is_empty() {
                continue;
            }
            let (since, before) = (Instant::now(), self.keys());
            let beat = queue::prolong(database, owner, length);
            match tokio::time::timeout(length / BEATS, beat).await {
                Ok(Ok(kept)) => self.renew(&before, &kept, since + length),
                Ok(Err(error)) => {
                    tracing::warn!(
                        error = error.with_causes(),
                        "leases of jobs could not be prolonged"
                    );
                }
                Err(_) => tracing::warn!("leases of jobs could not be prolonged in time"),
            }
            self.give_up_lapsed();
        }
    }

    fn keys(&self) -> Vec<(Uuid, i64)> {
        self.lock().keys().copied().collect()
    }

    /// Of the leases held `before`, those that were not kept are lost; newer ones are none of them.
    fn renew(&self, before: &[(Uuid, i64)], kept: &[(Uuid, i64)], until: Instant) {
        let mut held = self.lock();
        for key in before {
            let Some(held) = held.get_mut(key) else { continue };
            match kept.contains(key) {
                true => held.until = until,
                false => held.lost.cancel(),
            }
        }
    }

    fn give_up_lapsed(&self) {
        let now = Instant::now();
        for held in self.lock().values().filter(|held| held.until <= now) {
            held.lost.cancel();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(Uuid, i64), Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
