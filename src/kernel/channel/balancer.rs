//! Which instance takes the next call: the less busy of two chosen at random.
//!
//! Two random choices spread load nearly as well as looking at all instances, and they do not send
//! everybody to the same one at the same time.

use std::borrow::Borrow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch;

use super::endpoint::{Admission, Attempt, Endpoint};
use crate::kernel::registry::{Registry, Snapshot};
use crate::kernel::telemetry::metrics::EndpointStates;

/// How long a call waits for an instance to appear or to be admitted again before it fails.
const PATIENCE: Duration = Duration::from_millis(500);

/// The instances of one service. Calls read what is known without waiting for one another.
pub(super) struct Balancer {
    service: String,
    known: ArcSwap<Known>,
    /// Held by who reads the registry anew.
    refreshing: Mutex<()>,
}

struct Known {
    /// Has seen what `endpoints` were made of.
    snapshot: watch::Receiver<Arc<Snapshot>>,
    endpoints: Vec<Arc<Endpoint>>,
}

/// What to wait for while no instance can be used.
struct NoEndpoint {
    snapshot: watch::Receiver<Arc<Snapshot>>,
    /// When the next ejected instance may be tried.
    next_trial: Option<Instant>,
}

/// The instances, by how willingly they are used.
#[derive(Default)]
struct Choices<'a> {
    /// Those of `admitted` that the call has not tried.
    fresh: Vec<&'a Arc<Endpoint>>,
    admitted: Vec<&'a Arc<Endpoint>>,
    /// Those to be used when there is nothing else.
    rest: Vec<&'a Arc<Endpoint>>,
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
        let known = Known::read(service, registry.watch(), &[]);
        let known = ArcSwap::from_pointee(known);
        Self { service: service.to_owned(), known, refreshing: Mutex::default() }
    }

    pub(super) fn service(&self) -> &str {
        &self.service
    }

    /// How many instances take calls, are being tried, and are left out.
    pub(super) fn endpoint_states(&self) -> EndpointStates {
        let known = self.known();
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
        self.known().endpoints.iter().find_map(Endpoint::start_early_trial)
    }

    fn choose(&self, tried: &[Arc<Endpoint>]) -> Result<Attempt, NoEndpoint> {
        let known = self.known();
        let now = Instant::now();
        // Nearly always all may be used.
        if tried.is_empty()
            && let Some(endpoint) = less_busy_of_two(&known.endpoints)
            && endpoint.admission(now) == Admission::Admitted
            && let Some(attempt) = endpoint.start()
        {
            return Ok(attempt);
        }
        loop {
            let choices = Choices::of(&known.endpoints, tried, now);
            let admitted = less_busy_of_two(&choices.fresh);
            return match admitted.or_else(|| less_busy_of_two(&choices.admitted)) {
                Some(endpoint) => match endpoint.start() {
                    Some(attempt) => Ok(attempt),
                    // Another call has begun to try it since.
                    None => continue,
                },
                None => match less_busy_of_two(&choices.rest) {
                    Some(endpoint) => Ok(endpoint.join()),
                    None => {
                        let (snapshot, next_trial) = (known.snapshot.clone(), choices.next_trial);
                        Err(NoEndpoint { snapshot, next_trial })
                    }
                },
            };
        }
    }

    /// What is known, by the registry of now.
    fn known(&self) -> Guard<Arc<Known>> {
        let known = self.known.load();
        if !known.is_old() {
            return known;
        }
        let _turn = self.refreshing.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.known.load();
        // Somebody else may have read it meanwhile.
        if known.is_old() {
            let read = Known::read(&self.service, known.snapshot.clone(), &known.endpoints);
            self.known.store(Arc::new(read));
        }
        self.known.load()
    }
}

impl<'a> Choices<'a> {
    fn of(endpoints: &'a [Arc<Endpoint>], tried: &[Arc<Endpoint>], now: Instant) -> Self {
        let mut choices = Self::default();
        for endpoint in endpoints {
            match endpoint.admission(now) {
                Admission::Admitted => {
                    choices.admitted.push(endpoint);
                    if !tried.iter().any(|tried| Arc::ptr_eq(tried, endpoint)) {
                        choices.fresh.push(endpoint);
                    }
                }
                Admission::OnTrial | Admission::Failing => choices.rest.push(endpoint),
                Admission::Ejected(until) => {
                    let next = choices.next_trial.map_or(until, |next| next.min(until));
                    choices.next_trial = Some(next);
                }
            }
        }
        choices
    }
}

impl Known {
    /// Reads the registry. An instance that stays keeps what is known of it; one that went and
    /// came back starts anew.
    fn read(
        service: &str,
        mut snapshot: watch::Receiver<Arc<Snapshot>>,
        before: &[Arc<Endpoint>],
    ) -> Self {
        let seen = Arc::clone(&snapshot.borrow_and_update());
        let instances = seen.get(service).map(Vec::as_slice).unwrap_or_default();
        let endpoints = instances.iter().map(|instance| {
            let same = before.iter().find(|endpoint| {
                endpoint.id == instance.id && endpoint.address == instance.address
            });
            same.cloned()
                .unwrap_or_else(|| Arc::new(Endpoint::new(&instance.id, &instance.address)))
        });
        Self { endpoints: endpoints.collect(), snapshot }
    }

    fn is_old(&self) -> bool {
        self.snapshot.has_changed().unwrap_or(false)
    }
}

fn less_busy_of_two<E: Borrow<Arc<Endpoint>>>(endpoints: &[E]) -> Option<&Arc<Endpoint>> {
    match endpoints {
        [] => None,
        [only] => Some(only.borrow()),
        many => {
            let first = rand::random_range(0..many.len());
            let step = rand::random_range(1..many.len());
            let (first, second) =
                (many[first].borrow(), many[(first + step) % many.len()].borrow());
            Some(if second.in_flight() < first.in_flight() { second } else { first })
        }
    }
}
