//! The routes of all services joined into one table, and who was first.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use http::Method;

use super::compile::Compiled;
use super::template::{Shape, Template};
use super::{Refusal, Route, RouteTable};

/// Paths that the gateway answers itself.
pub(crate) const OWN_PATHS: [&str; 2] = ["/openapi.json", "/docs"];

type Place = (Method, Shape);

/// What every service offers, and since when each route has been wanted.
#[derive(Default)]
pub(crate) struct Offers {
    services: BTreeMap<String, Compiled>,
    /// For each place on the edge, who wanted it and since which round.
    wanted: HashMap<Place, HashMap<String, u64>>,
    round: u64,
}

impl Offers {
    /// Takes what a service offers from now on, in place of what it offered before.
    pub(crate) fn put(&mut self, service: &str, compiled: Compiled) {
        self.round += 1;
        let places: Vec<Place> = compiled.routes.iter().map(|route| place(route)).collect();
        for (place, services) in &mut self.wanted {
            if !places.contains(place) {
                services.remove(service);
            }
        }
        self.wanted.retain(|_, services| !services.is_empty());
        for place in places {
            let services = self.wanted.entry(place).or_default();
            services.entry(service.to_owned()).or_insert(self.round);
        }
        self.services.insert(service.to_owned(), compiled);
    }

    /// The table: each place to whoever wanted it first, the others refused.
    pub(crate) fn table(&self, version: u64, present: BTreeSet<String>) -> RouteTable {
        let mut refusals: Vec<Refusal> = Vec::new();
        let mut taken: HashMap<Place, Arc<Route>> = HashMap::new();
        for route in self.by_age() {
            let place = place(&route);
            let holder = match taken.get(&place) {
                Some(holder) => Some(format!("{} of {}", holder.grpc_path.path(), holder.service)),
                None if is_own(&place) => Some("the gateway itself".to_owned()),
                None => None,
            };
            match holder {
                Some(holder) => refusals.push(conflict(&route, &holder)),
                None => drop(taken.insert(place, route)),
            }
        }
        refusals.extend(self.services.values().flat_map(|offer| offer.refusals.clone()));
        refusals.sort();
        RouteTable::new(version, taken.into_values().collect(), refusals, present)
    }

    fn by_age(&self) -> Vec<Arc<Route>> {
        let routes = self.services.values().flat_map(|offer| offer.routes.iter().cloned());
        let mut routes: Vec<Arc<Route>> = routes.collect();
        routes.sort_by_key(|route| self.since(route));
        routes
    }

    fn since(&self, route: &Route) -> u64 {
        let services = self.wanted.get(&place(route));
        services.and_then(|services| services.get(&route.service)).copied().unwrap_or(u64::MAX)
    }
}

fn place(route: &Route) -> Place {
    (route.method.clone(), route.template.shape())
}

fn is_own(place: &Place) -> bool {
    place.0 == Method::GET
        && OWN_PATHS
            .iter()
            .any(|path| Template::parse(path).is_ok_and(|template| template.shape() == place.1))
}

fn conflict(route: &Route, holder: &str) -> Refusal {
    Refusal {
        service: route.service.clone(),
        method: route.descriptor.full_name().to_owned(),
        reason: format!(
            "{} {} is taken by {holder}, which was first",
            route.method,
            route.template.text()
        ),
    }
}
