//! A transaction: begun by a call or a job, or joined inside a consumer's handler.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use sea_orm::DatabaseTransaction;
use tokio::sync::OwnedSemaphorePermit;

use super::Database;
use crate::kernel::error::Result;
use crate::kernel::events::{Event, audit, outbox};
use crate::kernel::failpoint::Failpoint;
use crate::kernel::jobs::{self, JobId, NewJob};
use crate::kernel::saga::{self, NewSaga};

/// A transaction. Dropped without [`commit`](Self::commit) it rolls back.
#[must_use = "a transaction that is not committed rolls back"]
pub struct Transaction(Kind);

enum Kind {
    Own(Open),
    Joined(Joined),
}

impl Transaction {
    pub(crate) fn own(open: Open) -> Self {
        Self(Kind::Own(open))
    }

    pub(crate) fn joined(shared: Arc<Shared>) -> Self {
        Self(Kind::Joined(Joined { shared, committed: false }))
    }

    /// Where statements of this transaction run.
    pub fn connection(&self) -> &DatabaseTransaction {
        &self.open().transaction
    }

    /// Publishes an event together with this transaction: it goes out once this commits, and never
    /// if it does not. Actor, request id and trace are those of the call or event being handled. An
    /// event that no contract declares is refused.
    pub async fn publish<E: Event>(&self, event: &E) -> Result<()> {
        outbox::append(self.open(), event).await
    }

    /// Enqueues a job together with this transaction: it is due once this commits, and never if it
    /// does not. `None` when a job of its name with its key waits or runs already.
    pub async fn enqueue(&self, job: NewJob) -> Result<Option<JobId>> {
        jobs::append(self.open(), job).await
    }

    /// Begins a saga together with this transaction; `false` when one of its name and id was begun
    /// before.
    pub async fn begin_saga(&self, saga: NewSaga) -> Result<bool> {
        saga::begin(self, saga).await
    }

    /// Has whoever follows the service's state look at it once this commits: see [`News`].
    ///
    /// [`News`]: super::News
    pub fn announce(&self) {
        self.open().announced.store(true, Ordering::Relaxed);
    }

    /// Commits, and with it the audit record if the call being served is audited. A joined
    /// transaction commits when the consumer's handler has succeeded.
    pub async fn commit(self) -> Result<()> {
        match self.0 {
            Kind::Own(open) => {
                let record = audit::append_success(&open).await?;
                open.commit().await?;
                record.keep();
                Ok(())
            }
            Kind::Joined(mut joined) => {
                joined.committed = true;
                Ok(())
            }
        }
    }

    fn open(&self) -> &Open {
        match &self.0 {
            Kind::Own(open) => open,
            Kind::Joined(joined) => &joined.shared.open,
        }
    }
}

/// A database transaction that is under way.
pub(crate) struct Open {
    transaction: DatabaseTransaction,
    database: Database,
    published: AtomicBool,
    enqueued: AtomicBool,
    announced: AtomicBool,
    // Last, so that the next one's turn begins after this one's rollback has begun.
    _turns: Vec<OwnedSemaphorePermit>,
}

impl Open {
    pub(super) fn new(
        transaction: DatabaseTransaction,
        database: Database,
        turns: Vec<OwnedSemaphorePermit>,
    ) -> Self {
        Self {
            transaction,
            database,
            published: AtomicBool::new(false),
            enqueued: AtomicBool::new(false),
            announced: AtomicBool::new(false),
            _turns: turns,
        }
    }

    pub(crate) fn connection(&self) -> &DatabaseTransaction {
        &self.transaction
    }

    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    /// Notes that an outbox row was written, so that the relay is woken by the commit.
    pub(crate) fn note_published(&self) {
        self.published.store(true, Ordering::Relaxed);
    }

    /// Notes that a job was enqueued, so that the runner is woken by the commit.
    pub(crate) fn note_enqueued(&self) {
        self.enqueued.store(true, Ordering::Relaxed);
    }

    pub(crate) async fn commit(self) -> Result<()> {
        let publishes = self.published.into_inner();
        if publishes {
            Failpoint::BeforeCommit.pass();
        }
        self.transaction.commit().await?;
        if self.announced.into_inner() {
            self.database.tell_news().await;
        }
        if publishes {
            Failpoint::AfterCommit.pass();
            self.database.wake_relay().await;
        }
        if self.enqueued.into_inner() {
            self.database.job_enqueued().notify_one();
        }
        Ok(())
    }

    pub(crate) async fn rollback(self) -> Result<()> {
        Ok(self.transaction.rollback().await?)
    }
}

/// A consumer's transaction, which its handler joins any number of times.
pub(crate) struct Shared {
    pub(super) open: Open,
    /// How many joined transactions were committed.
    pub(super) committed: AtomicUsize,
    /// How many were dropped without: their writes must not stay.
    pub(super) abandoned: AtomicUsize,
}

impl Shared {
    pub(super) fn new(open: Open) -> Arc<Self> {
        Arc::new(Self { open, committed: AtomicUsize::new(0), abandoned: AtomicUsize::new(0) })
    }
}

struct Joined {
    shared: Arc<Shared>,
    committed: bool,
}

impl Drop for Joined {
    fn drop(&mut self) {
        let count = if self.committed { &self.shared.committed } else { &self.shared.abandoned };
        count.fetch_add(1, Ordering::Relaxed);
    }
}
