//! A group's view on its topics in Kafka.

use std::sync::{Arc, Weak};

use rdkafka::consumer::{CommitMode, Consumer as _};
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::sync::oneshot;

use super::client::{Client, blocking};
use super::member::{GroupConsumer, Member, Shared, poll};
use super::offsets;
use crate::kernel::error::{Error, Result};
use crate::kernel::events::bus::{Delivery, Subscription};

/// A member of a group. Dropped, it leaves the group in the background.
pub(super) struct KafkaSubscription {
    shared: Arc<Shared>,
    topics: Vec<String>,
    deliveries: UnboundedReceiver<Result<Delivery>>,
    /// The thread alone holds the consumer: dropping it waits for the cluster.
    consumer: Weak<GroupConsumer>,
    ended: Option<oneshot::Receiver<()>>,
}

impl KafkaSubscription {
    /// Joins the group in the background.
    pub(super) fn new(client: Arc<Client>, group: &str, topics: &[String]) -> Result<Self> {
        let shared = Arc::new(Shared::new(client.clone(), group));
        let consumer: GroupConsumer = client
            .for_group(group)
            .create_with_context(Member(shared.clone()))
            .map_err(Error::internal)?;
        let outer: Vec<_> = topics.iter().map(|topic| client.outer(topic)).collect();
        let outer: Vec<_> = outer.iter().map(String::as_str).collect();
        consumer.subscribe(&outer).map_err(Error::internal)?;

        let consumer = Arc::new(consumer);
        let known = Arc::downgrade(&consumer);
        let (sender, deliveries) = mpsc::unbounded_channel();
        let (ends, ended) = oneshot::channel();
        let polled = shared.clone();
        std::thread::Builder::new()
            .name(format!("kafka {group}"))
            .spawn(move || {
                poll(&consumer, &polled, &sender);
                // Commits and leaves the group.
                drop(consumer);
                let _ = ends.send(());
            })
            .map_err(Error::internal)?;
        Ok(Self {
            shared,
            topics: topics.to_vec(),
            deliveries,
            consumer: known,
            ended: Some(ended),
        })
    }
}

#[async_trait::async_trait]
impl Subscription for KafkaSubscription {
    async fn next(&mut self) -> Result<Delivery> {
        loop {
            let Some(delivery) = self.deliveries.recv().await else {
                return Err(Error::unavailable("the subscription has ended"));
            };
            let delivery = delivery?;
            self.shared.taken();
            // What waited in the buffer when its partition went is another member's now.
            if self.shared.assignment().is_current(&delivery.position) {
                return Ok(delivery);
            }
        }
    }

    async fn acknowledge(&mut self, delivery: Delivery) -> Result<()> {
        self.shared.assignment().acknowledge(&delivery.position);
        Ok(())
    }

    async fn lag(&mut self) -> Result<i64> {
        let Some(consumer) = self.consumer.upgrade() else {
            return Err(Error::unavailable("the subscription has ended"));
        };
        let (shared, topics) = (self.shared.clone(), self.topics.clone());
        blocking(move || {
            let client = &shared.client;
            let committed = shared.commit(&consumer, CommitMode::Sync);
            committed.map_err(|error| client.unavailable(error))?;
            let partitions = offsets::partitions(client, &*consumer, &topics)?;
            let beginnings = offsets::beginnings(client, &*consumer, &partitions)?;
            let ends = offsets::ends(client, &*consumer, &partitions)?;
            let positions = offsets::positions(client, &*consumer, &partitions)?;
            let behind = partitions.iter().map(|partition| {
                let number = |of: &std::collections::BTreeMap<_, i64>| of.get(partition).copied();
                let beginning = number(&beginnings).unwrap_or_default();
                let position = number(&positions).unwrap_or_default().max(beginning);
                number(&ends).unwrap_or_default().saturating_sub(position).max(0)
            });
            Ok(behind.sum())
        })
        .await
    }

    async fn close(&mut self) -> Result<()> {
        self.shared.stop();
        let Some(ended) = self.ended.take() else { return Ok(()) };
        let patience = self.shared.client.settings().request_timeout;
        match tokio::time::timeout(patience, ended).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::unavailable("leaving the consumer group takes too long")),
        }
    }
}

impl Drop for KafkaSubscription {
    fn drop(&mut self) {
        self.shared.stop();
    }
}
