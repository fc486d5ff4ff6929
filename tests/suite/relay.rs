//! What relays promise on every database: each aggregate's order, however many of them there are
//! and whatever fails; and nothing is left behind.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mainstay::contract::proto::mainstay::identity::v1::UserUpdated;
use mainstay::kernel::database::Database;
use mainstay::kernel::events::{
    Cursor, Envelope, EventBus, Page, ReadFrom, Subscription, TopicSpec,
};
use mainstay::kernel::{Error, Result};
use prost::Message as _;

use crate::world::{World, eventually, outbox, publish, updated};

/// A bus in memory that remembers what it accepted.
#[derive(Clone, Default)]
pub(crate) struct MemoryBus {
    accepted: Arc<Mutex<Accepted>>,
    mood: Mood,
}

/// What a bus does about records.
#[derive(Clone, Copy, Default, PartialEq)]
pub(crate) enum Mood {
    /// Accepts all of them at once.
    #[default]
    Willing,
    /// Takes its time, and refuses every seventh publishing.
    Moody,
    /// Refuses those about the user `stuck`.
    Picky,
}

#[derive(Default)]
struct Accepted {
    /// The texts by user, in the order of their coming.
    texts: HashMap<String, Vec<String>>,
    count: usize,
    /// Users whose events are being published.
    under_way: HashSet<String>,
    overlaps: usize,
    publishes: u64,
}

impl MemoryBus {
    fn of(mood: Mood) -> Self {
        Self { mood, ..Self::default() }
    }

    /// How many records it accepted.
    pub(crate) fn count(&self) -> usize {
        self.accepted.lock().unwrap().count
    }

    /// The texts of the events about a user, as they came.
    pub(crate) fn texts(&self, user: &str) -> Vec<String> {
        self.accepted.lock().unwrap().texts.get(user).cloned().unwrap_or_default()
    }

    /// The number of this publishing.
    fn begin(&self, users: &HashSet<String>) -> u64 {
        let mut accepted = self.accepted.lock().unwrap();
        let doubled = users.iter().filter(|user| accepted.under_way.contains(*user)).count();
        accepted.overlaps += doubled;
        accepted.under_way.extend(users.iter().cloned());
        accepted.publishes += 1;
        accepted.publishes
    }

    fn end(&self, users: &HashSet<String>, records: Vec<Envelope>) {
        let mut accepted = self.accepted.lock().unwrap();
        accepted.under_way.retain(|user| !users.contains(user));
        accepted.count += records.len();
        for record in records {
            let text = UserUpdated::decode(&*record.data).unwrap().changed_fields.concat();
            accepted.texts.entry(record.subject).or_default().push(text);
        }
    }
}

#[async_trait::async_trait]
impl EventBus for MemoryBus {
    async fn prepare(&self, _topics: &[TopicSpec]) -> Result<()> {
        Ok(())
    }

    async fn publish(&self, records: Vec<Envelope>) -> Result<()> {
        let users = records.iter().map(|record| record.subject.clone()).collect();
        let number = self.begin(&users);
        let refused = match self.mood {
            Mood::Willing => false,
            Mood::Moody => {
                tokio::time::sleep(Duration::from_millis(number % 4)).await;
                number.is_multiple_of(7)
            }
            Mood::Picky => users.contains("stuck"),
        };
        self.end(&users, if refused { Vec::new() } else { records });
        if refused { Err(Error::unavailable("refused")) } else { Ok(()) }
    }

    async fn subscribe(&self, _group: &str, _topics: &[String]) -> Result<Box<dyn Subscription>> {
        Err(Error::unavailable("nobody reads here"))
    }

    async fn read(&self, _topic: &str, _from: ReadFrom, _limit: usize) -> Result<Page> {
        Err(Error::unavailable("nobody reads here"))
    }

    async fn end(&self, _topic: &str) -> Result<Cursor> {
        Err(Error::unavailable("nobody reads here"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_relays_never_publish_two_events_of_one_aggregate_at_once_or_out_of_order() {
    const USERS: usize = 7;
    const EVENTS: usize = 60;
    let world = World::new();
    let writer = world.database("identity-svc").await;
    let others: Vec<Database> =
        [world.database("identity-svc").await, world.database("identity-svc").await].into();
    let bus = MemoryBus::of(Mood::Moody);
    let _relays: Vec<_> =
        [&writer].into_iter().chain(&others).map(|of| world.relay(of, bus.clone())).collect();

    for number in 0..EVENTS {
        let events: Vec<_> = (0..USERS).map(|user| updated(format!("u{user}"), number)).collect();
        publish(&writer, &events).await;
    }
    eventually("an empty outbox", async || outbox(&writer).await.is_empty().then_some(())).await;

    let expected: Vec<_> = (0..EVENTS).map(|number| number.to_string()).collect();
    for user in 0..USERS {
        assert_eq!(bus.texts(&format!("u{user}")), expected, "user {user}");
    }
    assert_eq!(bus.accepted.lock().unwrap().overlaps, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aggregate_with_more_events_than_a_claim_looks_at_holds_no_other_up() {
    let world = World::new();
    let writer = world.database("identity-svc").await;
    let many: Vec<_> = (0..2500).map(|number| updated("stuck", number)).collect();
    let transaction = writer.begin().await.unwrap();
    for event in many.iter().chain(&[updated("free", "x")]) {
        transaction.publish(event).await.unwrap();
    }
    transaction.commit().await.unwrap();
    let bus = MemoryBus::of(Mood::Picky);
    let _relay = world.relay(&writer, bus.clone());
    eventually("the other one's event", async || (bus.texts("free") == ["x"]).then_some(())).await;
    assert_eq!(bus.count(), 1);
}
