//! Reading the trail.

use mainstay::kernel::{Error, Result};

use super::App;
use crate::domain::{Entry, RecordFilter};

/// Which page of which records.
#[derive(Clone, Debug, Default)]
pub struct RecordQuery {
    /// Which records.
    pub filter: RecordFilter,
    /// Place of the last record seen.
    pub before: Option<i64>,
    /// The most records to return.
    pub limit: u64,
    /// Whether all matching records are counted.
    pub include_total: bool,
}

/// What a query finds.
#[derive(Clone, Debug)]
pub struct Records {
    /// The records, newest first.
    pub entries: Vec<Entry>,
    /// How many match in all, when asked for.
    pub total: Option<u64>,
}

impl App {
    /// The record with this id.
    pub async fn record_get(&self, id: &str) -> Result<Entry> {
        let found = self.trail.entry_find(id).await?;
        found.ok_or_else(|| Error::not_found("audit event", id))
    }

    /// Records, newest first.
    pub async fn record_list(&self, query: &RecordQuery) -> Result<Records> {
        let entries = self.trail.entry_list(&query.filter, query.before, query.limit).await?;
        let total = match query.include_total {
            true => Some(self.trail.entry_count(&query.filter).await?),
            false => None,
        };
        Ok(Records { entries, total })
    }
}
