//! The use cases: record, read, verify.

mod read;
mod record;
mod verify;

use std::sync::Arc;

use crate::domain::Trail;

pub use read::{RecordQuery, Records};

/// What audit can do.
pub struct App {
    trail: Arc<dyn Trail>,
    verify_batch_size: u64,
}

impl App {
    /// The use cases over their port. Verification reads so many records at a time.
    pub fn new(trail: Arc<dyn Trail>, verify_batch_size: u64) -> Self {
        Self { trail, verify_batch_size }
    }
}
