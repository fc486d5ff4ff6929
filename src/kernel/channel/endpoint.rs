//! One instance as the channel sees it: how busy it is, and whether it may be used.
//!
//! The circuit breaker: an instance that cannot be reached is ejected at once, one that answers but
//! fails several times in a row soon after. The wait before the next try doubles and is jittered.
//! When it is over, a single call tries the instance; if that succeeds, all may.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::lines::Lines;

/// The first wait of an ejected instance, about; doubles up to [`MAX_EJECTION`].
const BASE_EJECTION: Duration = Duration::from_millis(100);
/// The longest wait of an ejected instance, about.
const MAX_EJECTION: Duration = Duration::from_secs(2);
/// So many failures in a row of an instance that can be reached eject it.
const FAILURES_TO_EJECT: u32 = 5;

/// An instance of the service.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// Id of the instance, for the log.
    pub(super) id: String,
    /// Where it is, as `host:port`.
    pub(super) address: String,
    /// The connections for whole messages.
    pub(super) lines: Lines,
    in_flight: AtomicUsize,
    /// Whether `breaker` has anything to say: while all goes well no call waits for its lock.
    is_troubled: AtomicBool,
    breaker: Mutex<Breaker>,
}

#[derive(Debug, Default)]
struct Breaker {
    failures: u32,
    ejections: u32,
    ejected_until: Option<Instant>,
    reachable: bool,
    trial_under_way: bool,
}

/// Whether an endpoint may be used now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It may; as a trial if it was ejected before.
    Admitted,
    /// Its trial is under way; join in only when there is nothing else.
    OnTrial,
    /// It can be reached but failed several times; use it only when there is nothing else.
    Failing,
    /// It cannot be reached. Ask again at this time.
    Ejected(Instant),
}

impl Endpoint {
    pub(super) fn new(id: &str, address: &str) -> Self {
        Self {
            id: id.to_owned(),
            address: address.to_owned(),
            lines: Lines::new(),
            in_flight: AtomicUsize::new(0),
            is_troubled: AtomicBool::new(false),
            breaker: Mutex::default(),
        }
    }

    /// Calls under way.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(super) fn admission(&self, now: Instant) -> Admission {
        if !self.is_troubled.load(Ordering::Acquire) {
            return Admission::Admitted;
        }
        let breaker = self.breaker();
        match breaker.ejected_until {
            None => Admission::Admitted,
            Some(until) if until > now && breaker.reachable => Admission::Failing,
            Some(until) if until > now => Admission::Ejected(until),
            Some(_) if breaker.trial_under_way => Admission::OnTrial,
            Some(_) => Admission::Admitted,
        }
    }

    /// Whether it failed last: if it may be used, it is by one call that tries it.
    pub(super) fn was_ejected(&self) -> bool {
        self.breaker().ejected_until.is_some()
    }

    /// Starts a call, which ends when the guard is dropped; as the trial where the instance is due for one.
    /// `None` while another call tries it.
    pub(super) fn start(self: &Arc<Self>) -> Option<Attempt> {
        if !self.is_troubled.load(Ordering::Acquire) {
            return Some(self.join());
        }
        let mut breaker = self.breaker();
        let is_due = breaker.ejected_until.is_some_and(|until| until <= Instant::now());
        if is_due && breaker.trial_under_way {
            return None;
        }
        breaker.trial_under_way |= is_due;
        Some(self.attempt(is_due, false))
    }

    /// Starts a call beside those that are under way, whatever is known of the instance.
    pub(super) fn join(self: &Arc<Self>) -> Attempt {
        self.attempt(false, false)
    }

    /// Starts a call at an ejected instance before its time, when there is nothing else. One such
    /// call at a time: `None` while it is under way.
    pub(super) fn start_early_trial(self: &Arc<Self>) -> Option<Attempt> {
        let mut breaker = self.breaker();
        if breaker.trial_under_way {
            return None;
        }
        breaker.trial_under_way = true;
        Some(self.attempt(true, true))
    }

    fn attempt(self: &Arc<Self>, trial: bool, last_resort: bool) -> Attempt {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Attempt { endpoint: Arc::clone(self), trial, last_resort }
    }

    /// Notes something in the breaker.
    fn note(&self, note: impl FnOnce(&mut Breaker)) {
        let mut breaker = self.breaker();
        note(&mut breaker);
        self.is_troubled.store(!breaker.is_well(), Ordering::Release);
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call under way at an endpoint. How it went is reported while it lasts.
#[derive(Debug)]
pub(super) struct Attempt {
    endpoint: Arc<Endpoint>,
    trial: bool,
    last_resort: bool,
}

impl Attempt {
    pub(super) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// Whether there was nothing better to try: no further attempt makes sense if it fails.
    pub(super) fn is_last_resort(&self) -> bool {
        self.last_resort
    }

    /// The instance answered.
    pub(super) fn succeeded(&self) {
        if self.endpoint.is_troubled.load(Ordering::Acquire) {
            self.endpoint.note(|breaker| *breaker = Breaker::default());
        }
    }

    /// The instance could not be reached.
    pub(super) fn unreachable(&self, cause: &str) {
        self.endpoint.note(|breaker| breaker.eject(false, &self.endpoint.id, cause));
    }

    /// The instance can be reached, but answered UNAVAILABLE, too late, or broke off.
    pub(super) fn failed(&self) {
        self.endpoint.note(|breaker| {
            breaker.failures += 1;
            if breaker.failures >= FAILURES_TO_EJECT {
                breaker.eject(true, &self.endpoint.id, "it failed several times in a row");
            }
        });
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.endpoint.in_flight.fetch_sub(1, Ordering::Relaxed);
        if self.trial {
            self.endpoint.breaker().trial_under_way = false;
        }
    }
}

impl Breaker {
    /// Whether nothing is held against the instance.
    fn is_well(&self) -> bool {
        self.failures == 0 && self.ejected_until.is_none()
    }

    /// Many calls fail together when an instance goes: only the first of them counts.
    fn eject(&mut self, reachable: bool, instance: &str, cause: &str) {
        let now = Instant::now();
        if self.ejected_until.is_some_and(|until| until > now) {
            self.reachable &= reachable;
            return;
        }
        let wait = BASE_EJECTION.saturating_mul(1 << self.ejections.min(10)).min(MAX_EJECTION);
        let wait = wait.mul_f64(rand::random_range(0.75..1.25));
        self.reachable = reachable;
        self.ejected_until = Some(now + wait);
        // Once for each time an instance goes: the trials that follow only confirm it.
        if self.ejections == 0 {
            tracing::warn!(instance, cause, "an instance is left out until it answers again");
        }
        self.ejections += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint() -> Arc<Endpoint> {
        Arc::new(Endpoint::new("a-1", "127.0.0.1:1"))
    }

    #[test]
    fn an_unreachable_instance_is_ejected_at_once_and_comes_back_by_one_trial() {
        let endpoint = endpoint();
        endpoint.join().unreachable("refused");
        let Admission::Ejected(until) = endpoint.admission(Instant::now()) else {
            panic!("not ejected")
        };
        assert_eq!(endpoint.admission(until), Admission::Admitted);

        std::thread::sleep(until.saturating_duration_since(Instant::now()));
        let trial = endpoint.start().unwrap();
        assert_eq!(endpoint.admission(Instant::now()), Admission::OnTrial);
        assert!(endpoint.start().is_none(), "one call tries it");
        trial.succeeded();
        assert_eq!(endpoint.admission(Instant::now()), Admission::Admitted);
        drop(trial);
        assert_eq!(endpoint.in_flight(), 0);
    }

    #[test]
    fn an_instance_that_answers_is_given_a_few_failures() {
        let endpoint = endpoint();
        let attempt = endpoint.start().unwrap();
        for _ in 1..FAILURES_TO_EJECT {
            attempt.failed();
            assert_eq!(endpoint.admission(Instant::now()), Admission::Admitted);
        }
        attempt.failed();
        assert_eq!(endpoint.admission(Instant::now()), Admission::Failing);
    }

    #[test]
    fn calls_that_fail_together_eject_once() {
        let endpoint = endpoint();
        let attempts: Vec<_> = (0..64).map(|_| endpoint.join()).collect();
        attempts.iter().for_each(|attempt| attempt.unreachable("refused"));
        assert_eq!(endpoint.breaker().ejections, 1);
    }
}
