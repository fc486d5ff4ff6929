//! Recording what happened.

use mainstay::kernel::Result;

use super::App;
use crate::domain::Record;

impl App {
    /// Appends a record to the trail. Repeating it changes nothing.
    pub async fn record(&self, record: &Record) -> Result<()> {
        if !self.trail.record_append(record).await? {
            tracing::debug!(record_id = record.id, "recorded already");
        }
        Ok(())
    }
}
