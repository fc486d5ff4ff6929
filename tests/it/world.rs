//! A service's database and a broker in a temporary folder, and what stories need around them.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mainstay::contract;
use mainstay::contract::proto::mainstay::identity::v1::UserUpdated;
use mainstay::kernel::Result;
use mainstay::kernel::database::{Database, Transaction};
use mainstay::kernel::events::{
    Consumer, Envelope, EventBus, PreparedBus, Received, Relay, Start, open_bus, topic_specs,
};
use mainstay::kernel::jobs::Worker;
use mainstay::kernel::settings::{DatabaseSettings, EventSettings, RedisSettings};
use mainstay_testing::{Databases, TestBroker};
use sea_orm::sea_query::{ColumnDef, Order, Query, Table};
use sea_orm::{ConnectionTrait, DbErr, DeriveIden};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};
use tempfile::TempDir;

/// The topic on which the stories' events travel.
pub(crate) const USERS: &str = "identity.users";

pub(crate) struct World {
    databases: Databases,
    pub(crate) settings: EventSettings,
    reader: OnceLock<Arc<dyn EventBus>>,
    _broker: TestBroker,
    folder: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let broker = TestBroker::new(folder.path());
        let settings = EventSettings {
            poll_interval: Duration::from_millis(10),
            retry_backoff: Duration::from_millis(5),
            max_retry_backoff: Duration::from_millis(40),
            max_attempts: 3,
            ..broker.settings().clone()
        };
        Self {
            databases: Databases::new(),
            settings,
            reader: OnceLock::new(),
            _broker: broker,
            folder,
        }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn database_settings(&self, service: &str) -> DatabaseSettings {
        self.databases.settings(service, &self.file(&format!("data/{service}.db")))
    }

    /// A service's database with one table of its own, `notes`.
    pub(crate) async fn database(&self, service: &str) -> Database {
        let database = Database::open(service, &self.database_settings(service)).unwrap();
        database.declare_events(contract::pool()).unwrap();
        database.migrate(vec![Box::new(CreateNotes)]).await.unwrap();
        database
    }

    /// The broker, as another process would open it.
    pub(crate) fn bus(&self) -> Arc<dyn EventBus> {
        let bus = PreparedBus::new(open_bus(&self.settings, &RedisSettings::default()).unwrap());
        bus.declare(topic_specs(contract::pool(), &self.settings).unwrap());
        Arc::new(bus)
    }

    /// Every record that a topic retains, oldest first.
    pub(crate) async fn retained(&self, topic: &str) -> Vec<Envelope> {
        let reader = self.reader.get_or_init(|| self.bus());
        reader.retained(&[topic.to_owned()]).await.unwrap()
    }

    pub(crate) fn relay(&self, database: &Database, bus: impl EventBus + 'static) -> Worker {
        Relay::new(database.clone(), Arc::new(bus), &self.settings).spawn()
    }

    pub(crate) fn start(&self, consumer: Consumer, database: &Database) -> Worker {
        self.start_on(consumer, database, self.bus())
    }

    pub(crate) fn start_on(
        &self,
        consumer: Consumer,
        database: &Database,
        bus: impl EventBus + 'static,
    ) -> Worker {
        let start = Start {
            service: database.service(),
            database: Some(database.clone()),
            bus: Arc::new(bus),
            pool: contract::pool(),
            settings: &self.settings,
        };
        consumer.start(start).unwrap()
    }
}

/// An event about a user that carries `text`.
pub(crate) fn updated(user_id: impl ToString, text: impl ToString) -> UserUpdated {
    UserUpdated { user_id: user_id.to_string(), changed_fields: vec![text.to_string()] }
}

/// Publishes events, each in a transaction of its own that also notes it.
pub(crate) async fn publish(database: &Database, events: &[UserUpdated]) {
    for event in events {
        let transaction = database.begin().await.unwrap();
        transaction.publish(event).await.unwrap();
        transaction.commit().await.unwrap();
    }
}

/// A consumer that notes `user:text` of every event.
pub(crate) fn note_taker(database: &Database) -> Consumer {
    let database = database.clone();
    Consumer::new("notes").on(move |received: Received<UserUpdated>| {
        let database = database.clone();
        async move {
            let transaction = database.begin().await?;
            note(&transaction, &text_of(&received.payload)).await?;
            transaction.commit().await
        }
    })
}

pub(crate) fn text_of(event: &UserUpdated) -> String {
    format!("{}:{}", event.user_id, event.changed_fields.join(","))
}

pub(crate) async fn note(transaction: &Transaction, text: &str) -> Result<()> {
    let insert = Query::insert()
        .into_table(Notes::Table)
        .columns([Notes::Text])
        .values_panic([text.into()])
        .take();
    transaction.connection().execute(&insert).await?;
    Ok(())
}

/// Every note, in the order in which they were taken.
pub(crate) async fn notes(database: &Database) -> Vec<String> {
    let query = Query::select()
        .column(Notes::Text)
        .from(Notes::Table)
        .order_by(Notes::Id, Order::Asc)
        .take();
    let rows = database.connection().query_all(&query).await.unwrap();
    rows.iter().map(|row| row.try_get("", "text").unwrap()).collect()
}

/// The events in the outbox, oldest first.
pub(crate) async fn outbox(database: &Database) -> Vec<Envelope> {
    let query = Query::select()
        .columns(["type", "aggregateid", "actor", "request_id", "source", "traceparent", "topic"])
        .column("payload")
        .from("outbox")
        .order_by("position", Order::Asc)
        .take();
    let rows = database.connection().query_all(&query).await.unwrap();
    rows.iter()
        .map(|row| Envelope {
            r#type: row.try_get("", "type").unwrap(),
            subject: row.try_get("", "aggregateid").unwrap(),
            actor: row.try_get("", "actor").unwrap(),
            request_id: row.try_get("", "request_id").unwrap(),
            source: row.try_get("", "source").unwrap(),
            traceparent: row.try_get("", "traceparent").unwrap(),
            topic: row.try_get("", "topic").unwrap(),
            data: row.try_get("", "payload").unwrap(),
            ..Envelope::default()
        })
        .collect()
}

/// Polls until `probe` gives a value; gives up after 30 s, naming `what`.
pub(crate) async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        assert!(tokio::time::Instant::now() < deadline, "still waiting: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until there are as many notes, and returns them.
pub(crate) async fn notes_when(database: &Database, count: usize) -> Vec<String> {
    eventually(&format!("{count} notes"), async || {
        let notes = notes(database).await;
        (notes.len() >= count).then_some(notes)
    })
    .await
}

#[derive(DeriveIden)]
pub(crate) enum Notes {
    Table,
    Id,
    Text,
}

/// Creates the table `notes`.
pub(crate) struct CreateNotes;

impl MigrationName for CreateNotes {
    fn name(&self) -> &str {
        "test_0001_create_notes"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateNotes {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table(Notes::Table)
            .col(ColumnDef::new(Notes::Id).big_integer().auto_increment().primary_key())
            .col(ColumnDef::new(Notes::Text).text().not_null())
            .take();
        manager.create_table(table).await
    }
}
