//! A bus that tells what passes it: how many records were published, and which deliveries were
//! acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use futures::future::BoxFuture;
use mainstay::kernel::Result;
use mainstay::kernel::events::{
    Cursor, Delivery, Envelope, EventBus, Page, ReadFrom, Subscription, TopicSpec,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::sample;

/// An event whose effect is committed and which was acknowledged then.
pub(super) struct Consumed {
    /// The number of the event.
    pub(super) number: u64,
    /// When.
    pub(super) at: Instant,
}

/// The bus.
pub(super) struct Observed<B> {
    bus: B,
    published: AtomicU64,
    consumed: UnboundedSender<Consumed>,
}

impl<B: EventBus> Observed<B> {
    /// Observes a bus; what was consumed comes out of the receiver.
    pub(super) fn new(bus: B) -> (Arc<Self>, UnboundedReceiver<Consumed>) {
        let (consumed, receiver) = unbounded_channel();
        (Arc::new(Self { bus, published: AtomicU64::new(0), consumed }), receiver)
    }

    /// How many records the broker has taken.
    pub(super) fn published(&self) -> u64 {
        self.published.load(Ordering::Relaxed)
    }
}

#[async_trait::async_trait]
impl<B: EventBus> EventBus for Observed<B> {
    async fn prepare(&self, topics: &[TopicSpec]) -> Result<()> {
        self.bus.prepare(topics).await
    }

    async fn publish(&self, records: Vec<Envelope>) -> Result<()> {
        let count = records.len() as u64;
        self.bus.publish(records).await?;
        self.published.fetch_add(count, Ordering::Relaxed);
        Ok(())
    }

    async fn subscribe(&self, group: &str, topics: &[String]) -> Result<Box<dyn Subscription>> {
        let subscription = self.bus.subscribe(group, topics).await?;
        Ok(Box::new(ObservedSubscription { subscription, consumed: self.consumed.clone() }))
    }

    async fn read(&self, topic: &str, from: ReadFrom, limit: usize) -> Result<Page> {
        self.bus.read(topic, from, limit).await
    }

    async fn end(&self, topic: &str) -> Result<Cursor> {
        self.bus.end(topic).await
    }
}

struct ObservedSubscription {
    subscription: Box<dyn Subscription>,
    consumed: UnboundedSender<Consumed>,
}

#[async_trait::async_trait]
impl Subscription for ObservedSubscription {
    async fn next(&mut self) -> Result<Delivery> {
        self.subscription.next().await
    }

    async fn acknowledge(&mut self, delivery: Delivery) -> Result<()> {
        if let Some(number) = sample::number(&delivery.envelope.data) {
            // Nobody waits for it any more when the phase is over.
            let _ = self.consumed.send(Consumed { number, at: Instant::now() });
        }
        self.subscription.acknowledge(delivery).await
    }

    fn lag(&self) -> BoxFuture<'static, Result<i64>> {
        self.subscription.lag()
    }

    async fn close(&mut self) -> Result<()> {
        self.subscription.close().await
    }
}
