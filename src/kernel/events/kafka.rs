//! Apache Kafka as the event broker.
//!
//! Records travel as CloudEvents in binary mode, keyed by their subject, so that the records of an
//! aggregate share a partition and keep their order. The producer is idempotent and waits for all
//! replicas in sync. A consumer group commits by hand, for each partition up to the first record that
//! is not acknowledged. No Kafka transactions: at-least-once delivery, and the inbox behind it.
//!
//! A broker that is away is told once in the log; publishing is `UNAVAILABLE` meanwhile, consumers
//! wait, and both go on by themselves when it is back.
//!
//! Groups rebalance eagerly: with cooperative rebalancing, librdkafka lets a commit by hand during a
//! rebalance fail and cause the next rebalance.

mod assignment;
mod client;
mod member;
mod offsets;
mod producer;
mod reader;
mod record;
mod subscription;
mod topics;

use std::sync::Arc;

use super::bus::{Cursor, EventBus, Page, ReadFrom, Subscription};
use crate::kernel::error::Result;
use crate::kernel::policy::TopicSpec;
use crate::kernel::proto::events::Envelope;
use crate::kernel::settings::EventSettings;
use client::Client;
use producer::Producer;
use reader::Reader;
use subscription::KafkaSubscription;

/// Apache Kafka. It connects when it is first used.
pub struct KafkaBus {
    client: Arc<Client>,
    producer: Producer,
    reader: Reader,
}

impl KafkaBus {
    /// The cluster that the settings name. Fails on settings that librdkafka does not know.
    pub fn open(settings: &EventSettings) -> anyhow::Result<Self> {
        let client = Arc::new(Client::new(settings)?);
        let producer = Producer::new(client.clone());
        let reader = Reader::new(client.clone());
        Ok(Self { client, producer, reader })
    }
}

#[async_trait::async_trait]
impl EventBus for KafkaBus {
    async fn prepare(&self, topics: &[TopicSpec]) -> Result<()> {
        topics::prepare(&self.client, topics).await
    }

    async fn publish(&self, records: Vec<Envelope>) -> Result<()> {
        self.producer.publish(&records).await
    }

    async fn subscribe(&self, group: &str, topics: &[String]) -> Result<Box<dyn Subscription>> {
        Ok(Box::new(KafkaSubscription::new(self.client.clone(), group, topics)?))
    }

    async fn read(&self, topic: &str, from: ReadFrom, limit: usize) -> Result<Page> {
        self.reader.page(topic, from, limit).await
    }

    async fn end(&self, topic: &str) -> Result<Cursor> {
        self.reader.end(topic).await
    }
}
