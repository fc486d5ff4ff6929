//! The domain events that contracts declare, and their topics.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use prost_reflect::DescriptorPool;

use super::field::FieldPath;
use super::options;
use crate::kernel::proto::policy::EventPolicy;

/// Into how many partitions a topic is divided whose contract states nothing.
const DEFAULT_PARTITIONS: u32 = 6;

/// Every event of a descriptor pool, by the full name of its message.
#[derive(Clone, Debug, Default)]
pub struct EventCatalog {
    events: BTreeMap<String, EventDeclaration>,
    topics: BTreeMap<String, TopicSpec>,
}

/// What the contract states about one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventDeclaration {
    /// The topic on which it is published.
    pub topic: String,
    /// The field that names the aggregate.
    pub key: FieldPath,
}

/// What a topic is to be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name, such as `identity.users`.
    pub name: String,
    /// Into how many partitions it is divided: so many members of a group share its records.
    pub partitions: u32,
    /// How long records are kept; `None` is the setting `events.retention`.
    pub retention: Option<Duration>,
    /// Whether the last record of each key is kept for ever; earlier ones go after the retention.
    pub compacted: bool,
}

impl TopicSpec {
    /// A topic about which nothing is stated.
    pub fn new(name: impl Into<String>) -> Self {
        let partitions = DEFAULT_PARTITIONS;
        Self { name: name.into(), partitions, retention: None, compacted: false }
    }

    /// Adds what one event states. The build has checked that no two contradict each other.
    fn state(&mut self, policy: &EventPolicy) -> anyhow::Result<()> {
        if policy.partitions != 0 {
            self.partitions = policy.partitions;
        }
        if let Some(retention) = policy.retention {
            self.retention = Some(Duration::try_from(retention)?);
        }
        self.compacted |= policy.compacted;
        Ok(())
    }
}

impl EventCatalog {
    /// Reads the declarations once.
    pub fn compile(pool: &DescriptorPool) -> anyhow::Result<Self> {
        let mut catalog = Self::default();
        for message in pool.all_messages() {
            let stated = options::read::<EventPolicy>(pool, &message.options(), options::EVENT)?;
            let Some(policy) = stated else { continue };
            let name = message.full_name();
            let key = FieldPath::resolve(&message, &policy.key)
                .with_context(|| format!("event {name} states an unknown key"))?;
            let topic = catalog.topics.entry(policy.topic.clone());
            topic
                .or_insert_with(|| TopicSpec::new(&policy.topic))
                .state(&policy)
                .with_context(|| format!("event {name} states an impossible retention"))?;
            let declaration = EventDeclaration { topic: policy.topic, key };
            catalog.events.insert(name.to_owned(), declaration);
        }
        Ok(catalog)
    }

    /// What is stated about a message; `None` when it is no event.
    pub fn event(&self, type_name: &str) -> Option<&EventDeclaration> {
        self.events.get(type_name)
    }

    /// Every event by the full name of its message, sorted.
    pub fn events(&self) -> impl Iterator<Item = (&str, &EventDeclaration)> {
        self.events.iter().map(|(name, event)| (name.as_str(), event))
    }

    /// The topics of all events, each once, by name.
    pub fn topics(&self) -> Vec<String> {
        self.topics.keys().cloned().collect()
    }

    /// What is stated about the topics, each once, by name.
    pub fn specs(&self) -> impl Iterator<Item = &TopicSpec> {
        self.topics.values()
    }

    /// What is stated about a topic; `None` when no event is published on it.
    pub fn topic(&self, name: &str) -> Option<&TopicSpec> {
        self.topics.get(name)
    }
}
