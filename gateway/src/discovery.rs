//! How the gateway learns its routes: from the registry and by gRPC reflection.
//!
//! The registry says which services there are and the hash of the contracts each serves. For a hash
//! that is new, the descriptors are fetched and compiled to routes, and a new table takes the old
//! one's place. While instances of a service differ, as during a rollout, the last good contract
//! stays: a route is offered only when every instance has it. Contracts are also kept on disk, so
//! that a gateway that restarts while a service is away still answers 503 for it and not 404.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use mainstay::kernel::registry::Snapshot;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) mod contract;
pub(crate) mod reflection;
pub(crate) mod shelf;

use contract::Contract;
use reflection::Channels;
use shelf::Shelf;

use crate::route::compile::{Compiled, Reading, compile};
use crate::route::join::Offers;
use crate::route::{LiveTable, RouteTable};

/// Pauses before a failed fetch is tried again; the last one repeats.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
];

/// How long one fetch may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(2);

/// Keeps the live table in step with the registry.
pub(crate) struct Discovery {
    live: LiveTable,
    channels: Channels,
    shelf: Shelf,
    offers: Offers,
    /// The contract that each service's routes were compiled from.
    current: HashMap<String, String>,
    compiled: HashMap<(String, String), Compiled>,
    fetching: HashMap<String, String>,
    fetches: JoinSet<Fetched>,
    /// Services of the first snapshot that have not been asked yet.
    unasked: Option<BTreeSet<String>>,
    settled: watch::Sender<bool>,
    present: BTreeSet<String>,
    changed: bool,
    version: u64,
}

/// The end of one attempt to fetch a contract.
struct Fetched {
    service: String,
    hash: String,
    attempt: usize,
    outcome: anyhow::Result<Contract>,
}

impl Discovery {
    /// Discovery over the channels to the services, beginning with the contracts on the shelf. The
    /// receiver turns true when every service of the first snapshot has been asked.
    pub(crate) fn new(
        live: LiveTable,
        channels: Channels,
        shelf: Shelf,
    ) -> (Self, watch::Receiver<bool>) {
        let (settled, receiver) = watch::channel(false);
        let mut discovery = Self {
            live,
            channels,
            shelf,
            offers: Offers::default(),
            current: HashMap::new(),
            compiled: HashMap::new(),
            fetching: HashMap::new(),
            fetches: JoinSet::new(),
            unasked: None,
            settled,
            present: BTreeSet::new(),
            changed: true,
            version: 0,
        };
        for contract in discovery.shelf.load() {
            discovery.adopt(&contract);
        }
        (discovery, receiver)
    }

    /// Follows the registry until the shutdown.
    pub(crate) async fn run(
        mut self,
        mut snapshots: watch::Receiver<Arc<Snapshot>>,
        shutdown: CancellationToken,
    ) {
        loop {
            let snapshot = Arc::clone(&snapshots.borrow_and_update());
            self.follow(&snapshot);
            tokio::select! {
                () = shutdown.cancelled() => return,
                changed = snapshots.changed() => if changed.is_err() { return },
                Some(Ok(fetched)) = self.fetches.join_next() => self.take(fetched, &snapshot),
            }
        }
    }

    /// Begins to fetch what is new and publishes who is present.
    fn follow(&mut self, snapshot: &Snapshot) {
        for (service, hash) in agreed_hashes(snapshot) {
            let known = self.current.get(&service) == Some(&hash);
            if known || self.fetching.get(&service) == Some(&hash) {
                continue;
            }
            match self.compiled.get(&(service.clone(), hash.clone())).cloned() {
                Some(compiled) => self.offer(&service, hash, compiled),
                None => self.fetch(service, hash, 0),
            }
        }
        let present: BTreeSet<String> = snapshot.keys().cloned().collect();
        if present != self.present || self.changed {
            self.present = present;
            self.publish();
        }
        if self.unasked.is_none() {
            self.unasked = Some(self.fetching.keys().cloned().collect());
        }
        self.settle();
    }

    /// The gateway is ready when it has asked everyone once.
    fn settle(&self) {
        if self.unasked.as_ref().is_some_and(BTreeSet::is_empty) {
            self.settled.send_replace(true);
        }
    }

    fn fetch(&mut self, service: String, hash: String, attempt: usize) {
        self.fetching.insert(service.clone(), hash.clone());
        let channels = Arc::clone(&self.channels);
        let pause = attempt.checked_sub(1).map(|index| PAUSES[index.min(PAUSES.len() - 1)]);
        self.fetches.spawn(async move {
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
            let fetch = reflection::fetch(&channels, &service, &hash);
            let outcome = match tokio::time::timeout(FETCH_TIMEOUT, fetch).await {
                Ok(outcome) => outcome,
                Err(_) => Err(anyhow::anyhow!("no answer within {FETCH_TIMEOUT:?}")),
            };
            Fetched { service, hash, attempt, outcome }
        });
    }

    fn take(&mut self, fetched: Fetched, snapshot: &Snapshot) {
        let Fetched { service, hash, attempt, outcome } = fetched;
        if let Some(unasked) = &mut self.unasked {
            unasked.remove(&service);
        }
        if self.fetching.get(&service) != Some(&hash) {
            return; // a newer contract is on its way
        }
        self.fetching.remove(&service);
        match outcome {
            Ok(contract) => {
                self.shelf.keep(&contract);
                self.adopt(&contract);
                self.publish();
            }
            Err(fault) => {
                if attempt == 0 {
                    let fault = format!("{fault:#}");
                    tracing::warn!(
                        service,
                        fault,
                        "the contract of a service cannot be fetched yet"
                    );
                }
                let wanted = agreed_hashes(snapshot).get(&service) == Some(&hash);
                if wanted {
                    self.fetch(service, hash, attempt + 1);
                }
            }
        }
        self.settle();
    }

    fn adopt(&mut self, contract: &Contract) {
        let compiled = match contract.pool() {
            Ok(pool) => compile(&contract.service, &pool, &contract.grpc_services, &Reading::House),
            Err(fault) => {
                let (service, fault) = (&contract.service, format!("{fault:#}"));
                tracing::warn!(service, fault, "a contract cannot be read; the last one stays");
                return;
            }
        };
        // The contract before is kept for a rollback, older ones are not.
        let current = self.current.get(&contract.service).map(String::as_str);
        self.compiled.retain(|(service, hash), _| {
            *service != contract.service || Some(hash.as_str()) == current
        });
        let key = (contract.service.clone(), contract.hash.clone());
        self.compiled.insert(key, compiled.clone());
        self.offer(&contract.service, contract.hash.clone(), compiled);
    }

    fn offer(&mut self, service: &str, hash: String, compiled: Compiled) {
        self.offers.put(service, compiled);
        self.current.insert(service.to_owned(), hash);
        self.changed = true;
    }

    fn publish(&mut self) {
        self.version += 1;
        self.changed = false;
        let table = self.offers.table(self.version, self.present.clone());
        report(&self.live.load(), &table);
        self.live.store(Arc::new(table));
    }
}

/// The contract of each service on which all its instances agree. The gateway itself serves none.
fn agreed_hashes(snapshot: &Snapshot) -> BTreeMap<String, String> {
    let agreed = snapshot.iter().filter_map(|(service, instances)| {
        let (first, others) = instances.split_first()?;
        let hash = &first.descriptor_hash;
        let agree = others.iter().all(|other| other.descriptor_hash == *hash);
        (agree && !hash.is_empty()).then(|| (service.clone(), hash.clone()))
    });
    agreed.collect()
}

/// Logs what a new table changes.
pub(crate) fn report(old: &RouteTable, new: &RouteTable) {
    let gone: Vec<&String> = old.present.difference(&new.present).collect();
    let come: Vec<&String> = new.present.difference(&old.present).collect();
    tracing::info!(
        version = new.version,
        routes = new.routes.len(),
        ?come,
        ?gone,
        "routes changed"
    );
    for refusal in new.refusals.iter().filter(|refusal| !old.refusals.contains(refusal)) {
        let (service, method) = (&refusal.service, &refusal.method);
        tracing::warn!(service, method, reason = refusal.reason, "a route is refused");
    }
}
