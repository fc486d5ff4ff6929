//! The transaction around a consumer's handler, or around what a job does once.
//!
//! It begins when the handler first asks for one, not before: a handler that first calls another
//! service keeps no other writer waiting meanwhile. Its [`Gate`] is its first statement: of two
//! processes that do the same one finds the gate closed and changes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sea_orm::DatabaseTransaction;
use tokio::sync::Mutex;

use super::transaction::Shared;
use super::{Database, Transaction};
use crate::kernel::error::{ALREADY_EXISTS, Error, Result};
use crate::kernel::events::inbox;
use crate::kernel::jobs::{self, Lease};

tokio::task_local! {
    static AMBIENT: Arc<Ambient>;
}

/// The ambient transaction of this task, if it is one on `database`.
pub(super) fn current(database: &Database) -> Option<Arc<Ambient>> {
    let ambient = AMBIENT.try_with(Arc::clone).ok()?;
    ambient.database.is(database).then_some(ambient)
}

/// What became of the handling.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Completion {
    /// The effect was committed, and with it what the gate wrote.
    Handled,
    /// The gate was closed; nothing was changed.
    Duplicate,
}

/// The first statement of the transaction: what makes its effect happen once.
pub(crate) enum Gate {
    /// The inbox row of an event. Closed when it is there.
    Event {
        /// The consumer group.
        consumer: String,
        /// Id of the event.
        event_id: String,
    },
    /// The completion of a job. Closed when the lease was lost.
    Job(Lease),
}

impl Gate {
    pub(crate) fn event(consumer: &str, event_id: &str) -> Self {
        Self::Event { consumer: consumer.to_owned(), event_id: event_id.to_owned() }
    }

    /// Whether it is known to be closed; saves most repetitions a transaction.
    async fn is_closed(&self, database: &Database) -> Result<bool> {
        match self {
            Self::Event { consumer, event_id } => {
                let _share = database.background_share().await;
                inbox::contains(database, consumer, event_id).await
            }
            Self::Job(_) => Ok(false),
        }
    }

    /// Passes it; `false` when it is closed.
    async fn pass(&self, transaction: &DatabaseTransaction) -> Result<bool> {
        match self {
            Self::Event { consumer, event_id } => {
                inbox::insert(transaction, consumer, event_id).await
            }
            Self::Job(lease) => jobs::complete(transaction, lease).await,
        }
    }
}

/// The transaction in which one thing is handled.
pub(crate) struct Ambient {
    database: Database,
    gate: Gate,
    shared: Mutex<Option<Arc<Shared>>>,
    duplicate: AtomicBool,
}

impl Ambient {
    /// Runs `handler`, and commits its effect together with the gate.
    pub(crate) async fn run(
        database: &Database,
        gate: Gate,
        handler: impl Future<Output = Result<()>>,
    ) -> Result<Completion> {
        if gate.is_closed(database).await? {
            return Ok(Completion::Duplicate);
        }
        let ambient = Arc::new(Self {
            database: database.clone(),
            gate,
            shared: Mutex::new(None),
            duplicate: AtomicBool::new(false),
        });
        let result = AMBIENT.scope(ambient.clone(), handler).await;
        ambient.complete(result).await
    }

    pub(super) async fn join(&self) -> Result<Transaction> {
        let mut shared = self.shared.lock().await;
        if let Some(shared) = &*shared {
            return Ok(Transaction::joined(shared.clone()));
        }
        let open = self.database.begin_background().await?;
        if !self.gate.pass(open.connection()).await? {
            self.duplicate.store(true, Ordering::Relaxed);
            return Err(Error::new(ALREADY_EXISTS, "this was handled already"));
        }
        Ok(Transaction::joined(shared.insert(Shared::new(open)).clone()))
    }

    async fn complete(&self, result: Result<()>) -> Result<Completion> {
        let shared = self.shared.lock().await.take();
        if self.duplicate.load(Ordering::Relaxed) {
            return Ok(Completion::Duplicate);
        }
        let Some(shared) = shared else {
            result?;
            return self.record().await;
        };
        let shared = Arc::try_unwrap(shared).map_err(|_| {
            misuse("a handler returned while a transaction of its own was still open")
        })?;
        if result.is_err() {
            shared.open.rollback().await?;
            return result.map(|()| Completion::Handled);
        }
        match (shared.abandoned.into_inner(), shared.committed.into_inner()) {
            (0, _) => shared.open.commit().await.map(|()| Completion::Handled),
            // The handler looked and found nothing to do.
            (_, 0) => {
                shared.open.rollback().await?;
                self.record().await
            }
            _ => {
                shared.open.rollback().await?;
                Err(misuse("a handler committed one transaction and dropped another"))
            }
        }
    }

    /// Passes the gate for a handler that changed nothing.
    async fn record(&self) -> Result<Completion> {
        let open = self.database.begin_background().await?;
        match self.gate.pass(open.connection()).await? {
            true => open.commit().await.map(|()| Completion::Handled),
            false => Ok(Completion::Duplicate),
        }
    }
}

fn misuse(what: &'static str) -> Error {
    Error::internal(anyhow::anyhow!(what))
}
