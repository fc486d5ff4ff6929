//! Every process that runs, and how one version takes the place of the other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use super::edge::Edge;
use super::ground::{Ground, Version};
use super::instance::Instance;
use super::wait;
use crate::infra::output;
use crate::mesh::{SERVICES, Service, WAVES, gateway};
use crate::real;

/// How long both versions may take until each has done of everything.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often each version serves each method before the other one leaves.
const CALLS: u64 = 3;

/// How long whoever balances before the gateways goes on sending to one that leaves: within the
/// `lifecycle.spread` of the gateway.
const NEWS: Duration = Duration::from_millis(200);

/// Of each process something that is written and what reads it: both versions serve both.
const SERVED: [(&str, [&str; 2]); 6] = [
    ("authz-svc", ["/CreateRole", "/GetRole"]),
    ("audit-svc", ["/ListEvents", "/GetEvent"]),
    ("identity-svc", ["/UpdateMe", "/GetMe"]),
    ("billing-svc", ["/UpdateSubscription", "/GetSubscription"]),
    ("auth-svc", ["/Login", "/Refresh"]),
    ("gateway", ["/api/v1/roles", "/api/v1/users/me"]),
];

/// The processes of both versions.
pub(super) struct Fleet<'a> {
    ground: &'a Ground,
    edge: Arc<Edge>,
    running: Vec<Instance>,
}

/// How one process took the place of another.
#[derive(Clone, Debug)]
pub(super) struct Rolled {
    /// Calls that the two served meanwhile, the one that left first.
    pub(super) served: [u64; 2],
    /// Consumer groups in which both had partitions.
    pub(super) groups: usize,
    /// From SIGTERM to the end.
    pub(super) drained: Duration,
}

impl<'a> Fleet<'a> {
    /// Nobody runs yet.
    pub(super) fn new(ground: &'a Ground, edge: &Arc<Edge>) -> Self {
        Self { ground, edge: Arc::clone(edge), running: Vec::new() }
    }

    /// Starts every process of a version, wave after wave.
    pub(super) fn start_all(&mut self, version: Version) -> anyhow::Result<()> {
        for wave in 0..WAVES {
            let mut starting = Vec::new();
            for service in SERVICES.iter().filter(|service| service.wave == wave) {
                starting.push(Instance::start(self.ground, version, service)?);
            }
            starting.iter_mut().try_for_each(Instance::wait_ready)?;
            self.running.extend(starting);
        }
        self.lead();
        Ok(())
    }

    /// Migrates every database as the chart's Jobs do, by the programs of this version.
    pub(super) fn migrate(&self, version: Version) -> anyhow::Result<()> {
        for service in SERVICES.iter().filter(|service| real::has_database(service)) {
            let mut command = self.ground.errand(version, service, "migrate");
            output(&mut command).with_context(|| format!("{} cannot migrate", service.name))?;
        }
        Ok(())
    }

    /// Has this version take the place of the other one in a service, as a rolling update does:
    /// starts it beside, waits until both do of everything, and has the other one leave.
    pub(super) fn roll(
        &mut self,
        service: &'static Service,
        to: Version,
    ) -> anyhow::Result<Rolled> {
        let mut new = Instance::start(self.ground, to, service)?;
        new.wait_ready()?;
        self.running.push(new);
        self.lead();
        let (served, groups) = self.both_serve(service)?;
        let mut old = self.take(service, to.other())?;
        old.terminate();
        let asked = Instant::now();
        std::thread::sleep(NEWS);
        self.lead();
        old.wait_end()?;
        Ok(Rolled { served, groups, drained: asked.elapsed() })
    }

    /// Ends everything in order, the gateway first.
    pub(super) fn stop_all(&mut self) -> anyhow::Result<()> {
        for mut instance in self.running.drain(..).rev() {
            instance.terminate();
            instance.wait_end()?;
        }
        Ok(())
    }

    /// Refuses to go on when a process ended that nobody had asked to.
    pub(super) fn require_running(&mut self) -> anyhow::Result<()> {
        self.running.iter_mut().try_for_each(|instance| instance.require_running("by itself"))
    }

    /// Waits until both versions of a service have served what is written and what is read, and have
    /// partitions in the same consumer groups.
    fn both_serve(&mut self, service: &'static Service) -> anyhow::Result<([u64; 2], usize)> {
        let (_, methods) =
            SERVED.iter().find(|(name, _)| *name == service.name).context("nothing is served")?;
        let begun = self.counts(service, methods)?;
        let (mut served, mut groups) = ([0; 2], 0);
        wait::until(PATIENCE, || {
            self.require_running()?;
            self.edge.record().require_none_failed()?;
            let grown = grown(&begun, self.counts(service, methods)?);
            if let Some(shortage) = shortage(methods, &grown) {
                return Ok(Some(shortage));
            }
            served = [0, 1].map(|index| grown[index].1.iter().sum());
            let of_each: Vec<_> = self.of(service).map(Instance::groups).collect();
            groups = of_each[0].len();
            let differ = of_each.iter().any(|groups| *groups != of_each[0]);
            Ok(differ
                .then(|| format!("{} consumes in different groups: {of_each:?}", service.name)))
        })?;
        Ok((served, groups))
    }

    /// How often each of the two has served each method.
    fn counts(
        &self,
        service: &'static Service,
        methods: &[&str; 2],
    ) -> anyhow::Result<Vec<Counts>> {
        let count = |instance: &Instance| {
            let [first, second] = methods;
            Ok((instance.to_string(), [instance.served(first)?, instance.served(second)?]))
        };
        let counts: Vec<_> = self.of(service).map(count).collect::<anyhow::Result<_>>()?;
        ensure!(counts.len() == 2, "{} of two processes of {} run", counts.len(), service.name);
        Ok(counts)
    }

    fn of(&self, service: &'static Service) -> impl Iterator<Item = &Instance> {
        self.running.iter().filter(move |instance| instance.service == service)
    }

    fn take(&mut self, service: &'static Service, version: Version) -> anyhow::Result<Instance> {
        let is_it = |it: &Instance| it.service == service && it.version == version;
        let position = self.running.iter().position(is_it);
        let position = position.with_context(|| format!("{} does not run", service.name))?;
        Ok(self.running.remove(position))
    }

    /// Calls go to the gateways that run.
    fn lead(&self) {
        self.edge.lead_to(self.of(gateway()).map(|instance| instance.address).collect());
    }
}

/// A process, and how often it has served each of two methods.
type Counts = (String, [u64; 2]);

fn grown(begun: &[Counts], now: Vec<Counts>) -> Vec<Counts> {
    let grown = |((who, now), (_, begun)): (Counts, &Counts)| {
        (who, [0, 1].map(|index| now[index].saturating_sub(begun[index])))
    };
    now.into_iter().zip(begun).map(grown).collect()
}

/// What one of the two has not served often enough, if there is such a thing.
fn shortage(methods: &[&str; 2], grown: &[Counts]) -> Option<String> {
    let each = grown.iter().flat_map(|(who, counts)| {
        methods.iter().zip(counts).map(move |(method, count)| (who, method, *count))
    });
    let mut few = each.filter(|(_, _, count)| *count < CALLS);
    let (who, method, count) = few.next()?;
    Some(format!("{who} has served {count} calls of {method} beside the other version"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_have_to_serve_both_methods() {
        let methods = ["/Write", "/Read"];
        let counts = |one, other| vec![("n-1".to_owned(), one), ("n".to_owned(), other)];
        let begun = counts([10, 10], [0, 0]);
        let now = grown(&begun, counts([13, 14], [3, 2]));
        let told = shortage(&methods, &now).unwrap();
        assert!(told.starts_with("n has served 2 calls of /Read"), "{told}");
        assert_eq!(shortage(&methods, &grown(&begun, counts([13, 14], [3, 3]))), None);
    }

    #[test]
    fn of_every_process_it_is_known_what_it_serves() {
        for service in &SERVICES {
            assert!(SERVED.iter().any(|(name, _)| *name == service.name), "{}", service.name);
        }
    }
}
