//! Accounts, sessions, API keys and signing keys in the service's own database. Implements the ports of the domain with
//! sea-orm.

mod account;
mod api_key;
mod end;
mod entity;
mod grants;
mod key;
mod migration;
mod seal;
mod session;

use chrono::{DateTime, Utc};
use mainstay::kernel::Error;
use mainstay::kernel::database::Database;
use sea_orm::DbErr;

use crate::domain::AuthError;
pub use migration::migrations;
pub use seal::Sealer;

/// The ports of the domain over the service's database.
#[derive(Clone)]
pub struct DatabaseStore {
    database: Database,
    sealer: Sealer,
}

impl DatabaseStore {
    /// A store in this database, whose signing keys go through `sealer`.
    pub fn new(database: Database, sealer: Sealer) -> Self {
        Self { database, sealer }
    }
}

impl From<DbErr> for AuthError {
    fn from(error: DbErr) -> Self {
        Error::from(error).into()
    }
}

impl From<Error> for AuthError {
    fn from(error: Error) -> Self {
        Self::Failed(error.into())
    }
}

/// A time as it is stored: microseconds since 1970, which order alike on every database.
fn micros(time: DateTime<Utc>) -> i64 {
    time.timestamp_micros()
}

fn stored_time(micros: i64) -> Result<DateTime<Utc>, AuthError> {
    DateTime::from_timestamp_micros(micros)
        .ok_or_else(|| AuthError::failed(anyhow::anyhow!("{micros} is no time")))
}
