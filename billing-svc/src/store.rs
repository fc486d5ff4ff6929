//! The database: rows, queries and migrations. Implements the ports that billing keeps things in.

mod migrations;
mod plans;
mod reports;
mod row;
mod subscriptions;

use mainstay::kernel::database::Database;

pub use migrations::migrations;

/// Subscriptions in the service's own database.
#[derive(Clone)]
pub struct Store {
    database: Database,
    provider: &'static str,
}

impl Store {
    /// A store on `database`; subscriptions that a report creates are kept by `provider`.
    pub fn new(database: Database, provider: &'static str) -> Self {
        Self { database, provider }
    }
}
