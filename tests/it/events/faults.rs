//! Buses that misbehave.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use futures::future::BoxFuture;
use mainstay::kernel::events::{
    Cursor, Delivery, Envelope, EventBus, Page, ReadFrom, Subscription, TopicSpec,
};
use mainstay::kernel::{Error, Result};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How a bus misbehaves; in all that is not stated, it does not.
#[async_trait::async_trait]
pub(crate) trait Fault: Send + Sync {
    async fn publish(&self, bus: &dyn EventBus, records: Vec<Envelope>) -> Result<()> {
        bus.publish(records).await
    }

    fn subscribed(&self, subscription: Box<dyn Subscription>) -> Box<dyn Subscription> {
        subscription
    }
}

/// A bus with a fault.
pub(crate) struct FaultyBus<F> {
    pub(crate) bus: Arc<dyn EventBus>,
    pub(crate) fault: F,
}

#[async_trait::async_trait]
impl<F: Fault> EventBus for FaultyBus<F> {
    async fn prepare(&self, topics: &[TopicSpec]) -> Result<()> {
        self.bus.prepare(topics).await
    }

    async fn publish(&self, records: Vec<Envelope>) -> Result<()> {
        self.fault.publish(&*self.bus, records).await
    }

    async fn subscribe(&self, group: &str, topics: &[String]) -> Result<Box<dyn Subscription>> {
        Ok(self.fault.subscribed(self.bus.subscribe(group, topics).await?))
    }

    async fn read(&self, topic: &str, from: ReadFrom, limit: usize) -> Result<Page> {
        self.bus.read(topic, from, limit).await
    }

    async fn end(&self, topic: &str) -> Result<Cursor> {
        self.bus.end(topic).await
    }
}

/// Publishes, and then never answers: the process dies before it hears.
pub(crate) struct Silent {
    pub(crate) published: Arc<Notify>,
}

#[async_trait::async_trait]
impl Fault for Silent {
    async fn publish(&self, bus: &dyn EventBus, records: Vec<Envelope>) -> Result<()> {
        bus.publish(records).await?;
        self.published.notify_one();
        std::future::pending().await
    }
}

/// Holds on to what belongs to the aggregate `held` until told to go on, and then refuses it.
pub(crate) struct Holds {
    pub(crate) held: Arc<Notify>,
    pub(crate) go_on: CancellationToken,
}

#[async_trait::async_trait]
impl Fault for Holds {
    async fn publish(&self, bus: &dyn EventBus, records: Vec<Envelope>) -> Result<()> {
        if records.iter().any(|record| record.subject == "held") {
            self.held.notify_one();
            self.go_on.cancelled().await;
            return Err(Error::unavailable("refused"));
        }
        bus.publish(records).await
    }
}

/// Its subscriptions break when told to.
pub(crate) struct Breaks {
    pub(crate) broken: Arc<Notify>,
}

impl Fault for Breaks {
    fn subscribed(&self, subscription: Box<dyn Subscription>) -> Box<dyn Subscription> {
        Box::new(Breaking { subscription, broken: self.broken.clone() })
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

    fn lag(&self) -> BoxFuture<'static, Result<i64>> {
        self.subscription.lag()
    }

    async fn close(&mut self) -> Result<()> {
        self.subscription.close().await
    }
}

/// Refuses some records for as long as it is told to.
pub(crate) struct Refuses {
    pub(crate) refuses: fn(&Envelope) -> bool,
    pub(crate) refusing: Arc<AtomicBool>,
    pub(crate) refused: Arc<AtomicU32>,
}

#[async_trait::async_trait]
impl Fault for Refuses {
    async fn publish(&self, bus: &dyn EventBus, records: Vec<Envelope>) -> Result<()> {
        if self.refusing.load(Ordering::SeqCst) && records.iter().any(self.refuses) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Err(Error::unavailable("refused"));
        }
        bus.publish(records).await
    }
}

/// Records whose payload is `garbled` are none of ours.
pub(crate) struct Garbles;

impl Fault for Garbles {
    fn subscribed(&self, subscription: Box<dyn Subscription>) -> Box<dyn Subscription> {
        Box::new(Garbling(subscription))
    }
}

struct Garbling(Box<dyn Subscription>);

#[async_trait::async_trait]
impl Subscription for Garbling {
    async fn next(&mut self) -> Result<Delivery> {
        let delivery = self.0.next().await?;
        let garbled = delivery.envelope.data == b"garbled";
        Ok(Delivery { fault: garbled.then(|| "it was garbled".to_owned()), ..delivery })
    }

    async fn acknowledge(&mut self, delivery: Delivery) -> Result<()> {
        self.0.acknowledge(delivery).await
    }

    fn lag(&self) -> BoxFuture<'static, Result<i64>> {
        self.0.lag()
    }

    async fn close(&mut self) -> Result<()> {
        self.0.close().await
    }
}

/// Its client is out of order for as long as it is told to be.
pub(crate) struct Panics(pub(crate) Arc<AtomicBool>);

impl Fault for Panics {
    fn subscribed(&self, subscription: Box<dyn Subscription>) -> Box<dyn Subscription> {
        let panics = self.0.load(Ordering::SeqCst);
        assert!(!panics, "the broker's client is out of order");
        subscription
    }
}
