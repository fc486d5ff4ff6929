//! Use cases: what can be done with roles, bindings and decisions. Decides; knows neither wire nor
//! database.

mod bindings;
mod catalogue;
mod decisions;
mod members;
mod roles;

use std::sync::Arc;

use chrono::{DateTime, SubsecRound as _, Utc};
use mainstay::kernel::error::PERMISSION_DENIED;
use mainstay::kernel::{Error, Result};

use crate::domain::{GrantSet, PermissionPattern, Store, Subject};

/// The use cases, over their ports.
pub struct App {
    store: Arc<dyn Store>,
    max_bindings_per_subject: u64,
}

impl App {
    /// The use cases over a store. A subject gets at most so many bindings, because each decision
    /// reads all bindings of its subject.
    pub fn new(store: Arc<dyn Store>, max_bindings_per_subject: u64) -> Self {
        Self { store, max_bindings_per_subject }
    }
}

/// The time in the precision in which it is stored, so that a role reads the same ever after.
fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}

/// Nobody grants what they do not hold everywhere: otherwise whoever may create roles or bindings
/// could make themselves administrator.
fn require_held(held: &GrantSet, caller: &Subject, wanted: &[PermissionPattern]) -> Result<()> {
    match held.first_not_held(caller, wanted) {
        None => Ok(()),
        Some(pattern) => {
            let pattern = pattern.as_str();
            let message = format!("you may not grant what you do not hold: {pattern}");
            Err(Error::new(PERMISSION_DENIED, message).detail("permission", pattern))
        }
    }
}
