//! Hearing that something in the service's database has changed, for those who tell others of it.
//!
//! A commit in this process is heard at once; on PostgreSQL those of other processes as well, by a
//! notification that is sent after the commit. One that is lost is no loss of data: whoever listens
//! looks by itself from time to time.

use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;

use super::{Database, Topic};
use crate::kernel::error::Result;

/// The wait before a connection to listen on is made again.
const RETRY: Duration = Duration::from_millis(500);

/// Word of commits that were announced. One for each process: who waits takes the word away.
#[derive(Debug)]
pub struct News {
    database: Database,
    _listener: AbortOnDropHandle<()>,
}

impl News {
    pub(super) fn of(database: Database) -> Self {
        let listener = AbortOnDropHandle::new(tokio::spawn(listen(database.clone())));
        Self { database, _listener: listener }
    }

    /// Waits for the next one; several commits may be one word. Safe to cancel.
    pub async fn next(&self) {
        self.database.0.changed.notified().await;
    }
}

/// Hands on what other processes tell, for ever.
async fn listen(database: Database) {
    if !database.is_postgres() {
        return;
    }
    loop {
        if let Err(error) = hear(&database).await {
            tracing::debug!(%error, "cannot listen for changes of other processes");
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn hear(database: &Database) -> Result<()> {
    let mut listener = database.listen(Topic::News).await?;
    loop {
        // What came while nobody listened is found by looking.
        database.0.changed.notify_one();
        listener.next().await?;
    }
}
