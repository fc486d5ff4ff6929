//! Token buckets: how often something may be done, by key.
//!
//! A bucket is one number, the time at which it will be full again (the generic cell rate
//! algorithm), so that a key costs a few bytes and nothing has to be refilled. The buckets of
//! [`TokenBuckets`] are this process's own; those of [`SharedBuckets`] are everybody's, asked for each
//! decision; those of [`ReconciledBuckets`] are this process's own and are compared with everybody's in
//! the background.

mod local;
mod reconciled;
mod shared;

use std::time::Duration;

use async_trait::async_trait;

pub use local::{Spent, TokenBuckets};
pub use reconciled::{Ledger, RECONCILE_INTERVAL, ReconciledBuckets};
pub use shared::SharedBuckets;

/// Decides how often something may be done. It always decides: what it stands on may be away, and
/// then it decides by what it knows itself.
#[async_trait]
pub trait RateLimiter: Send + Sync {
    /// Takes `cost` tokens from the bucket of `key`, or none if there are too few. A cost above the
    /// limit takes a full bucket.
    async fn decide(&self, key: &str, quota: Quota, cost: u32) -> Decision;
}

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Tokens in a full bucket.
    pub limit: u32,
    /// How long an empty bucket takes to be full again.
    pub per: Duration,
}

/// Whether something may be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether the tokens were there; they are taken if so.
    pub allowed: bool,
    /// Tokens in a full bucket.
    pub limit: u32,
    /// Whole tokens that are left.
    pub remaining: u32,
    /// How long until the bucket is full.
    pub reset_after: Duration,
    /// How long until the tokens asked for are there; zero when allowed.
    pub retry_after: Duration,
}

impl Quota {
    /// The tokens were there; after they are taken the bucket is full after `backlog`.
    fn allowed(self, backlog: Duration) -> Decision {
        Decision {
            allowed: true,
            limit: self.limit,
            remaining: self.remaining(backlog),
            reset_after: backlog,
            retry_after: Duration::ZERO,
        }
    }

    /// Tokens worth `price` were not there; the bucket is full after `backlog`.
    fn refused(self, price: Duration, backlog: Duration) -> Decision {
        Decision {
            allowed: false,
            limit: self.limit,
            remaining: self.remaining(backlog),
            reset_after: backlog,
            retry_after: (backlog + price).saturating_sub(self.per),
        }
    }

    /// There are no tokens at all.
    fn closed(self, backlog: Duration) -> Decision {
        let (limit, retry_after) = (self.limit, self.per);
        Decision { allowed: false, limit, remaining: 0, reset_after: backlog, retry_after }
    }

    /// Whole tokens in a bucket that is full after `backlog`.
    fn remaining(self, backlog: Duration) -> u32 {
        let room = self.per.saturating_sub(backlog);
        match (self.per / self.limit).as_nanos() {
            0 => self.limit,
            token => {
                u32::try_from(room.as_nanos() / token).map_or(self.limit, |n| n.min(self.limit))
            }
        }
    }
}
