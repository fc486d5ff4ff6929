//! The calls that a process is answering, for whoever asks what it is doing.
//!
//! They are kept in several parts, each with a lock of its own, so that calls do not wait for one another.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::kernel::call::Call;
use crate::kernel::policy::MethodPolicy;

/// In so many parts they are kept.
const PARTS: usize = 64;

/// The calls in flight. Clones are the same.
#[derive(Clone, Debug)]
pub struct CallsInFlight(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    next: AtomicU64,
    parts: [Mutex<HashMap<u64, Entry>>; PARTS],
}

#[derive(Debug)]
struct Entry {
    policy: Arc<MethodPolicy>,
    call: Arc<Call>,
    since: Instant,
}

/// A call, for as long as this is kept.
#[derive(Debug)]
pub struct Listed {
    calls: CallsInFlight,
    number: u64,
}

/// What is told of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallInFlight {
    /// Full name of the method.
    pub method: String,
    /// Id of the request.
    pub request_id: String,
    /// How long it has been under way.
    pub age: Duration,
}

impl Default for CallsInFlight {
    fn default() -> Self {
        let parts = std::array::from_fn(|_| Mutex::default());
        Self(Arc::new(Inner { next: AtomicU64::new(0), parts }))
    }
}

impl CallsInFlight {
    /// Lists a call.
    pub fn list(&self, policy: &Arc<MethodPolicy>, call: Arc<Call>) -> Listed {
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        let entry = Entry { policy: Arc::clone(policy), call, since: Instant::now() };
        self.part(number).insert(number, entry);
        Listed { calls: self.clone(), number }
    }

    /// How many there are, and the oldest of them, the very oldest first.
    pub fn oldest(&self, most: usize) -> (usize, Vec<CallInFlight>) {
        let now = Instant::now();
        let mut calls = Vec::new();
        for part in &self.0.parts {
            let part = part.lock().unwrap_or_else(PoisonError::into_inner);
            calls.extend(part.values().map(|entry| CallInFlight {
                method: entry.policy.full_name.clone(),
                request_id: entry.call.request_id.clone(),
                age: now.saturating_duration_since(entry.since),
            }));
        }
        calls.sort_by_key(|call| std::cmp::Reverse(call.age));
        let total = calls.len();
        calls.truncate(most);
        (total, calls)
    }

    fn part(&self, number: u64) -> MutexGuard<'_, HashMap<u64, Entry>> {
        let part = usize::try_from(number).unwrap_or_default() % PARTS;
        self.0.parts[part].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.calls.part(self.number).remove(&self.number);
    }
}
