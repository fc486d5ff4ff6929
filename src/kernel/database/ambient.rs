//! The transaction around a consumer's handler.
//!
//! It begins when the handler first asks for one, not before: a handler that first calls another
//! service keeps no other writer waiting meanwhile. The inbox row is its first statement, so of two
//! processes that handle the same event one finds the row there and changes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Mutex;

use super::transaction::Shared;
use super::{Database, Transaction};
use crate::kernel::error::{ALREADY_EXISTS, Error, Result};
use crate::kernel::events::inbox;

tokio::task_local! {
    static AMBIENT: Arc<Ambient>;
}

/// The ambient transaction of this task, if it is one on `database`.
pub(super) fn current(database: &Database) -> Option<Arc<Ambient>> {
    let ambient = AMBIENT.try_with(Arc::clone).ok()?;
    ambient.database.is(database).then_some(ambient)
}

/// What became of the handling of an event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Completion {
    /// Its effect and its inbox row were committed.
    Handled,
    /// It had been handled before; nothing was changed.
    Duplicate,
}

/// The transaction in which one consumer handles one event.
pub(crate) struct Ambient {
    database: Database,
    consumer: String,
    event_id: String,
    shared: Mutex<Option<Arc<Shared>>>,
    duplicate: AtomicBool,
}

impl Ambient {
    /// Runs `handler`, and commits its effect together with the inbox row.
    pub(crate) async fn run(
        database: &Database,
        consumer: &str,
        event_id: &str,
        handler: impl Future<Output = Result<()>>,
    ) -> Result<Completion> {
        if inbox::contains(database, consumer, event_id).await? {
            return Ok(Completion::Duplicate);
        }
        let ambient = Arc::new(Self {
            database: database.clone(),
            consumer: consumer.to_owned(),
            event_id: event_id.to_owned(),
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
        let open = self.database.begin_own().await?;
        if !inbox::insert(open.connection(), &self.consumer, &self.event_id).await? {
            self.duplicate.store(true, Ordering::Relaxed);
            return Err(Error::new(ALREADY_EXISTS, "the event was handled already"));
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

    /// Writes the inbox row of a handler that changed nothing.
    async fn record(&self) -> Result<Completion> {
        let open = self.database.begin_own().await?;
        match inbox::insert(open.connection(), &self.consumer, &self.event_id).await? {
            true => open.commit().await.map(|()| Completion::Handled),
            false => Ok(Completion::Duplicate),
        }
    }
}

fn misuse(what: &'static str) -> Error {
    Error::internal(anyhow::anyhow!(what))
}
