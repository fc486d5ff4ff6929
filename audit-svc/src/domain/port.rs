//! What the use cases need of the outside.

use async_trait::async_trait;
use mainstay::kernel::Result;

use super::chain::{Entry, Head};
use super::mark::{Mark, MarkKind};
use super::record::{Record, RecordFilter};
use super::verify::Finding;

/// What stands in one place of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// An entry as it was written, or as somebody made it look.
    Entry(Box<Entry>),
    /// A row that no code of ours has written.
    Unreadable {
        /// Id of its record, as far as it can be read.
        record_id: String,
        /// Its place.
        sequence: i64,
    },
}

/// Where the chain is kept. There is no way to change or remove what was appended.
#[async_trait]
pub trait Trail: Send + Sync {
    /// Appends a record to the chain; answers false when there is one with its id already.
    async fn record_append(&self, record: &Record) -> Result<bool>;

    /// The entry of the record with this id.
    async fn entry_find(&self, record_id: &str) -> Result<Option<Entry>>;

    /// Up to `limit` entries, newest first, those before the place `before`.
    async fn entry_list(
        &self,
        filter: &RecordFilter,
        before: Option<i64>,
        limit: u64,
    ) -> Result<Vec<Entry>>;

    /// How many records match.
    async fn entry_count(&self, filter: &RecordFilter) -> Result<u64>;

    /// The newest end of the chain. `genesis` when even that was removed.
    async fn head_read(&self) -> Result<Head>;

    /// Up to `limit` entries in their order, those after the place `after` up to the place `last`.
    async fn chain_read(&self, after: i64, last: i64, limit: u64) -> Result<Vec<Stored>>;

    /// The first entry that stands behind the head of the same moment.
    async fn chain_beyond_head(&self) -> Result<Option<Stored>>;

    /// A mark as it is, sealed by whomever.
    async fn mark_read(&self, kind: MarkKind) -> Result<Option<Mark>>;

    /// Moves a mark, or makes it.
    async fn mark_write(&self, kind: MarkKind, mark: &Mark) -> Result<()>;

    /// What the last complete verification found.
    async fn finding_read(&self) -> Result<Option<Finding>>;

    /// Ends a verification from the beginning: notes when and where it ended and what it found, and
    /// removes the mark of the pass.
    async fn pass_end(&self, verified: &Mark, finding: Option<&Finding>) -> Result<()>;
}
