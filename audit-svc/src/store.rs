//! The chain in the service's own database.
//!
//! | table | one row for each |
//! |---|---|
//! | `audit_event` | record, in its place of the chain |
//! | `chain_head` | one row: place, hash and record of the newest entry; also the lock for appending |
//!
//! There is no statement here that changes or removes a record, and the database itself refuses
//! those. Whoever owns the database can lift that; then verification finds what they changed.

mod append;
mod entity;
mod migration;
mod read;

use async_trait::async_trait;
use mainstay::kernel::Result;
use mainstay::kernel::database::Database;

use crate::domain::{Entry, Head, Record, RecordFilter, Stored, Trail};
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
}
