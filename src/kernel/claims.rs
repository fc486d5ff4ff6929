//! Claims: whoever is first to write something under a key, and what was written.
//!
//! Unlike what a cache holds, a claim must not be forgotten before its time, so a store that cannot
//! keep it refuses: nobody may take a thing for unclaimed that is not. Claims survive the end of the
//! process that made them. What is written is the claimant's to read; the store knows nothing of it.

mod folder;
mod shared;

use std::time::Duration;

use async_trait::async_trait;

use crate::kernel::error::Result;

pub use folder::FolderClaims;
pub use shared::SharedClaims;

/// Keeps claims. Keys are 1 to 128 letters, digits, `-` and `_`, since they name files too.
#[async_trait]
pub trait Claims: Send + Sync {
    /// Writes `value` under `key` for `keep`, if there is nothing: of any number who try at once, one
    /// succeeds. `None` to that one; to the others what is there. Each claimant's `value` is to be its
    /// own, so that its claim can be told from any other. Who stops waiting for the answer may leave a
    /// claim behind.
    ///
    /// # Errors
    /// `UNAVAILABLE` when that cannot be decided now. The claim may have been made then; if so, it is
    /// taken back as soon as the store can be asked again.
    async fn claim(&self, key: &str, value: &[u8], keep: Duration) -> Result<Option<Vec<u8>>>;

    /// Puts `value` in the place of what the claimant wrote before, for `keep` from now on.
    ///
    /// # Errors
    /// `UNAVAILABLE` when it cannot be written now; what was there may be there still.
    async fn replace(&self, key: &str, value: &[u8], keep: Duration) -> Result<()>;

    /// Gives up the claim of which `value` was written last, so that another can be made. Anything else
    /// stays: a command that is carried out late takes nothing from whoever came since.
    ///
    /// # Errors
    /// `UNAVAILABLE` when it cannot be given up now.
    async fn release(&self, key: &str, value: &[u8]) -> Result<()>;
}
