//! What a failed statement means, whatever database said so.

use sea_orm::sqlx::Error as DriverError;
use sea_orm::{DatabaseConnection, DbBackend, DbErr, RuntimeErr};

use crate::kernel::error::{ABORTED, DEADLINE_EXCEEDED, Error};

/// Whether this is PostgreSQL.
pub(crate) fn is_postgres(connection: &DatabaseConnection) -> bool {
    connection.get_database_backend() == DbBackend::Postgres
}

/// Whether another writer was in the way, by SQLite's own words for its codes 5 and 6.
pub(crate) fn is_busy(error: &DbErr) -> bool {
    let text = error.to_string();
    text.contains("database is locked") || text.contains("database table is locked")
}

/// Tells what the caller may do about a failed statement: come back, try again, or nothing.
impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        if matches!(error, DbErr::ConnectionAcquire(_) | DbErr::Conn(_)) {
            return Self::unavailable("the database is away").because(error);
        }
        match meaning(&error) {
            Meaning::Away => Self::unavailable("the database is away").because(error),
            Meaning::Busy => Self::unavailable("the database is busy").because(error),
            Meaning::Conflict => {
                let message = "somebody changed the same thing at the same time; try again";
                Self::new(ABORTED, message).because(error)
            }
            Meaning::TooLong => {
                Self::new(DEADLINE_EXCEEDED, "the database took too long").because(error)
            }
            Meaning::Ours => Self::internal(error),
        }
    }
}

/// The SQLSTATE of a statement that the database refused.
pub(super) fn sql_state(error: &DriverError) -> Option<String> {
    error.as_database_error()?.code().map(|code| code.into_owned())
}

enum Meaning {
    /// The database ended, is starting, or the connection to it broke.
    Away,
    /// It has more to do than it takes.
    Busy,
    /// Two transactions were in each other's way and this one gave in.
    Conflict,
    /// The statement was cut off.
    TooLong,
    /// The statement was wrong: our own mistake.
    Ours,
}

fn meaning(error: &DbErr) -> Meaning {
    let driver = match error {
        DbErr::Exec(RuntimeErr::SqlxError(driver))
        | DbErr::Query(RuntimeErr::SqlxError(driver)) => driver,
        _ => return Meaning::Ours,
    };
    match &**driver {
        DriverError::Io(_) | DriverError::PoolClosed | DriverError::WorkerCrashed => {
            return Meaning::Away;
        }
        DriverError::PoolTimedOut => return Meaning::Busy,
        _ if is_busy(error) => return Meaning::Busy,
        _ => {}
    }
    // PostgreSQL's appendix A. SQLite's codes are numbers of other lengths.
    match sql_state(driver).as_deref() {
        Some("57P01" | "57P02" | "57P03" | "57P05" | "25P03") => Meaning::Away,
        Some("55P03") => Meaning::Busy,
        Some("40001" | "40P01") => Meaning::Conflict,
        Some("57014") => Meaning::TooLong,
        Some(code) if code.len() == 5 && code.starts_with("08") => Meaning::Away,
        Some(code) if code.len() == 5 && code.starts_with("53") => Meaning::Busy,
        _ => Meaning::Ours,
    }
}
