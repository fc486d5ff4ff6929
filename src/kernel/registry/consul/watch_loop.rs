//! Following what Consul holds.
//!
//! One blocking query on the checks of the platform says which services have changed; their passing
//! instances are then asked for. A blocking query for each service would need a connection for each,
//! in every process, and an agent takes no more than 200 from one address.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::client::ConsulClient;
use super::index::{self, Finding};
use super::wire::{CheckState, ServiceEntry};
use crate::kernel::events::backoff::Backoff;
use crate::kernel::registry::announced::Fault;
use crate::kernel::registry::view::View;
use crate::kernel::registry::{Instance, Snapshot};
use crate::kernel::settings::ConsulSettings;

/// Pauses after failed questions. The longest leaves room for recovery within 15 s.
const BACKOFF: Backoff = Backoff::between(Duration::from_millis(100), Duration::from_secs(4));

/// Between two questions, so that a busy Consul cannot keep us busy too.
const LEAST_PAUSE: Duration = Duration::from_millis(50);

/// Between two questions when there is nothing to wait on.
const POLL_PAUSE: Duration = Duration::from_secs(1);

/// The question under way, and what the answers said so far.
pub(super) struct Watch {
    client: Arc<ConsulClient>,
    settings: ConsulSettings,
    view: Arc<View>,
    index: u64,
    /// The checks of each Consul service and of the nodes it runs on.
    checks: Checks,
    /// Passing instances of each Consul service.
    passing: BTreeMap<String, Vec<Instance>>,
}

type Checks = BTreeMap<String, Vec<CheckState>>;

impl Watch {
    pub(super) fn new(
        client: Arc<ConsulClient>,
        settings: &ConsulSettings,
        view: Arc<View>,
    ) -> Self {
        let (checks, passing) = (Checks::new(), BTreeMap::new());
        Self { client, settings: settings.clone(), view, index: 0, checks, passing }
    }

    /// Keeps the view in step until the registry is dropped.
    pub(super) async fn run(mut self) {
        let mut failures = 0;
        loop {
            let pause = match self.round().await {
                Ok(pause) => {
                    failures = 0;
                    pause
                }
                Err(fault) => {
                    self.view.lost(&fault);
                    self.forget();
                    failures += 1;
                    BACKOFF.wait(failures)
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Asks once, waiting for news; says how long to pause.
    async fn round(&mut self) -> Result<Duration, Fault> {
        let wait = self.settings.wait;
        let path = format!(
            "/v1/health/state/any?index={}&wait={}ms&filter={}",
            self.index,
            wait.as_millis(),
            self.filter()
        );
        // Consul waits up to a sixteenth longer, so that not all ask again at once.
        let answer = self.client.get::<Vec<CheckState>>(&path, wait + wait / 16).await?;
        let next = index::next(self.index, answer.index);
        if next.finding == Finding::WentBack {
            self.view.lost(&"consul's index went back: its memory is another one");
            self.forget();
            return Ok(LEAST_PAUSE);
        }
        self.follow(by_service(answer.body)).await?;
        self.index = next.index;
        Ok(if next.finding == Finding::Absent { POLL_PAUSE } else { LEAST_PAUSE })
    }

    /// The platform's checks, and those of nodes. The prefix is made of plain characters.
    fn filter(&self) -> String {
        let filter = format!(
            r#"ServiceName matches "^{}-" or ServiceName == """#,
            self.settings.prefix.replace('.', "[.]")
        );
        url::form_urlencoded::byte_serialize(filter.as_bytes()).collect()
    }

    /// Asks for the instances of the services whose checks have changed.
    async fn follow(&mut self, checks: Checks) -> Result<(), Fault> {
        self.passing.retain(|name, _| checks.contains_key(name));
        let changed = checks.iter().filter(|(name, checks)| self.checks.get(*name) != Some(checks));
        for (name, _) in changed {
            let path = format!("/v1/health/service/{name}?passing=true");
            let entries = self.client.get::<Vec<ServiceEntry>>(&path, Duration::ZERO).await?.body;
            let instances = entries.into_iter().filter_map(|entry| entry.instance(&self.settings));
            self.passing.insert(name.clone(), instances.collect());
        }
        self.checks = checks;
        self.view.list(self.snapshot());
        Ok(())
    }

    fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::new();
        for instance in self.passing.values().flatten() {
            snapshot.entry(instance.service.clone()).or_default().push(instance.clone());
        }
        snapshot
    }

    /// The next answer is taken in as if it were the first.
    fn forget(&mut self) {
        self.index = 0;
        self.checks.clear();
    }
}

/// The checks of each service, with those of the nodes that it runs on.
fn by_service(states: Vec<CheckState>) -> Checks {
    let (of_nodes, of_services): (Vec<_>, Vec<_>) =
        states.into_iter().partition(|state| state.service_name.is_empty());
    let mut checks = Checks::new();
    for state in of_services {
        checks.entry(state.service_name.clone()).or_default().push(state);
    }
    for states in checks.values_mut() {
        let nodes = of_nodes.iter().filter(|node| states.iter().any(|own| own.node == node.node));
        let nodes: Vec<_> = nodes.cloned().collect();
        states.extend(nodes);
        states.sort();
    }
    checks
}
