//! The chain in the service's own database.
//!
//! | table | one row for each |
//! |---|---|
//! | `audit_event` | record, in its place of the chain |
//! | `chain_head` | one row: place, hash and record of the newest entry; also the lock for appending |
//! | `chain_mark` | place up to which the chain was verified, sealed |
//! | `chain_finding` | one row at most: what the last complete verification found |
//!
//! There is no statement here that changes or removes a record, and the database itself refuses
//! those. Whoever owns the database can lift that; then verification finds what they changed.

mod append;
mod entity;
mod mark;
mod migration;
mod read;

use async_trait::async_trait;
use mainstay::kernel::Result;
use mainstay::kernel::database::Database;

use crate::domain::{Entry, Finding, Head, Mark, MarkKind, Record, RecordFilter, Stored, Trail};
pub use migration::migrations;

/// [`Trail`] over the service's database.
#[derive(Clone)]
pub struct DatabaseTrail {
    database: Database,
}

impl DatabaseTrail {
    /// The trail in this database.
    pub fn new(database: Database) -> Self {
        Self { database }
    }
}

#[async_trait]
impl Trail for DatabaseTrail {
    async fn record_append(&self, record: &Record) -> Result<bool> {
        let transaction = self.database.begin().await?;
        let appended = append::append(transaction.connection(), record).await?;
        transaction.commit().await?;
        Ok(appended)
    }

    async fn entry_find(&self, record_id: &str) -> Result<Option<Entry>> {
        read::find(self.database.connection(), record_id).await
    }

    async fn entry_list(
        &self,
        filter: &RecordFilter,
        before: Option<i64>,
        limit: u64,
    ) -> Result<Vec<Entry>> {
        read::list(self.database.connection(), filter, before, limit).await
    }

    async fn entry_count(&self, filter: &RecordFilter) -> Result<u64> {
        read::count(self.database.connection(), filter).await
    }

    async fn head_read(&self) -> Result<Head> {
        let head = read::head(self.database.connection()).await?;
        Ok(head.unwrap_or_else(Head::genesis))
    }

    async fn chain_read(&self, after: i64, last: i64, limit: u64) -> Result<Vec<Stored>> {
        read::chain(self.database.connection(), after, last, limit).await
    }

    async fn chain_beyond_head(&self) -> Result<Option<Stored>> {
        read::beyond_head(self.database.connection()).await
    }

    async fn mark_read(&self, kind: MarkKind) -> Result<Option<Mark>> {
        mark::read(self.database.connection(), kind).await
    }

    async fn mark_write(&self, kind: MarkKind, mark: &Mark) -> Result<()> {
        let transaction = self.database.begin().await?;
        mark::write(transaction.connection(), kind, mark).await?;
        transaction.commit().await
    }

    async fn finding_read(&self) -> Result<Option<Finding>> {
        mark::finding_read(self.database.connection()).await
    }

    async fn pass_end(&self, verified: &Mark, finding: Option<&Finding>) -> Result<()> {
        let transaction = self.database.begin().await?;
        let connection = transaction.connection();
        mark::write(connection, MarkKind::Verified, verified).await?;
        mark::delete(connection, MarkKind::Pass).await?;
        mark::finding_replace(connection, finding).await?;
        transaction.commit().await
    }
}
