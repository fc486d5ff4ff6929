//! The embedded broker: a durable log in one SQLite file that the processes of a machine share.
//!
//! A record's offset is given while SQLite's one write lock is held, so offsets become visible in
//! their order and a reader may ask for `offset > last`; with several writers it must not.
//!
//! Each process looks for new records every few milliseconds, once for all its groups, and as long as
//! nothing happens it looks at the file's time only. A group is consumed by one subscription at a
//! time: the one that has locked the group's file.

mod head;
mod lease;
mod log;
mod reading;
mod schema;
mod subscription;
mod topics;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sea_orm::{DatabaseConnection, DatabaseTransaction, TransactionTrait as _};
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

use super::bus::{Cursor, EventBus, Page, ReadFrom, Subscription};
use crate::kernel::database::{
    Durability, WRITE_PATIENCE, apply_migrations, connect, is_busy, open_pool, write_options,
};
use crate::kernel::error::{Error, Result};
use crate::kernel::policy::TopicSpec;
use crate::kernel::proto::events::Envelope;
use crate::kernel::settings::{DatabaseSettings, EventSettings, Secret};
use head::Head;
use subscription::EmbeddedSubscription;

/// What its connections are called.
const BROKER: &str = "broker";

/// The embedded broker. Clones share its connections.
#[derive(Clone)]
pub struct EmbeddedBus(Arc<Broker>);

impl EmbeddedBus {
    /// The broker in the file that the settings name. Creates its folder; the file is made when the
    /// broker is first used.
    pub fn open(settings: &EventSettings) -> anyhow::Result<Self> {
        let database = DatabaseSettings {
            url: Secret::from(format!("sqlite://{}?mode=rwc", settings.path.display())),
            max_connections: 4,
            ..DatabaseSettings::default()
        };
        Ok(Self(Arc::new(Broker {
            location: Path::new(&settings.path).display().to_string(),
            records: open_pool(BROKER, &database, Durability::EveryCommit)?,
            positions: open_pool(BROKER, &database, Durability::Checkpoint)?,
            writers: Semaphore::new(1),
            prepared: OnceCell::new(),
            head: Head::new(&settings.path, settings.poll_interval, settings.retention),
            groups: beside(&settings.path, "-groups"),
        })))
    }
}

#[async_trait::async_trait]
impl EventBus for EmbeddedBus {
    async fn prepare(&self, topics: &[TopicSpec]) -> Result<()> {
        self.0.prepare().await?;
        let (transaction, _turn) = self.0.begin(&self.0.positions).await?;
        topics::state(&transaction, topics).await?;
        Ok(transaction.commit().await?)
    }

    async fn publish(&self, records: Vec<Envelope>) -> Result<()> {
        self.0.prepare().await?;
        let (transaction, _turn) = self.0.begin(&self.0.records).await?;
        log::append(&transaction, &records).await?;
        let head = log::head(&transaction).await?;
        transaction.commit().await?;
        self.0.head.moved_to(head);
        Ok(())
    }

    async fn subscribe(&self, group: &str, topics: &[String]) -> Result<Box<dyn Subscription>> {
        self.0.prepare().await?;
        self.0.head.watch(&self.0);
        Ok(Box::new(EmbeddedSubscription::new(self.0.clone(), group, topics)))
    }

    async fn read(&self, topic: &str, from: ReadFrom, limit: usize) -> Result<Page> {
        self.0.prepare().await?;
        reading::page(&self.0.positions, topic, from, limit).await
    }

    async fn end(&self, topic: &str) -> Result<Cursor> {
        self.0.prepare().await?;
        reading::end(&self.0.positions, topic).await
    }
}

/// What the subscriptions of a process share.
struct Broker {
    location: String,
    /// For records, which must survive a power cut once published.
    records: DatabaseConnection,
    /// For positions and leases: lost ones only mean that records are delivered again.
    positions: DatabaseConnection,
    /// This process's writers queue here instead of polling for the file's lock.
    writers: Semaphore,
    prepared: OnceCell<()>,
    head: Head,
    /// Folder of the files by which groups are held.
    groups: PathBuf,
}

/// What lies beside the log under its name and a suffix.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

impl Broker {
    /// Creates the tables once for each process.
    async fn prepare(&self) -> Result<()> {
        let prepare = async || {
            connect(&self.records, &self.location).await?;
            apply_migrations(&self.records, schema::migrations()).await
        };
        let prepared = self.prepared.get_or_try_init(prepare).await;
        prepared.map(|_| ()).map_err(|error| {
            Error::unavailable("the event broker cannot be used").because(error.context(format!(
                "cannot prepare the event broker {}; check the setting events.path",
                self.location
            )))
        })
    }

    async fn begin(
        &self,
        pool: &DatabaseConnection,
    ) -> Result<(DatabaseTransaction, SemaphorePermit<'_>)> {
        let busy = || Error::unavailable("the event broker is busy");
        let turn = tokio::time::timeout(WRITE_PATIENCE, self.writers.acquire())
            .await
            .map_err(|_| busy())?
            .map_err(Error::internal)?;
        let transaction = pool.begin_with_options(write_options()).await;
        let transaction = transaction.map_err(|error| match is_busy(&error) {
            true => busy().because(error),
            false => error.into(),
        })?;
        Ok((transaction, turn))
    }
}
