//! The use cases: record, read, verify.

mod checkpoint;
mod read;
mod record;
mod verify;

use std::sync::Arc;
use std::time::Duration;

use crate::domain::{Sealer, Trail};

pub use read::{RecordQuery, Records};

/// How verification goes about it.
#[derive(Clone, Copy, Debug)]
pub struct VerifyRules {
    /// How many records are read at a time.
    pub verify_batch_size: u64,
    /// How long a call walks the chain from its beginning.
    pub verify_budget: Duration,
    /// How long a call walks what is behind the checkpoint.
    pub tail_budget: Duration,
}

/// What audit can do.
pub struct App {
    trail: Arc<dyn Trail>,
    sealer: Sealer,
    rules: VerifyRules,
}

impl App {
    /// The use cases over their port.
    pub fn new(trail: Arc<dyn Trail>, sealer: Sealer, rules: VerifyRules) -> Self {
        Self { trail, sealer, rules }
    }
}
