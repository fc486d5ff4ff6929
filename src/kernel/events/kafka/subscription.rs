//! A group's view on its topics in Kafka.

use std::sync::{Arc, Weak};

use futures::future::BoxFuture;
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
    /// Threads alone hold the consumer: dropping it waits for the cluster.
    consumer: Weak<Joined>,
    ended: Option<oneshot::Receiver<()>>,
}

/// The consumer, and who waits for its end.
struct Joined {
    /// Dropped, it commits and leaves the group.
    consumer: GroupConsumer,
    /// Dropped after it.
    _ends: oneshot::Sender<()>,
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

        let (sender, deliveries) = mpsc::unbounded_channel();
        let (ends, ended) = oneshot::channel();
        let joined = Arc::new(Joined { consumer, _ends: ends });
        let known = Arc::downgrade(&joined);
        let polled = shared.clone();
        std::thread::Builder::new()
            .name(format!("kafka {group}"))
            .spawn(move || poll(&joined.consumer, &polled, &sender))
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

    fn lag(&self) -> BoxFuture<'static, Result<i64>> {
        let (consumer, shared, topics) =
            (self.consumer.clone(), self.shared.clone(), self.topics.clone());
        Box::pin(blocking(move || {
            let Some(joined) = consumer.upgrade() else {
                return Err(Error::unavailable("the subscription has ended"));
            };
            let consumer = &joined.consumer;
            let client = &shared.client;
            let committed = shared.commit(consumer, CommitMode::Sync);
            committed.map_err(|error| client.unavailable(error))?;
            let partitions = offsets::partitions(client, consumer, &topics)?;
            let beginnings = offsets::beginnings(client, consumer, &partitions)?;
            let ends = offsets::ends(client, consumer, &partitions)?;
            let positions = offsets::positions(client, consumer, &partitions)?;
            let behind = partitions.iter().map(|partition| {
                let number = |of: &std::collections::BTreeMap<_, i64>| of.get(partition).copied();
                let beginning = number(&beginnings).unwrap_or_default();
                let position = number(&positions).unwrap_or_default().max(beginning);
                number(&ends).unwrap_or_default().saturating_sub(position).max(0)
            });
            Ok(behind.sum())
        }))
    }

    async fn close(&mut self) -> Result<()> {
        self.shared.stop();
        let Some(ended) = self.ended.take() else { return Ok(()) };
        let patience = self.shared.client.settings().request_timeout;
        match tokio::time::timeout(patience, ended).await {
            // The sender is gone, and the consumer before it.
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
