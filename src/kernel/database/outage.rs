//! Whether the server is away, found out once for the whole process.
//!
//! The pool cannot tell a server that is away from one that is about to answer: whoever asks it for
//! a connection waits as long as may be, and a call that was tried again would miss its deadline.
//! So one task looks, and while it knows of an outage calls and workers are refused at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sea_orm::DatabaseConnection;
use sea_orm::sqlx::postgres::PgConnection;
use sea_orm::sqlx::{Connection as _, Error as DriverError};
use tokio::time::timeout;

use super::Database;
use super::failure::sql_state;
use crate::kernel::error::{Error, Result};

/// How often it is looked whether the server is there.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// How often while it is away: so soon calls are taken again.
const RETURN_INTERVAL: Duration = Duration::from_millis(200);

/// How long the pool may take to answer before the server itself is asked.
const POOL_PATIENCE: Duration = Duration::from_secs(1);

/// How long the server may take, on a machine that is busy. One that is gone says so at once.
const SERVER_PATIENCE: Duration = Duration::from_secs(3);

/// What is known of the server.
#[derive(Default)]
pub(super) struct Outage(AtomicBool);

impl Outage {
    /// Refuses what would wait for a server that is known to be away.
    pub(super) fn refuse(&self) -> Result<()> {
        match self.is_on() {
            true => Err(Error::unavailable("the database is away")),
            false => Ok(()),
        }
    }

    fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, away: bool, location: &str) {
        match (self.0.swap(away, Ordering::Relaxed), away) {
            (false, true) => tracing::warn!(location, "the database is away"),
            (true, false) => tracing::info!(location, "the database is back"),
            _ => {}
        }
    }
}

/// Looks for outages, for ever. A SQLite file is never away.
pub(super) async fn watch(database: &Database) {
    if !database.is_postgres() {
        return std::future::pending().await;
    }
    let (outage, pool) = (&database.0.outage, &database.0.connection);
    loop {
        let interval = if outage.is_on() { RETURN_INTERVAL } else { LOOK_INTERVAL };
        tokio::time::sleep(interval).await;
        // A pool that is exhausted does not answer either, and that is no outage.
        let answers = !outage.is_on() && pool_answers(pool).await || server_answers(pool).await;
        outage.set(!answers, &database.0.location);
    }
}

async fn pool_answers(pool: &DatabaseConnection) -> bool {
    matches!(timeout(POOL_PATIENCE, pool.ping()).await, Ok(Ok(())))
}

/// Asks by a connection of its own.
async fn server_answers(pool: &DatabaseConnection) -> bool {
    let options = pool.get_postgres_connection_pool().connect_options();
    match timeout(SERVER_PATIENCE, PgConnection::connect_with(&options)).await {
        Ok(Ok(connection)) => {
            // Whether it closes in order tells nothing more.
            let _ = timeout(SERVER_PATIENCE, connection.close()).await;
            true
        }
        Ok(Err(error)) => refuses_us_alone(&error),
        Err(_) => false,
    }
}

/// A server that has no connection free, or no longer knows our password, is there: others may be
/// served, and calls are told what is wrong by what they try.
fn refuses_us_alone(error: &DriverError) -> bool {
    sql_state(error).is_some_and(|state| state.starts_with("53") || state.starts_with("28"))
}
