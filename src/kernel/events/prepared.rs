//! A bus whose topics are there before it is used.

use std::sync::{Arc, OnceLock};

use tokio::sync::OnceCell;

use super::bus::{Cursor, EventBus, Page, ReadFrom, Subscription};
use crate::kernel::error::Result;
use crate::kernel::policy::TopicSpec;
use crate::kernel::proto::events::Envelope;

/// Prepares the declared topics when it is first used. A broker that is away then is no failure of
/// the process: the relay and the consumers repeat what failed, and with it the preparation.
pub struct PreparedBus {
    bus: Arc<dyn EventBus>,
    topics: OnceLock<Vec<TopicSpec>>,
    prepared: OnceCell<()>,
}

impl PreparedBus {
    /// A bus on which no topics are declared yet.
    pub fn new(bus: Arc<dyn EventBus>) -> Self {
        Self { bus, topics: OnceLock::new(), prepared: OnceCell::new() }
    }

    /// States the topics; what was stated first holds.
    pub fn declare(&self, topics: Vec<TopicSpec>) {
        self.topics.get_or_init(|| topics);
    }

    async fn ready(&self) -> Result<&dyn EventBus> {
        if let Some(topics) = self.topics.get() {
            self.prepared.get_or_try_init(|| self.bus.prepare(topics)).await?;
        }
        Ok(&*self.bus)
    }
}

#[async_trait::async_trait]
impl EventBus for PreparedBus {
    async fn prepare(&self, topics: &[TopicSpec]) -> Result<()> {
        self.bus.prepare(topics).await
    }

    async fn publish(&self, records: Vec<Envelope>) -> Result<()> {
        self.ready().await?.publish(records).await
    }

    async fn subscribe(&self, group: &str, topics: &[String]) -> Result<Box<dyn Subscription>> {
        self.ready().await?.subscribe(group, topics).await
    }

    async fn read(&self, topic: &str, from: ReadFrom, limit: usize) -> Result<Page> {
        self.ready().await?.read(topic, from, limit).await
    }

    async fn end(&self, topic: &str) -> Result<Cursor> {
        self.ready().await?.end(topic).await
    }
}
