//! Addresses in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use super::{Instance, Registration, Registry, Snapshot, check_name, publish};
use crate::kernel::error::Result;

/// A registry within the process: fixed upstreams, and tests that change them as they go. Clones
/// share their state.
#[derive(Clone, Debug)]
pub struct StaticRegistry {
    state: watch::Sender<Arc<Snapshot>>,
}

impl StaticRegistry {
    /// A registry that holds these instances.
    pub fn new(instances: impl IntoIterator<Item = Instance>) -> Self {
        let registry = Self { state: watch::Sender::new(Arc::default()) };
        for instance in instances {
            registry.add(instance);
        }
        registry
    }

    /// A registry in which one service is found at these addresses, as `host:port`.
    pub fn fixed<A: ToString>(service: &str, addresses: impl IntoIterator<Item = A>) -> Self {
        Self::new(numbered(service, addresses))
    }

    /// A registry of the addresses that settings list by service.
    pub(super) fn of(services: &BTreeMap<String, Vec<String>>) -> Self {
        let instances = services.iter().map(|(service, addresses)| numbered(service, addresses));
        Self::new(instances.flatten())
    }

    /// Adds an instance, or replaces the one with the same id.
    pub fn add(&self, instance: Instance) {
        self.change(|snapshot| {
            let instances = snapshot.entry(instance.service.clone()).or_default();
            instances.retain(|other| other.id != instance.id);
            instances.push(instance);
        });
    }

    /// Removes an instance; one that is not there already is no error.
    pub fn remove(&self, service: &str, id: &str) {
        self.change(|snapshot| {
            if let Some(instances) = snapshot.get_mut(service) {
                instances.retain(|instance| instance.id != id);
            }
        });
    }

    fn change(&self, edit: impl FnOnce(&mut Snapshot)) {
        let mut snapshot = Snapshot::clone(&self.state.borrow());
        edit(&mut snapshot);
        publish(&self.state, snapshot);
    }
}

fn numbered<A: ToString>(
    service: &str,
    addresses: impl IntoIterator<Item = A>,
) -> impl Iterator<Item = Instance> {
    addresses.into_iter().enumerate().map(move |(index, address)| Instance {
        id: format!("{service}-{index}"),
        service: service.to_owned(),
        address: address.to_string(),
        ..Instance::default()
    })
}

#[async_trait]
impl Registry for StaticRegistry {
    async fn register(&self, instance: Instance) -> Result<Box<dyn Registration>> {
        check_name("service", &instance.service)?;
        check_name("id", &instance.id)?;
        let registered = Registered {
            registry: self.clone(),
            service: instance.service.clone(),
            id: instance.id.clone(),
        };
        self.add(instance);
        Ok(Box::new(registered))
    }

    fn watch(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.state.subscribe()
    }
}

struct Registered {
    registry: StaticRegistry,
    service: String,
    id: String,
}

#[async_trait]
impl Registration for Registered {
    async fn deregister(&self) -> Result<()> {
        self.registry.remove(&self.service, &self.id);
        Ok(())
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.registry.remove(&self.service, &self.id);
    }
}
