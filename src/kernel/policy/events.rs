//! The domain events that contracts declare.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use prost_reflect::DescriptorPool;

use super::field::FieldPath;
use super::options;
use crate::kernel::proto::policy::EventPolicy;

/// Every event of a descriptor pool, by the full name of its message.
#[derive(Clone, Debug, Default)]
pub struct EventCatalog {
    events: BTreeMap<String, EventDeclaration>,
}

/// What the contract states about one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventDeclaration {
    /// The topic on which it is published.
    pub topic: String,
    /// The field that names the aggregate.
    pub key: FieldPath,
}

impl EventCatalog {
    /// Reads the declarations once.
    pub fn compile(pool: &DescriptorPool) -> anyhow::Result<Self> {
        let mut events = BTreeMap::new();
        for message in pool.all_messages() {
            let stated = options::read::<EventPolicy>(pool, &message.options(), options::EVENT)?;
            let Some(EventPolicy { topic, key }) = stated else { continue };
            let key = FieldPath::resolve(&message, &key)
                .with_context(|| format!("event {} states an unknown key", message.full_name()))?;
            events.insert(message.full_name().to_owned(), EventDeclaration { topic, key });
        }
        Ok(Self { events })
    }

    /// What is stated about a message; `None` when it is no event.
    pub fn event(&self, type_name: &str) -> Option<&EventDeclaration> {
        self.events.get(type_name)
    }

    /// The topics of all events, each once, by name.
    pub fn topics(&self) -> Vec<String> {
        let topics: BTreeSet<_> = self.events.values().map(|event| event.topic.clone()).collect();
        topics.into_iter().collect()
    }
}
