//! Buses that misbehave.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use mainstay::kernel::events::{Delivery, EmbeddedBus, Envelope, EventBus, Subscription};
use mainstay::kernel::{Error, Result};
use tokio::sync::Notify;

/// Publishes, and then never answers: the process dies before it hears.
pub(crate) struct SilentBus {
    pub(crate) bus: EmbeddedBus,
    pub(crate) published: Arc<Notify>,
}

#[async_trait::async_trait]
impl EventBus for SilentBus {
    async fn publish(&self, records: Vec<Envelope>) -> Result<()> {
        self.bus.publish(records).await?;
        self.published.notify_one();
        std::future::pending().await
    }

    async fn subscribe(&self, group: &str, topics: &[String]) -> Result<Box<dyn Subscription>> {
        self.bus.subscribe(group, topics).await
    }
}

/// A bus whose subscriptions break when told to.
pub(crate) struct BreakingBus {
    pub(crate) bus: EmbeddedBus,
    pub(crate) broken: Arc<Notify>,
}

#[async_trait::async_trait]
impl EventBus for BreakingBus {
    async fn publish(&self, records: Vec<Envelope>) -> Result<()> {
        self.bus.publish(records).await
    }

    async fn subscribe(&self, group: &str, topics: &[String]) -> Result<Box<dyn Subscription>> {
        let subscription = self.bus.subscribe(group, topics).await?;
        Ok(Box::new(Breaking { subscription, broken: self.broken.clone() }))
    }
}

struct Breaking {
    subscription: Box<dyn Subscription>,
    broken: Arc<Notify>,
}

#[async_trait::async_trait]
impl Subscription for Breaking {
    async fn next(&mut self) -> Result<Delivery> {
        tokio::select! {
            () = self.broken.notified() => Err(Error::unavailable("the connection is lost")),
            next = self.subscription.next() => next,
        }
    }

    async fn acknowledge(&mut self, delivery: Delivery) -> Result<()> {
        self.subscription.acknowledge(delivery).await
    }

    async fn lag(&mut self) -> Result<i64> {
        self.subscription.lag().await
    }

    async fn close(&mut self) -> Result<()> {
        self.subscription.close().await
    }
}

/// Refuses some records for as long as it is told to.
pub(crate) struct RefusingBus {
    pub(crate) bus: EmbeddedBus,
    pub(crate) refuses: fn(&Envelope) -> bool,
    pub(crate) refusing: Arc<AtomicBool>,
    pub(crate) refused: Arc<AtomicU32>,
}

#[async_trait::async_trait]
impl EventBus for RefusingBus {
    async fn publish(&self, records: Vec<Envelope>) -> Result<()> {
        if self.refusing.load(Ordering::SeqCst) && records.iter().any(self.refuses) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Err(Error::unavailable("refused"));
        }
        self.bus.publish(records).await
    }

    async fn subscribe(&self, group: &str, topics: &[String]) -> Result<Box<dyn Subscription>> {
        self.bus.subscribe(group, topics).await
    }
}
