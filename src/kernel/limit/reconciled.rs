//! Token buckets of this process's own that are compared with everybody's in the background.
//!
//! A decision is made here and at once. Every [`RECONCILE_INTERVAL`] one task tells a [`Ledger`] what
//! was let through since, and learns how empty each of those buckets really is.
//!
//! **How much too much.** A process may decide by what it knew before the others took their part, for
//! an interval and the time the ledger takes to answer. So n processes let through at most n full
//! buckets, where one bucket was meant, and what comes back in an interval for each process. That is
//! once and not once a period: the ledger keeps what was too much as a debt. A process learns the debt
//! of a bucket when it has taken from it, and lets nothing through for as long as the debt was then;
//! one that grew since it learns with its next call. Over any time `t` that is at most
//! `n x limit + rate x (t + n x interval)`, where n counts every process that decided in that time: one
//! that is started again begins with full buckets and counts once more. A caller whom a shared bucket
//! would let through is never refused.
//!
//! While the ledger is away each process decides alone, as [`TokenBuckets`] do, and tells what it let
//! through when the ledger is back.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::redis::Script;
use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::shared::micros;
use super::{Decision, Quota, RateLimiter, Spent, TokenBuckets};
use crate::kernel::error::Result;
use crate::kernel::redis::Redis;

/// How often the buckets are compared.
pub const RECONCILE_INTERVAL: Duration = Duration::from_millis(100);

/// How many buckets are told in one round trip.
const BATCH: usize = 512;

/// How long the ledger may take for a batch; nobody waits for it.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many times empty a bucket can be: more processes than that let one caller through at the same
/// moment never.
const DEEPEST: u64 = 64;

/// What the fallbacks are counted under.
const PURPOSE: &str = "limit";

/// Where all processes write down what they let through.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Adds what was taken from each bucket, and says in the same order how long each takes to be full
    /// from now on: longer than an empty one takes where too much was taken.
    async fn add(&self, spent: &[Spent]) -> Result<Vec<Duration>>;
}

/// Buckets of this process's own, compared with everybody's in the background.
pub struct ReconciledBuckets {
    own: TokenBuckets,
    ledger: Box<dyn Ledger>,
}

impl ReconciledBuckets {
    /// Buckets for at most `max_keys` keys at a time, compared in this Redis.
    pub fn new(redis: Redis, max_keys: usize) -> Self {
        let script = Script::new(include_str!("add.lua"));
        Self::with_ledger(TokenBuckets::new(max_keys), Box::new(SharedLedger { redis, script }))
    }

    /// Buckets that are compared in another ledger.
    pub fn with_ledger(own: TokenBuckets, ledger: Box<dyn Ledger>) -> Self {
        Self { own, ledger }
    }

    /// Takes `cost` tokens from the bucket of `key`, or none if there are too few. A cost above the
    /// limit takes a full bucket.
    pub fn take(&self, key: &str, quota: Quota, cost: u32) -> Decision {
        self.own.take_noting(key, quota, cost)
    }

    /// Compares the buckets until the shutdown, and once more then.
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let mut goes_on = true;
        while goes_on {
            let wait = tokio::time::sleep(RECONCILE_INTERVAL);
            goes_on = shutdown.run_until_cancelled(wait).await.is_some();
            if let Err(error) = self.reconcile().await {
                tracing::debug!(%error, "limits were not compared");
            }
        }
    }

    /// Tells the ledger what was let through since the last time, and learns what the others have.
    ///
    /// # Errors
    /// When the ledger gave no answer; what was not told is told the next time.
    pub async fn reconcile(&self) -> Result<()> {
        let mut untold = self.own.drain_notes();
        while !untold.is_empty() {
            let rest = untold.split_off(untold.len().min(BATCH));
            // What the ledger answers is true from then on, whenever the answer comes.
            let since = self.own.now();
            match self.ledger.add(&untold).await {
                Ok(backlogs) => {
                    for (spent, backlog) in untold.iter().zip(backlogs) {
                        self.own.learn(&spent.key, since, backlog);
                    }
                }
                Err(error) => {
                    untold.extend(rest);
                    self.own.note_again(untold);
                    return Err(error);
                }
            }
            untold = rest;
        }
        Ok(())
    }
}

#[async_trait]
impl RateLimiter for ReconciledBuckets {
    async fn decide(&self, key: &str, quota: Quota, cost: u32) -> Decision {
        self.take(key, quota, cost)
    }
}

impl fmt::Debug for ReconciledBuckets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ReconciledBuckets").field("own", &self.own).finish_non_exhaustive()
    }
}

/// The buckets of [`super::SharedBuckets`], written to in the background.
struct SharedLedger {
    redis: Redis,
    script: Script,
}

#[async_trait]
impl Ledger for SharedLedger {
    async fn add(&self, spent: &[Spent]) -> Result<Vec<Duration>> {
        let mut invocation = self.script.prepare_invoke();
        for spent in spent {
            invocation.key(self.redis.key(format_args!("ratelimit:{}", spent.key)));
            invocation.arg(micros(spent.price).max(1)).arg(micros(spent.per));
        }
        invocation.arg(DEEPEST);
        let backlogs = self.redis.invoke_within::<Vec<u64>>(PATIENCE, &invocation).await;
        let backlogs = backlogs.inspect_err(|_| self.redis.fell_back(PURPOSE))?;
        Ok(backlogs.into_iter().map(Duration::from_micros).collect())
    }
}

#[cfg(test)]
mod tests;
