//! The routes of all services joined into one table, and who was first.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use http::Method;
use mainstay::kernel::policy::EdgeStyle;

use super::compile::Compiled;
use super::template::{Shape, Template};
use super::{Form, Refusal, Route, RouteTable, Rpc};

/// Paths that the gateway answers itself, where no contract made elsewhere has them.
pub(crate) const OWN_PATHS: [&str; 2] = ["/openapi.json", "/docs"];

/// What one route alone can have: a method of a path, or its WebSocket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    is_socket: bool,
    method: Method,
    shape: Shape,
}

/// What every service offers, and since when each route and RPC has been wanted.
#[derive(Default)]
pub(crate) struct Offers {
    services: BTreeMap<String, Compiled>,
    routes: Ages<Place>,
    rpcs: Ages<String>,
    round: u64,
}

/// For each thing that one service alone can have, who wanted it and since which round.
struct Ages<K>(HashMap<K, HashMap<String, u64>>);

impl<K> Default for Ages<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + std::hash::Hash> Ages<K> {
    /// What a service wants from this round on.
    fn put(&mut self, service: &str, wanted: Vec<K>, round: u64) {
        for (key, services) in &mut self.0 {
            if !wanted.contains(key) {
                services.remove(service);
            }
        }
        self.0.retain(|_, services| !services.is_empty());
        for key in wanted {
            self.0.entry(key).or_default().entry(service.to_owned()).or_insert(round);
        }
    }

    fn since(&self, key: &K, service: &str) -> u64 {
        self.0.get(key).and_then(|services| services.get(service)).copied().unwrap_or(u64::MAX)
    }
}

impl Offers {
    /// Takes what a service offers from now on, in place of what it offered before.
    pub(crate) fn put(&mut self, service: &str, compiled: Compiled) {
        self.round += 1;
        let places = compiled.routes.iter().map(|route| place(route)).collect();
        self.routes.put(service, places, self.round);
        let paths = compiled.rpcs.iter().map(|rpc| path(rpc)).collect();
        self.rpcs.put(service, paths, self.round);
        self.services.insert(service.to_owned(), compiled);
    }

    /// The table: each place to whoever wanted it first, the others refused.
    pub(crate) fn table(&self, version: u64, present: BTreeSet<String>) -> RouteTable {
        let mut refusals: Vec<Refusal> = Vec::new();
        let mut taken: HashMap<Place, Arc<Route>> = HashMap::new();
        for route in self.by_age() {
            let place = place(&route);
            let holder = match taken.get(&place) {
                Some(holder) => Some(holder_of(&holder.rpc)),
                None if route.rpc.policy.style == EdgeStyle::Envelope && is_own(&place) => {
                    Some("the gateway itself".to_owned())
                }
                None => None,
            };
            match holder {
                Some(holder) => refusals.push(conflict(&route, &holder)),
                None => drop(taken.insert(place, route)),
            }
        }
        let rpcs = self.callable(&mut refusals);
        refusals.extend(self.services.values().flat_map(|offer| offer.refusals.clone()));
        refusals.sort();
        RouteTable::new(version, taken.into_values().collect(), rpcs, refusals, present)
    }

    fn by_age(&self) -> Vec<Arc<Route>> {
        let routes = self.services.values().flat_map(|offer| offer.routes.iter().cloned());
        let mut routes: Vec<Arc<Route>> = routes.collect();
        routes.sort_by_key(|route| self.routes.since(&place(route), &route.rpc.service));
        routes
    }

    /// The RPCs by their paths, each to the service that had it first.
    fn callable(&self, refusals: &mut Vec<Refusal>) -> HashMap<String, Arc<Rpc>> {
        let rpcs = self.services.values().flat_map(|offer| offer.rpcs.iter().cloned());
        let mut rpcs: Vec<Arc<Rpc>> = rpcs.collect();
        rpcs.sort_by_key(|rpc| self.rpcs.since(&path(rpc), &rpc.service));
        let mut taken: HashMap<String, Arc<Rpc>> = HashMap::new();
        for rpc in rpcs {
            match taken.entry(path(&rpc)) {
                Entry::Vacant(free) => drop(free.insert(rpc)),
                Entry::Occupied(holder) => refusals.push(Refusal {
                    service: rpc.service.clone(),
                    method: rpc.descriptor.full_name().to_owned(),
                    reason: format!("it is that of {}, which was first", holder.get().service),
                }),
            }
        }
        taken
    }
}

fn path(rpc: &Rpc) -> String {
    rpc.grpc_path.path().to_owned()
}

fn holder_of(rpc: &Rpc) -> String {
    format!("{} of {}", rpc.grpc_path.path(), rpc.service)
}

fn place(route: &Route) -> Place {
    Place {
        is_socket: route.form == Form::Socket,
        method: route.method.clone(),
        shape: route.template.shape(),
    }
}

fn is_own(place: &Place) -> bool {
    place.method == Method::GET
        && OWN_PATHS
            .iter()
            .any(|path| Template::parse(path).is_ok_and(|template| template.shape() == place.shape))
}

fn conflict(route: &Route, holder: &str) -> Refusal {
    let path = route.template.text();
    let place = match route.form {
        Form::Socket => format!("the WebSocket at {path}"),
        _ => format!("{} {path}", route.method),
    };
    Refusal {
        service: route.rpc.service.clone(),
        method: route.rpc.descriptor.full_name().to_owned(),
        reason: format!("{place} is taken by {holder}, which was first"),
    }
}
