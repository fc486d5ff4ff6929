//! What a consumer knows of events that failed before, in memory and in the database.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::kernel::database::Database;
use crate::kernel::error::Result;
use crate::kernel::events::tried::{self, Tried, session};
use crate::kernel::proto::events::Envelope;

/// The attempts of one consumer.
pub(super) struct Ledger {
    database: Option<Database>,
    consumer: String,
    /// Events that failed before this process began.
    known: Mutex<HashMap<String, Tried>>,
    /// How many of the next events may be one that ended a process.
    suspects: AtomicUsize,
}

impl Ledger {
    pub(super) fn new(database: Option<Database>, consumer: &str) -> Self {
        Self {
            database,
            consumer: consumer.to_owned(),
            known: Mutex::default(),
            suspects: AtomicUsize::new(0),
        }
    }

    /// Begins a session. If the group may have lost a process, the next `window` events are suspect:
    /// that many may have been under way.
    pub(super) async fn begin_session(&self, session: &str, window: usize) -> Result<()> {
        let Some(database) = &self.database else { return Ok(()) };
        if session::begin(database, &self.consumer, session).await? {
            self.suspects.store(window, Ordering::Relaxed);
        }
        *self.known() = tried::load_all(database, &self.consumer).await?;
        Ok(())
    }

    /// Whether the next event may be one that ended a process.
    pub(super) fn is_suspect(&self) -> bool {
        let less = |left: usize| left.checked_sub(1);
        self.suspects.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    /// What is known of an event; `None` if it has not failed as far as this process knows.
    pub(super) fn take(&self, event: &Envelope) -> Option<Tried> {
        self.known().remove(&event.id)
    }

    /// Keeps what is known of an event that is delivered again later.
    pub(super) fn put_back(&self, event: &Envelope, tried: Tried) {
        self.known().insert(event.id.clone(), tried);
    }

    /// Writes down that an attempt begins, for it may end the process.
    pub(super) async fn begin(&self, event: &Envelope, tried: &mut Tried) -> Result<()> {
        match &self.database {
            Some(database) => tried::begin(database, &self.consumer, event, tried).await,
            None => Ok(()),
        }
    }

    /// What other processes know of an event that has failed here for the first time.
    pub(super) async fn recall(&self, event: &Envelope) -> Tried {
        let Some(database) = &self.database else { return Tried::default() };
        match tried::load(database, &self.consumer, &event.id).await {
            Ok(tried) => tried.unwrap_or_default(),
            Err(_) => Tried::default(),
        }
    }

    /// Writes down an attempt that failed. Where that cannot be written, this process still counts.
    pub(super) async fn save(&self, event: &Envelope, tried: &Tried) {
        let Some(database) = &self.database else { return };
        if let Err(error) = tried::save(database, &self.consumer, event, tried).await {
            tracing::debug!(
                consumer = self.consumer,
                event_id = event.id,
                error = error.with_causes(),
                "a failed attempt is counted in memory only"
            );
        }
    }

    /// Forgets an event that is settled. A row that stays counts for nothing, and is pruned.
    pub(super) async fn forget(&self, event: &Envelope) {
        let Some(database) = &self.database else { return };
        if let Err(error) = tried::forget(database, &self.consumer, &event.id).await {
            tracing::debug!(
                consumer = self.consumer,
                event_id = event.id,
                error = error.with_causes(),
                "the failed attempts of a settled event are kept"
            );
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<String, Tried>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
