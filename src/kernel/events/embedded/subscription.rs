//! A group's view on its topics in the embedded broker.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::watch;

use super::lease::Lease;
use super::{Broker, log};
use crate::kernel::error::{Error, Result};
use crate::kernel::events::bus::{Delivery, Position, Subscription};
use crate::kernel::events::progress::Progress;

/// Records read at once.
const BATCH: u64 = 256;
/// How often to ask for a group that another subscription holds.
const LEASE_RETRY: Duration = Duration::from_millis(200);

pub(super) struct EmbeddedSubscription {
    broker: Arc<Broker>,
    group: String,
    topics: Vec<String>,
    head: watch::Receiver<i64>,
    membership: Option<Membership>,
    epoch: u64,
}

/// What is known while the group is held.
struct Membership {
    _lease: Lease,
    /// How far each topic was read.
    read: BTreeMap<String, i64>,
    buffer: VecDeque<Delivery>,
    progress: BTreeMap<String, Progress>,
}

impl EmbeddedSubscription {
    pub(super) fn new(broker: Arc<Broker>, group: &str, topics: &[String]) -> Self {
        Self {
            head: broker.head.receiver(),
            broker,
            group: group.to_owned(),
            topics: topics.to_vec(),
            membership: None,
            epoch: 0,
        }
    }

    /// Takes the group, waiting for whoever holds it, and goes on where it is.
    async fn join(&mut self) -> Result<()> {
        let lease = loop {
            match Lease::take(&self.broker.groups, &self.group)? {
                Some(lease) => break lease,
                None => tokio::time::sleep(LEASE_RETRY).await,
            }
        };
        let read = positions(&self.broker, &self.group, &self.topics).await?;
        self.epoch += 1;
        let (buffer, progress) = (VecDeque::new(), BTreeMap::new());
        self.membership = Some(Membership { _lease: lease, read, buffer, progress });
        Ok(())
    }

    /// Reads what comes next into the buffer; waits if there is nothing.
    async fn fill(&mut self) -> Result<()> {
        let Some(membership) = &mut self.membership else { return Ok(()) };
        // Before reading: a record that comes in between must not be waited past.
        self.head.mark_unchanged();
        let records = log::after(&self.broker.positions, &membership.read, BATCH).await?;
        if records.is_empty() {
            // Fails when the broker is gone, which this subscription holds.
            return self.head.changed().await.map_err(Error::internal);
        }
        for record in records {
            membership.read.insert(record.topic.clone(), record.offset);
            membership.progress.entry(record.topic.clone()).or_default().hand_out(record.offset);
            membership.buffer.push_back(record.deliver(self.epoch));
        }
        Ok(())
    }
}

#[async_trait::async_trait]
impl Subscription for EmbeddedSubscription {
    async fn next(&mut self) -> Result<Delivery> {
        loop {
            if self.membership.is_none() {
                self.join().await?;
            }
            let buffered = self.membership.as_mut().and_then(|member| member.buffer.pop_front());
            match buffered {
                Some(delivery) => return Ok(delivery),
                None => self.fill().await?,
            }
        }
    }

    async fn acknowledge(&mut self, delivery: Delivery) -> Result<()> {
        let Position { stream, offset, epoch } = delivery.position;
        let Some(membership) = self.membership.as_mut().filter(|_| epoch == self.epoch) else {
            return Ok(());
        };
        let Some(progress) = membership.progress.get_mut(&stream) else { return Ok(()) };
        let Some(position) = progress.acknowledge(offset) else { return Ok(()) };
        let (transaction, _turn) = self.broker.begin(&self.broker.positions).await?;
        log::move_position(&transaction, &self.group, &stream, position).await?;
        Ok(transaction.commit().await?)
    }

    fn lag(&self) -> BoxFuture<'static, Result<i64>> {
        let (broker, group, topics) =
            (self.broker.clone(), self.group.clone(), self.topics.clone());
        Box::pin(async move {
            let positions = positions(&broker, &group, &topics).await?;
            log::count_after(&broker.positions, &positions).await
        })
    }

    async fn close(&mut self) -> Result<()> {
        self.membership = None;
        Ok(())
    }
}

/// How far the group is on each of the topics; at the beginning of those new to it.
async fn positions(
    broker: &Broker,
    group: &str,
    topics: &[String],
) -> Result<BTreeMap<String, i64>> {
    let known = log::positions(&broker.positions, group).await?;
    let position = |topic: &String| known.get(topic).copied().unwrap_or_default();
    Ok(topics.iter().map(|topic| (topic.clone(), position(topic))).collect())
}
