//! Telling other processes of the same service that the outbox has news, or that what they follow
//! has changed, on PostgreSQL.
//!
//! The notification is sent after the commit, in a transaction of its own: within the writer's it
//! would make all commits of the server wait for each other. One that is lost, because the process
//! died in between, costs the time until the listener looks by itself.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use sea_orm::sqlx::{
    self,
    postgres::{PgListener, PgPoolOptions},
};
use sea_orm::{DatabaseConnection, DbErr, RuntimeErr};

use super::postgres::schema_of;
use crate::kernel::error::Result;

/// What is told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Topic {
    /// The outbox has rows.
    Outbox,
    /// What others follow has changed.
    News,
}

impl Topic {
    /// What is listened for: one channel for each schema.
    fn channel(self, schema: &str) -> String {
        let prefix = match self {
            Self::Outbox => "mainstay_outbox_",
            Self::News => "mainstay_news_",
        };
        format!("{prefix}{schema}")
    }
}

/// The relays of a database.
#[derive(Default)]
pub(super) struct Relays {
    /// How many this process runs: with one, nobody else needs to be woken.
    here: AtomicUsize,
    /// There are none anywhere: change data capture does their work.
    off: AtomicBool,
}

/// A relay that runs.
pub(crate) struct Present<'a>(&'a Relays);

impl Relays {
    pub(super) fn arrive(&self) -> Present<'_> {
        self.here.fetch_add(1, Ordering::Relaxed);
        Present(self)
    }

    pub(super) fn switch_off(&self) {
        self.off.store(true, Ordering::Relaxed);
    }

    /// Whether those of other processes are to be woken.
    pub(super) fn are_elsewhere(&self) -> bool {
        self.here.load(Ordering::Relaxed) == 0 && !self.off.load(Ordering::Relaxed)
    }
}

impl Drop for Present<'_> {
    fn drop(&mut self) {
        self.0.here.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Notifications of other processes.
pub(crate) struct Listener(PgListener);

impl Listener {
    /// Listens on a connection beside the pool, with the pool's settings.
    pub(super) async fn open(pool: &DatabaseConnection, topic: Topic) -> Result<Self> {
        let options = (*pool.get_postgres_connection_pool().connect_options()).clone();
        let channel = topic.channel(schema_of(&options));
        let own = PgPoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_lazy_with(options);
        let mut listener = PgListener::connect_with(&own).await.map_err(away)?;
        listener.listen(&channel).await.map_err(away)?;
        Ok(Self(listener))
    }

    /// Waits for the next one; fails when the connection is lost.
    pub(crate) async fn next(&mut self) -> Result<()> {
        match self.0.try_recv().await.map_err(away)? {
            Some(_) => Ok(()),
            None => Err(away(sqlx::Error::WorkerCrashed)),
        }
    }
}

/// Wakes those who listen in other processes.
pub(super) async fn send(pool: &DatabaseConnection, topic: Topic) {
    let pool = pool.get_postgres_connection_pool();
    let sent = sqlx::query("SELECT pg_notify($1, '')")
        .bind(topic.channel(schema_of(&pool.connect_options())))
        .execute(pool)
        .await;
    if let Err(error) = sent {
        tracing::debug!(%error, "cannot wake other processes");
    }
}

fn away(error: sqlx::Error) -> crate::kernel::error::Error {
    DbErr::Conn(RuntimeErr::SqlxError(error.into())).into()
}
