//! The seam to a broker.
//!
//! What every implementation promises, and the contract suite checks:
//! - a record is durable when `publish` returns;
//! - every group gets every record of its topics at least once, a new group from the earliest one
//!   retained;
//! - records with equal topic and subject are delivered in the order in which they were published;
//! - a record is delivered again unless it was acknowledged, also after a crash.

use crate::kernel::error::Result;
use crate::kernel::proto::events::Envelope;

/// A broker.
#[async_trait::async_trait]
pub trait EventBus: Send + Sync {
    /// Publishes records, each on its `topic` and keyed by its `subject`. An error may leave some of
    /// them published: the publisher repeats them all.
    async fn publish(&self, records: Vec<Envelope>) -> Result<()>;

    /// Subscribes a consumer group. Of several subscriptions of one group each record reaches one.
    async fn subscribe(&self, group: &str, topics: &[String]) -> Result<Box<dyn Subscription>>;
}

/// A group's view on its topics.
#[async_trait::async_trait]
pub trait Subscription: Send {
    /// Waits for the next record. Several may be unacknowledged at a time. Dropping the future loses
    /// no record.
    async fn next(&mut self) -> Result<Delivery>;

    /// States that a record is dealt with, in any order. The group's position moves up to the first
    /// record that is not.
    async fn acknowledge(&mut self, delivery: Delivery) -> Result<()>;

    /// How many records of its topics the group has not acknowledged.
    async fn lag(&mut self) -> Result<i64>;

    /// Leaves the group, so that another member takes over at once instead of after a time-out.
    async fn close(&mut self) -> Result<()>;
}

/// A record handed to a group.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// The record.
    pub envelope: Envelope,
    /// Where it stands.
    pub position: Position,
}

/// Where a record stands in its topic; made and understood by the bus alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The topic, and the partition where a broker has such.
    pub stream: String,
    /// The record's number in it.
    pub offset: i64,
    /// The membership under which it was handed out: a later member's progress is not undone by an
    /// earlier one's acknowledgement.
    pub epoch: u64,
}
