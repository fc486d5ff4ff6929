//! How many retries a channel may add to its calls.

use std::sync::atomic::{AtomicI64, Ordering};

/// Retries that may happen at once before the share of calls counts.
const RESERVE: i64 = 100;
/// Parts of a retry, so that a share of one can be saved up.
const UNIT: i64 = 1000;

/// Every call pays in a share of a retry, every retry takes a whole one. A reserve lets the calls
/// that fail together, when an instance dies, all be repeated.
#[derive(Debug)]
pub(super) struct RetryBudget {
    balance: AtomicI64,
    share: i64,
}

impl RetryBudget {
    /// `share` retries for each call, between 0 and 1.
    pub(super) fn new(share: f64) -> Self {
        // Bounded by the clamp: the cast cannot truncate.
        let share = (share.clamp(0.0, 1.0) * UNIT as f64) as i64;
        Self { balance: AtomicI64::new(RESERVE * UNIT), share }
    }

    /// A call was made.
    pub(super) fn pay_in(&self) {
        let _ = self.balance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |balance| {
            (balance < RESERVE * UNIT).then(|| (balance + self.share).min(RESERVE * UNIT))
        });
    }

    /// Whether a retry may be made; it is then taken off.
    pub(super) fn take(&self) -> bool {
        self.balance
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |balance| {
                (balance >= UNIT).then_some(balance - UNIT)
            })
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_stay_a_share_of_the_calls_once_the_reserve_is_gone() {
        let budget = RetryBudget::new(0.2);
        let reserve = (0..1000).filter(|_| budget.take()).count();
        assert_eq!(reserve, 100);

        let retries = (0..1000).filter(|_| {
            budget.pay_in();
            budget.take()
        });
        assert_eq!(retries.count(), 200);
    }
}
