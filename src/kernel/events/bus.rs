//! The seam to a broker.
//!
//! What every implementation promises, and the contract suite checks:
//! - a record is durable when `publish` returns;
//! - every group gets every record of its topics at least once, a new group from the earliest one
//!   retained;
//! - records with equal topic and subject are delivered in the order in which they were published;
//! - a record is delivered again unless it was acknowledged, also after a crash;
//! - reading disturbs no group.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::SystemTime;

use futures::future::BoxFuture;

use crate::kernel::error::Result;
use crate::kernel::policy::TopicSpec;
use crate::kernel::proto::events::Envelope;

/// How many records [`EventBus::retained`] asks for at once.
const PAGE: usize = 500;

/// A broker.
#[async_trait::async_trait]
pub trait EventBus: Send + Sync {
    /// Creates the topics that are missing, and applies what is stated about those that are there as
    /// far as the broker can. Whoever publishes or subscribes has prepared the topics before;
    /// [`PreparedBus`](super::PreparedBus) sees to it.
    async fn prepare(&self, topics: &[TopicSpec]) -> Result<()>;

    /// Publishes records, each on its `topic` and keyed by its `subject`. An error may leave some of
    /// them published: the publisher repeats them all.
    async fn publish(&self, records: Vec<Envelope>) -> Result<()>;

    /// Subscribes a consumer group. Of several subscriptions of one group each record reaches one.
    async fn subscribe(&self, group: &str, topics: &[String]) -> Result<Box<dyn Subscription>>;

    /// Reads up to `limit` records of a topic without being a consumer: for operators and tests.
    /// Records of one subject come in their order. An empty page is at the end.
    async fn read(&self, topic: &str, from: ReadFrom, limit: usize) -> Result<Page>;

    /// Behind the newest record of a topic: what [`EventBus::read`] begins with to see only what
    /// comes later.
    async fn end(&self, topic: &str) -> Result<Cursor>;

    /// Every record that some topics retain, oldest first; they are held in memory all at once.
    async fn retained(&self, topics: &[String]) -> Result<Vec<Envelope>> {
        let mut records = Vec::new();
        for topic in topics {
            let mut from = ReadFrom::Earliest;
            loop {
                let page = self.read(topic, from, PAGE).await?;
                if page.records.is_empty() {
                    break;
                }
                records.extend(page.records);
                from = ReadFrom::Cursor(page.next);
            }
        }
        records.sort_by_key(|record| record.published);
        Ok(records.into_iter().map(|record| record.envelope).collect())
    }
}

#[async_trait::async_trait]
impl<B: EventBus + ?Sized> EventBus for Arc<B> {
    async fn prepare(&self, topics: &[TopicSpec]) -> Result<()> {
        (**self).prepare(topics).await
    }

    async fn publish(&self, records: Vec<Envelope>) -> Result<()> {
        (**self).publish(records).await
    }

    async fn subscribe(&self, group: &str, topics: &[String]) -> Result<Box<dyn Subscription>> {
        (**self).subscribe(group, topics).await
    }

    async fn read(&self, topic: &str, from: ReadFrom, limit: usize) -> Result<Page> {
        (**self).read(topic, from, limit).await
    }

    async fn end(&self, topic: &str) -> Result<Cursor> {
        (**self).end(topic).await
    }
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

    /// How many records of its topics the group has not acknowledged. Counting may take the broker a
    /// while, so it goes on beside the subscription.
    fn lag(&self) -> BoxFuture<'static, Result<i64>>;

    /// Leaves the group, so that another member takes over at once instead of after a time-out.
    async fn close(&mut self) -> Result<()>;
}

/// A record as a broker hands it out.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// The record.
    pub envelope: Envelope,
    /// Where it stands.
    pub position: Position,
    /// When the broker took it.
    pub published: SystemTime,
    /// Why the record is none of ours, such as a header that is missing: a consumer puts it to the
    /// dead letters. The envelope then holds what could be read, and an id made of the position.
    pub fault: Option<String>,
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

/// Where reading a topic begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadFrom {
    /// At the oldest record retained.
    Earliest,
    /// At the first record that was published at this time or later.
    Time(SystemTime),
    /// Where a page ended.
    Cursor(Cursor),
}

/// Some records of a topic.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// The records; none at the end of the topic.
    pub records: Vec<Delivery>,
    /// Where the next page begins.
    pub next: Cursor,
}

/// A place between the records of a topic: for each of its streams the number of the next record.
/// Written as `identity.users/0:17,identity.users/1:5`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor(pub BTreeMap<String, i64>);

impl Cursor {
    /// The number of the next record of a stream; 0 for one that it does not know.
    pub fn offset(&self, stream: &str) -> i64 {
        self.0.get(stream).copied().unwrap_or_default()
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (stream, offset)) in self.0.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            write!(f, "{comma}{stream}:{offset}")?;
        }
        Ok(())
    }
}

impl FromStr for Cursor {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let place = |part: &str| {
            let (stream, offset) = part.rsplit_once(':')?;
            Some((stream.to_owned(), offset.parse().ok()?))
        };
        let parts = text.split(',').filter(|part| !part.is_empty());
        let places: Option<_> = parts.map(place).collect();
        places.map(Self).ok_or_else(|| {
            anyhow::anyhow!("{text:?} is no cursor; give one that a page ended with")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_being_written_down() {
        let places = [("identity.users/0", 17), ("identity.users/1", 5)];
        let cursor = Cursor(places.map(|(stream, offset)| (stream.to_owned(), offset)).into());
        assert_eq!(cursor.to_string(), "identity.users/0:17,identity.users/1:5");
        assert_eq!(cursor.to_string().parse::<Cursor>().unwrap(), cursor);
        assert_eq!("".parse::<Cursor>().unwrap(), Cursor::default());
        for text in ["identity.users", "a:b", "a:1,b"] {
            assert!(text.parse::<Cursor>().is_err(), "{text}");
        }
    }
}
