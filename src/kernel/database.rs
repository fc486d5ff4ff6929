//! The service's own database: one pool, migrations, and transactions that carry the outbox.
//!
//! A [`Transaction`] is begun with [`Database::begin`]. Events published through it are rows of the
//! same transaction, so state and event commit together or not at all. Inside a consumer's handler
//! `begin` joins the transaction that also holds the inbox row, so effect and inbox row commit
//! together as well; a joined transaction's `commit` leaves the real commit to the consumer. Inside
//! `jobs::Run::once` it joins the transaction that completes the job.
//!
//! If the call being served is audited, `commit` also writes its audit record.
//!
//! The URL says which database: `sqlite:` a file of the service's own, `postgres:` a schema of the
//! service's own, reached by a role that sees nothing else. The code above is the same for both.
//!
//! The pool connects lazily: a [`Database`] can be handed out before anything listens, and what is
//! wrong with it is said once, by [`Database::migrate`], with the mend.

mod ambient;
mod failure;
mod migrate;
mod news;
mod notify;
mod outage;
mod pool;
mod postgres;
mod sqlite;
mod transaction;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use prost_reflect::DescriptorPool;
use sea_orm::{
    DatabaseConnection, SqliteTransactionMode, TransactionOptions, TransactionTrait as _,
};
use sea_orm_migration::MigrationTrait;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::kernel::error::{Error, Result};
use crate::kernel::policy::{EventCatalog, EventDeclaration};
use crate::kernel::settings::DatabaseSettings;
use crate::kernel::telemetry::Metrics;

pub(crate) use ambient::{Ambient, Completion, Gate};
pub(crate) use migrate::apply as apply_migrations;
pub use news::News;
pub(crate) use notify::Topic;
pub(crate) use pool::{Durability, connect, is_busy, open as open_pool};
pub(crate) use transaction::Open;
pub use transaction::Transaction;

/// How long a writer waits for the writers before it. SQLite takes one at a time.
pub(crate) const WRITE_PATIENCE: Duration = Duration::from_secs(5);

/// The database of one service. Clones share the pool.
#[derive(Clone)]
pub struct Database(Arc<Inner>);

struct Inner {
    service: String,
    location: String,
    connection: DatabaseConnection,
    /// SQLite has one writer: ours queue here in order, instead of each holding a connection while
    /// it polls for the file's lock, which would starve the readers. `None` for other databases.
    writers: Option<Arc<Semaphore>>,
    /// The connections that events and jobs may hold: half the pool. The other half is for calls, so
    /// that a backlog of events, such as after an outage of the broker, keeps no caller waiting.
    background: Arc<Semaphore>,
    catalog: OnceLock<EventCatalog>,
    outbox_written: Notify,
    relays: notify::Relays,
    job_enqueued: Notify,
    changed: Notify,
    outage: outage::Outage,
    metrics: OnceLock<Metrics>,
}

impl Database {
    /// The database of `service`. Creates the folder of a SQLite file; connects when first used.
    pub fn open(service: &str, settings: &DatabaseSettings) -> anyhow::Result<Self> {
        let connection = pool::open(service, settings, Durability::EveryCommit)?;
        let single_writer = !failure::is_postgres(&connection);
        Ok(Self(Arc::new(Inner {
            service: service.to_owned(),
            location: pool::location(settings.url.expose()),
            connection,
            writers: single_writer.then(|| Arc::new(Semaphore::new(1))),
            background: Arc::new(Semaphore::new((settings.max_connections as usize / 2).max(1))),
            catalog: OnceLock::new(),
            outbox_written: Notify::new(),
            relays: notify::Relays::default(),
            job_enqueued: Notify::new(),
            changed: Notify::new(),
            outage: outage::Outage::default(),
            metrics: OnceLock::new(),
        })))
    }

    /// Tells which events exist: those of the contracts in `pool`. Publishing any other fails.
    pub fn declare_events(&self, pool: &DescriptorPool) -> anyhow::Result<()> {
        let catalog = EventCatalog::compile(pool)?;
        // Contracts are compiled in: a second declaration can only repeat the first.
        let _ = self.0.catalog.set(catalog);
        Ok(())
    }

    /// Reports the state of the pool, and how long transactions wait for it.
    pub fn report_to(&self, metrics: &Metrics) {
        // A second time it could only be the same process.
        let _ = self.0.metrics.set(metrics.clone());
        let connection = self.0.connection.clone();
        metrics.watch_pool(move || pool::state(&connection));
    }

    /// The pool, for reads that need no transaction.
    pub fn connection(&self) -> &DatabaseConnection {
        &self.0.connection
    }

    /// Begins a transaction: all writes go through one. Inside a consumer's handler it joins the
    /// consumer's. Dropping it without [`Transaction::commit`] rolls back. A task must not begin a
    /// second one while it holds the first: on SQLite it would wait for itself, and be refused.
    pub async fn begin(&self) -> Result<Transaction> {
        match ambient::current(self) {
            Some(ambient) => ambient.join().await,
            None => Ok(Transaction::own(self.begin_own().await?)),
        }
    }

    /// Makes the first connection, or says why not and what to do.
    pub(crate) async fn connect(&self) -> anyhow::Result<()> {
        connect(&self.0.connection, &self.0.location).await
    }

    /// Applies the kernel's migrations (outbox, inbox, jobs, sagas) and then the service's, each once. All that
    /// are pending commit together or not at all; a process that starts at the same time waits.
    pub async fn migrate(&self, service: Vec<Box<dyn MigrationTrait>>) -> anyhow::Result<()> {
        self.connect().await?;
        let mut migrations = kernel_migrations();
        migrations.extend(service);
        migrate::apply(&self.0.connection, migrations)
            .await
            .with_context(|| format!("cannot migrate the database {}", self.0.location))
    }

    /// The first migration that nobody has applied yet, of the kernel's and then the service's.
    /// Changes nothing.
    pub async fn pending(
        &self,
        service: &[Box<dyn MigrationTrait>],
    ) -> anyhow::Result<Option<String>> {
        let kernel = kernel_migrations();
        let names = kernel.iter().chain(service).map(|migration| migration.name());
        migrate::pending(&self.0.connection, names).await
    }

    /// Refuses a role that sees more than this service's schema, as production must. A SQLite file
    /// has no roles.
    pub async fn refuse_privileged_role(&self) -> anyhow::Result<()> {
        match self.is_postgres() {
            true => postgres::refuse_privileged_role(&self.0.connection).await,
            false => Ok(()),
        }
    }

    /// Whether the database answers, for readiness. Of PostgreSQL it tells what was seen last: a pool
    /// that is busy for a moment is no reason to send calls elsewhere.
    pub async fn ping(&self) -> Result<()> {
        match self.is_postgres() {
            true => self.refuse_if_away(),
            false => Ok(self.0.connection.ping().await?),
        }
    }

    /// Closes the pool once the connections in use are back.
    pub async fn close(&self) -> Result<()> {
        Ok(self.0.connection.close_by_ref().await?)
    }

    /// Name of the service whose database this is.
    pub fn service(&self) -> &str {
        &self.0.service
    }

    /// Refuses what would wait for a server that this process knows to be away.
    pub(crate) fn refuse_if_away(&self) -> Result<()> {
        self.0.outage.refuse()
    }

    /// Looks for outages of the server, so that this process knows of them; for ever.
    pub(crate) async fn watch_outages(&self) {
        outage::watch(self).await;
    }

    pub(crate) async fn begin_own(&self) -> Result<Open> {
        self.begin_in(Vec::new()).await
    }

    /// A transaction of what handles events and jobs, in its share of the pool.
    async fn begin_background(&self) -> Result<Open> {
        let share = self.background_share().await;
        self.begin_in(vec![share]).await
    }

    /// Waits for one of the connections that events and jobs may hold.
    async fn background_share(&self) -> OwnedSemaphorePermit {
        let share = self.0.background.clone().acquire_owned().await;
        share.expect("the semaphore is never closed")
    }

    /// Begins a transaction that holds these turns until its end.
    async fn begin_in(&self, mut turns: Vec<OwnedSemaphorePermit>) -> Result<Open> {
        self.refuse_if_away()?;
        let asked = Instant::now();
        if let Some(writers) = &self.0.writers {
            let turn = tokio::time::timeout(WRITE_PATIENCE, writers.clone().acquire_owned())
                .await
                .map_err(|_| Error::unavailable("the database is busy"))?;
            turns.push(turn.expect("the semaphore is never closed"));
        }
        let begun = self.0.connection.begin_with_options(write_options()).await;
        if let Some(metrics) = self.0.metrics.get() {
            metrics.connection_wait(asked.elapsed());
        }
        let transaction = begun?;
        Ok(Open::new(transaction, self.clone(), turns))
    }

    /// What the contracts state about an event. One that they do not declare is our own mistake.
    pub(crate) fn event(&self, full_name: &str) -> Result<&EventDeclaration> {
        let declared = self.0.catalog.get().and_then(|catalog| catalog.event(full_name));
        declared.ok_or_else(|| {
            Error::internal(anyhow::anyhow!(
                "{full_name} is no event: its contract states no (mainstay.policy.v1.event), or \
                 the contracts were not declared to the database"
            ))
        })
    }

    pub(crate) fn is_postgres(&self) -> bool {
        failure::is_postgres(&self.0.connection)
    }

    /// Wakes the relay when an outbox row was committed.
    pub(crate) fn outbox_written(&self) -> &Notify {
        &self.0.outbox_written
    }

    /// Wakes the runner of jobs when one was enqueued.
    pub(crate) fn job_enqueued(&self) -> &Notify {
        &self.0.job_enqueued
    }

    /// An outbox row was committed: wakes the relay, of this process or else of others.
    pub(crate) async fn wake_relay(&self) {
        match self.is_postgres() && self.0.relays.are_elsewhere() {
            true => notify::send(&self.0.connection, Topic::Outbox).await,
            false => self.0.outbox_written.notify_one(),
        }
    }

    /// States that nobody relays the outbox: the rows are read from the database's log, so nobody
    /// needs to be woken for them.
    pub(crate) fn leave_outbox_to_capture(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.is_postgres(),
            "events.relay = false leaves the outbox to change data capture, which reads the log of \
             PostgreSQL, and the database is {}: set events.relay = true",
            self.0.location
        );
        self.0.relays.switch_off();
        Ok(())
    }

    /// States that a relay runs here, for as long as what this gives is kept.
    pub(crate) fn relay_present(&self) -> notify::Present<'_> {
        self.0.relays.arrive()
    }

    /// Listens, on PostgreSQL, for what other processes tell when they have committed.
    pub(crate) async fn listen(&self, topic: Topic) -> Result<notify::Listener> {
        notify::Listener::open(&self.0.connection, topic).await
    }

    /// Hears of every commit that was [announced](Transaction::announce), in whichever process of
    /// the service it was made. Must be called within a Tokio runtime.
    pub fn news(&self) -> News {
        News::of(self.clone())
    }

    /// What others follow was changed by a commit.
    pub(crate) async fn tell_news(&self) {
        self.0.changed.notify_one();
        if self.is_postgres() {
            notify::send(&self.0.connection, Topic::News).await;
        }
    }

    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

fn kernel_migrations() -> Vec<Box<dyn MigrationTrait>> {
    let mut migrations = crate::kernel::events::migrations();
    migrations.extend(crate::kernel::jobs::migrations());
    migrations.extend(crate::kernel::saga::migrations());
    migrations
}

/// A transaction that means to write says so at once: SQLite cannot wait for its lock later without
/// risking a deadlock between two readers that both want to write.
pub(crate) fn write_options() -> TransactionOptions {
    TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..TransactionOptions::default()
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Database({})", self.0.location)
    }
}
