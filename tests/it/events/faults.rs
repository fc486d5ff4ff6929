//! Buses that misbehave.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

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

/// Refuses what is about one aggregate a number of times.
pub(crate) struct RefusingBus {
    pub(crate) bus: EmbeddedBus,
    pub(crate) subject: &'static str,
    pub(crate) refusals: Arc<AtomicU32>,
}

#[async_trait::async_trait]
impl EventBus for RefusingBus {
    async fn publish(&self, records: Vec<Envelope>) -> Result<()> {
        let concerned = records.iter().any(|record| record.subject == self.subject);
        let left = self.refusals.load(Ordering::SeqCst);
        if concerned && left > 0 {
            self.refusals.store(left - 1, Ordering::SeqCst);
            return Err(Error::unavailable("refused"));
        }
        self.bus.publish(records).await
    }

    async fn subscribe(&self, group: &str, topics: &[String]) -> Result<Box<dyn Subscription>> {
        self.bus.subscribe(group, topics).await
    }
}
