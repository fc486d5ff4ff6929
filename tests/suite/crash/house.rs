//! A process that writes, relays and consumes: state and event in one transaction of one database,
//! inbox and effect in one of another.

use std::collections::BTreeMap;
use std::sync::Arc;

use mainstay::contract;
use mainstay::contract::proto::mainstay::identity::v1::UserUpdated;
use mainstay::kernel::database::Database;
use mainstay::kernel::events::{
    Consumer, PreparedBus, Received, Relay, Start, open_bus, topic_specs,
};
use mainstay::kernel::jobs::Worker;
use mainstay::kernel::settings::{EventKind, RedisSettings};
use sea_orm::sea_query::{ColumnDef, Table};
use sea_orm::{ConnectionTrait as _, DbErr, Statement};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};
use tokio::sync::watch;

use super::process::{Order, Place, Work, acknowledge, open};
use super::{Duration, Failpoint, Instant, LIVES};
use crate::world::{CreateNotes, USERS as TOPIC, World, note, notes, outbox, text_of, updated};

/// Users whose state is changed by one life.
const USERS_OF_A_LIFE: u32 = 3;

/// After so many lives it is the same users' turn again. What a dead relay has claimed on SQLite, the
/// next lives need not wait for.
const TURNS: u32 = 8;

/// How long a claim of the relay holds on SQLite, where it is a lease.
const LEASE: Duration = Duration::from_millis(300);

/// How long the last life may take to finish what the others left behind.
const PATIENCE: Duration = Duration::from_secs(60);

/// The number that a user's state holds, by user. Numbers count what was written.
type Numbers = BTreeMap<String, u32>;

pub(super) struct House {
    world: World,
    order: Order,
}

impl House {
    pub(super) async fn new() -> Self {
        let mut world = World::new();
        let events = &mut world.settings;
        events.outbox_interval = Duration::from_millis(20);
        // The events are not at fault when the process dies, but nothing tells them from those that
        // are: with a few attempts innocent ones would end among the dead letters.
        events.max_attempts = u32::MAX;
        // Whoever comes back under the same name goes on with the partitions at once.
        events.kafka.instance_id = "house".to_owned();
        events.kafka.session_timeout = Duration::from_secs(30);
        // Most lives are shorter than the default, and would commit no position at all.
        events.kafka.commit_interval = Duration::from_millis(1);
        let place = |service| Place::from(world.database_settings(service));
        let order = Order {
            work: Work::House,
            life: 0,
            failpoint: String::new(),
            passage: 1,
            events: world.settings.clone(),
            first: place("identity-svc"),
            second: place("audit-svc"),
        };
        let (writer, reader) = databases(&order);
        writer.migrate(vec![Box::new(CreateNumbers)]).await.unwrap();
        reader.migrate(vec![Box::new(CreateNotes)]).await.unwrap();
        Self { world, order }
    }

    /// Lets the processes live and die. What they have acknowledged to whoever asked them to write.
    pub(super) async fn live_and_die(&self, failpoint: Failpoint, passages: u32) -> Vec<String> {
        self.order.lives(failpoint, passages).await
    }

    /// Lives the last life, and compares what was written with its effects. How much was written.
    pub(super) async fn written_and_in_effect_once(&self, acknowledged: &[String]) -> usize {
        let (writer, reader) = databases(&self.order);
        let workers = start(&self.order, &writer, &reader, |_| {});
        let written = numbers(&writer).await;
        let amount = written.values().sum::<u32>() as usize;
        let deadline = Instant::now() + PATIENCE;
        while !outbox(&writer).await.is_empty() || notes(&reader).await.len() < amount {
            assert!(Instant::now() < deadline, "of {amount} events some have no effect");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for worker in workers {
            worker.stop().await;
        }
        let notes = notes(&reader).await;
        for (user, last) in &written {
            let prefix = format!("{user}:");
            let effects = notes.iter().filter_map(|note| note.strip_prefix(&prefix));
            let effects: Vec<u32> = effects.map(|number| number.parse().unwrap()).collect();
            let expected: Vec<u32> = (1..=*last).collect();
            assert_eq!(effects, expected, "{user}: not once, or not in order");
        }
        assert_eq!(notes.len(), amount, "effects of what was never committed");
        for told in acknowledged {
            assert!(notes.contains(told), "{told} was acknowledged and is lost");
        }
        assert!(amount <= acknowledged.len() + LIVES as usize, "a life leaves one write untold");
        amount
    }

    /// How many records the broker has.
    pub(super) async fn published(&self) -> usize {
        self.world.retained(TOPIC).await.len()
    }
}

/// Writes one number after the other until the process ends. The next ones follow when those before
/// have had their effect, so that every window is passed at all times of a process's life.
pub(super) async fn live(order: &Order) {
    let (writer, reader) = databases(order);
    let (handled, mut seen) = watch::channel(Numbers::new());
    let note_handled = move |event: &UserUpdated| {
        let number = event.changed_fields.concat().parse().unwrap();
        handled.send_modify(|handled| {
            handled.insert(event.user_id.clone(), number);
        });
    };
    let _workers = start(order, &writer, &reader, note_handled);
    loop {
        let mut round = Numbers::new();
        for user in 0..USERS_OF_A_LIFE {
            let user = format!("u{}", order.life % TURNS * USERS_OF_A_LIFE + user);
            let number = write(&writer, &user).await;
            acknowledge(&format!("{user}:{number}"));
            round.insert(user, number);
        }
        let in_effect = |handled: &Numbers| {
            round.iter().all(|(user, number)| handled.get(user).is_some_and(|last| last >= number))
        };
        seen.wait_for(in_effect).await.unwrap();
    }
}

/// Counts a user's number up, and says so by an event.
async fn write(database: &Database, user: &str) -> u32 {
    let transaction = database.begin().await.unwrap();
    let connection = transaction.connection();
    let count = "INSERT INTO numbers (user_id, number) VALUES ($1, 1) \
                 ON CONFLICT (user_id) DO UPDATE SET number = numbers.number + 1 RETURNING number";
    let backend = connection.get_database_backend();
    let count = Statement::from_sql_and_values(backend, count, [user.into()]);
    let row = connection.query_one_raw(count).await.unwrap().unwrap();
    let number = row.try_get::<i64>("", "number").unwrap().try_into().unwrap();
    transaction.publish(&updated(user, number)).await.unwrap();
    transaction.commit().await.unwrap();
    number
}

/// What was written, as the state says it.
async fn numbers(database: &Database) -> Numbers {
    let connection = database.connection();
    let query = "SELECT user_id, number FROM numbers";
    let query = Statement::from_string(connection.get_database_backend(), query);
    let rows = connection.query_all_raw(query).await.unwrap();
    let number = |row: &sea_orm::QueryResult| {
        let number: i64 = row.try_get("", "number").unwrap();
        (row.try_get("", "user_id").unwrap(), number.try_into().unwrap())
    };
    rows.iter().map(number).collect()
}

/// The writer's and the reader's.
fn databases(order: &Order) -> (Database, Database) {
    (open("identity-svc", &order.first), open("audit-svc", &order.second))
}

/// Starts relay and consumer.
fn start(
    order: &Order,
    writer: &Database,
    reader: &Database,
    handled: impl Fn(&UserUpdated) + Clone + Send + Sync + 'static,
) -> [Worker; 2] {
    let settings = &order.events;
    let bus = PreparedBus::new(open_bus(settings, &RedisSettings::default()).unwrap());
    bus.declare(topic_specs(contract::pool(), settings).unwrap());
    let bus = Arc::new(bus);
    let mut relay = Relay::new(writer.clone(), bus.clone(), settings);
    if settings.kind == EventKind::Embedded {
        relay = relay.lease(LEASE);
    }
    let database = reader.clone();
    let consumer = Consumer::new("notes").on(move |received: Received<UserUpdated>| {
        let (database, handled) = (database.clone(), handled.clone());
        async move {
            let transaction = database.begin().await?;
            note(&transaction, &text_of(&received.payload)).await?;
            transaction.commit().await?;
            handled(&received.payload);
            Ok(())
        }
    });
    let start = Start {
        service: reader.service(),
        database: Some(reader.clone()),
        bus,
        pool: contract::pool(),
        settings,
    };
    [relay.spawn(), consumer.start(start).unwrap()]
}

/// Creates the writer's state.
struct CreateNumbers;

impl MigrationName for CreateNumbers {
    fn name(&self) -> &str {
        "test_0001_create_numbers"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateNumbers {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("numbers")
            .col(ColumnDef::new("user_id").text().not_null().primary_key())
            .col(ColumnDef::new("number").big_integer().not_null())
            .take();
        manager.create_table(table).await
    }
}
