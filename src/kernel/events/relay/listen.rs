//! Waking the relay from another process: `LISTEN` on a connection of its own.

use std::time::Duration;

use crate::kernel::database::{Database, Topic};
use crate::kernel::error::Result;

/// Wakes the relay on every notification, for ever. Without one the relay looks by itself, so a
/// connection that is lost costs no more than time; it is made again.
pub(super) async fn wake_on_notify(database: &Database, retry: Duration) {
    if !database.is_postgres() {
        return std::future::pending().await;
    }
    loop {
        if let Err(error) = listen(database).await {
            tracing::debug!(%error, "cannot listen for events of other processes");
        }
        tokio::time::sleep(retry).await;
    }
}

async fn listen(database: &Database) -> Result<()> {
    let mut listener = database.listen(Topic::Outbox).await?;
    loop {
        // What came while nobody listened is found by looking.
        database.outbox_written().notify_one();
        listener.next().await?;
    }
}
