//! A brake on guessing passwords.
//!
//! It is kept in memory, not in the database, for three reasons: addresses without an account must
//! be braked alike, and a table would let anyone fill it; it must hold when the database is slow; and
//! an attempt should not cost a write. Each replica counts for itself, so that n of them let n times
//! as many guesses through, still far too few to guess a password.
//!
//! A right password counts only while its key is open, also when the password has been compared: of
//! many guesses at the same time no more than the limit can succeed, while many right passwords at the
//! same time all do.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::AuthError;

/// The most addresses remembered; beyond that the oldest give way.
const MAX_KEYS: usize = 100_000;

/// Counts wrong passwords for each key within a window that begins with the first.
#[derive(Debug)]
pub struct LoginThrottle {
    limit: u32,
    window: Duration,
    failures: Mutex<HashMap<String, Failures>>,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    since: Instant,
}

impl LoginThrottle {
    /// At most `limit` wrong passwords within `window`.
    pub fn new(limit: u32, window: Duration) -> Self {
        Self { limit, window, failures: Mutex::default() }
    }

    /// Whether a key is open, or when it will be.
    pub fn check(&self, key: &str, now: Instant) -> Result<(), AuthError> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = failures.get(key) else { return Ok(()) };
        let age = now.saturating_duration_since(entry.since);
        if entry.count < self.limit || age >= self.window {
            return Ok(());
        }
        Err(AuthError::Throttled { retry_after: self.window - age })
    }

    /// The password was wrong.
    pub fn failed(&self, key: &str, now: Instant) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        self.make_room(&mut failures, now);
        let entry = failures.entry(key.to_owned()).or_insert(Failures { count: 0, since: now });
        if now.saturating_duration_since(entry.since) >= self.window {
            *entry = Failures { count: 0, since: now };
        }
        entry.count += 1;
    }

    /// The password was right: forgets the wrong ones, unless the key was closed in the meantime.
    pub fn succeeded(&self, key: &str, now: Instant) -> Result<(), AuthError> {
        self.check(key, now)?;
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        Ok(())
    }

    fn make_room(&self, failures: &mut HashMap<String, Failures>, now: Instant) {
        if failures.len() < MAX_KEYS {
            return;
        }
        failures.retain(|_, entry| now.saturating_duration_since(entry.since) < self.window);
        if failures.len() >= MAX_KEYS {
            // Half of them go at once, so that the next fifty thousand failures need not search.
            let mut times: Vec<_> = failures.values().map(|entry| entry.since).collect();
            let middle = times.len() / 2;
            let (_, median, _) = times.select_nth_unstable(middle);
            let median = *median;
            failures.retain(|_, entry| entry.since > median);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(900);

    #[test]
    fn too_many_wrong_passwords_close_a_key_until_the_window_is_over() {
        let throttle = LoginThrottle::new(2, WINDOW);
        let start = Instant::now();
        for _ in 0..2 {
            assert!(throttle.check("ada", start).is_ok());
            throttle.failed("ada", start);
        }
        let later = start + Duration::from_secs(300);
        match throttle.check("ada", later) {
            Err(AuthError::Throttled { retry_after }) => {
                assert_eq!(retry_after, Duration::from_secs(600));
            }
            other => panic!("{other:?}"),
        }
        assert!(throttle.check("bob", later).is_ok(), "others are not braked");
        assert!(throttle.check("ada", start + WINDOW).is_ok());
        throttle.failed("ada", start + WINDOW);
        assert!(throttle.check("ada", start + WINDOW).is_ok(), "a new window has begun");
    }

    #[test]
    fn a_right_password_forgets_the_wrong_ones() {
        let throttle = LoginThrottle::new(2, WINDOW);
        let now = Instant::now();
        for _ in 0..5 {
            throttle.failed("ada", now);
            assert!(throttle.succeeded("ada", now).is_ok());
        }
    }

    #[test]
    fn of_guesses_at_the_same_time_the_right_one_comes_too_late() {
        let throttle = LoginThrottle::new(2, WINDOW);
        let now = Instant::now();
        assert!(throttle.check("ada", now).is_ok(), "all of them begin");
        throttle.failed("ada", now);
        throttle.failed("ada", now);
        assert!(throttle.succeeded("ada", now).is_err());
        assert!(throttle.check("ada", now).is_err(), "and nothing was forgotten");
    }

    #[test]
    fn memory_is_bounded() {
        let throttle = LoginThrottle::new(1, WINDOW);
        let start = Instant::now();
        for n in 0..=MAX_KEYS {
            throttle.failed(&n.to_string(), start + Duration::from_micros(n as u64));
        }
        assert!(throttle.failures.lock().expect("unpoisoned").len() <= MAX_KEYS);
    }
}
