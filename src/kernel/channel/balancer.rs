//! Which instance takes the next call: the less busy of two chosen at random.
//!
//! Two random choices spread load nearly as well as looking at all instances, and they do not send
//! everybody to the same one at the same time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::endpoint::{Admission, Attempt, Endpoint};
use crate::kernel::registry::{Registry, Snapshot};
use crate::kernel::telemetry::metrics::EndpointStates;

/// How long a call waits for an instance to appear or to be admitted again before it fails.
const PATIENCE: Duration = Duration::from_millis(500);

/// The instances of one service.
pub(super) struct Balancer {
    service: String,
    known: Mutex<Known>,
}

struct Known {
    snapshot: watch::Receiver<Arc<Snapshot>>,
    endpoints: Vec<Arc<Endpoint>>,
    read: bool,
}

/// What to wait for while no instance can be used.
struct NoEndpoint {
    snapshot: watch::Receiver<Arc<Snapshot>>,
    /// When the next ejected instance may be tried.
    next_trial: Option<Instant>,
}

/// How long one call still waits for an instance, over all its attempts.
pub(super) struct Patience {
    deadline: Instant,
    left: Duration,
}

impl Patience {
    pub(super) fn until(deadline: Instant) -> Self {
        Self { deadline, left: PATIENCE }
    }
}

impl Balancer {
    pub(super) fn new(service: &str, registry: &dyn Registry) -> Self {
        let known = Known { snapshot: registry.watch(), endpoints: Vec::new(), read: false };
        Self { service: service.to_owned(), known: Mutex::new(known) }
    }

    pub(super) fn service(&self) -> &str {
        &self.service
    }

    /// How many instances take calls, are being tried, and are left out.
    pub(super) fn endpoint_states(&self) -> EndpointStates {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.refresh(&self.service);
        let (now, mut states) = (Instant::now(), EndpointStates::default());
        for endpoint in &known.endpoints {
            match endpoint.admission(now) {
                Admission::Admitted if endpoint.was_ejected() => states.trial += 1,
                Admission::Admitted => states.ready += 1,
                Admission::OnTrial => states.trial += 1,
                Admission::Failing | Admission::Ejected(_) => states.ejected += 1,
            }
        }
        states
    }

    /// Starts an attempt at an instance, preferably one that was not `tried` yet. Waits while there is
    /// none, for one may be just starting, as long as the call's patience lasts; then takes an
    /// ejected one before its time. `None` when there is nothing left to try.
    pub(super) async fn start(
        &self,
        tried: &[Arc<Endpoint>],
        patience: &mut Patience,
    ) -> Option<Attempt> {
        loop {
            let mut none = match self.choose(tried) {
                Ok(attempt) => return Some(attempt),
                Err(none) => none,
            };
            let start = Instant::now();
            let give_up = patience.deadline.min(start + patience.left);
            if start >= give_up {
                return self.last_resort();
            }
            let wake = none.next_trial.map_or(give_up, |trial| trial.min(give_up));
            let registry_gone = tokio::select! {
                changed = none.snapshot.changed() => changed.is_err(),
                () = tokio::time::sleep_until(wake.into()) => false,
            };
            if registry_gone {
                tokio::time::sleep_until(wake.into()).await;
            }
            patience.left = patience.left.saturating_sub(start.elapsed());
        }
    }

    fn last_resort(&self) -> Option<Attempt> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.endpoints.iter().find_map(Endpoint::start_early_trial)
    }

    fn choose(&self, tried: &[Arc<Endpoint>]) -> Result<Attempt, NoEndpoint> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.refresh(&self.service);
        let now = Instant::now();
        let (mut fresh, mut admitted, mut rest) = (Vec::new(), Vec::new(), Vec::new());
        let mut next_trial: Option<Instant> = None;
        for endpoint in &known.endpoints {
            match endpoint.admission(now) {
                Admission::Admitted => {
                    admitted.push(endpoint);
                    if !tried.iter().any(|tried| Arc::ptr_eq(tried, endpoint)) {
                        fresh.push(endpoint);
                    }
                }
                Admission::OnTrial | Admission::Failing => rest.push(endpoint),
                Admission::Ejected(until) => {
                    next_trial = Some(next_trial.map_or(until, |next| next.min(until)));
                }
            }
        }
        let choice = less_busy_of_two(&fresh)
            .or_else(|| less_busy_of_two(&admitted))
            .or_else(|| less_busy_of_two(&rest));
        match choice {
            // Started under the lock, so that no two calls take the same trial.
            Some(endpoint) => Ok(endpoint.start()),
            None => Err(NoEndpoint { snapshot: known.snapshot.clone(), next_trial }),
        }
    }
}

impl Known {
    /// Follows the registry. An instance that stays keeps what is known of it; one that went and
    /// came back starts anew.
    fn refresh(&mut self, service: &str) {
        if self.read && !self.snapshot.has_changed().unwrap_or(false) {
            return;
        }
        self.read = true;
        let snapshot = Arc::clone(&self.snapshot.borrow_and_update());
        let instances = snapshot.get(service).map(Vec::as_slice).unwrap_or_default();
        let before = std::mem::take(&mut self.endpoints);
        self.endpoints = instances
            .iter()
            .map(|instance| {
                let same = before.iter().find(|endpoint| {
                    endpoint.id == instance.id && endpoint.address == instance.address
                });
                same.cloned()
                    .unwrap_or_else(|| Arc::new(Endpoint::new(&instance.id, &instance.address)))
            })
            .collect();
    }
}

fn less_busy_of_two<'a>(endpoints: &[&'a Arc<Endpoint>]) -> Option<&'a Arc<Endpoint>> {
    match endpoints {
        [] => None,
        [only] => Some(only),
        many => {
            let first = rand::random_range(0..many.len());
            let step = rand::random_range(1..many.len());
            let (first, second) = (many[first], many[(first + step) % many.len()]);
            Some(if second.in_flight() < first.in_flight() { second } else { first })
        }
    }
}
