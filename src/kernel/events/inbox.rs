//! The inbox: which events a consumer has handled. A row commits together with the effect.

use std::time::Duration;

use prost_reflect::DescriptorPool;
use sea_orm::sea_query::{ColumnDef, Expr, ExprTrait as _, Index, OnConflict, Query, Table};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr, DeriveIden};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

use super::{micros, now_micros};
use crate::kernel::database::Database;
use crate::kernel::error::{Error, Result};
use crate::kernel::policy::EventCatalog;
use crate::kernel::settings::EventSettings;

/// The inbox remembers this many times longer than the bus keeps records.
const RETENTION_FACTOR: u32 = 2;

#[derive(DeriveIden)]
enum Inbox {
    Table,
    Consumer,
    EventId,
    /// Unix microseconds.
    ProcessedAt,
}

/// Writes the row; `false` when it is there already.
pub(crate) async fn insert(
    transaction: &DatabaseTransaction,
    consumer: &str,
    event_id: &str,
) -> Result<bool> {
    let statement = Query::insert()
        .into_table(Inbox::Table)
        .columns([Inbox::Consumer, Inbox::EventId, Inbox::ProcessedAt])
        .values([consumer.into(), event_id.into(), now_micros().into()])
        .map_err(Error::internal)?
        .on_conflict(OnConflict::columns([Inbox::Consumer, Inbox::EventId]).do_nothing().to_owned())
        .take();
    Ok(transaction.execute(&statement).await?.rows_affected() == 1)
}

/// Whether the event was handled; saves most repeated deliveries a transaction.
pub(crate) async fn contains(database: &Database, consumer: &str, event_id: &str) -> Result<bool> {
    let query = Query::select()
        .expr(Expr::val(1))
        .from(Inbox::Table)
        .and_where(Expr::col(Inbox::Consumer).eq(consumer))
        .and_where(Expr::col(Inbox::EventId).eq(event_id))
        .take();
    Ok(database.connection().query_one(&query).await?.is_some())
}

/// Takes the row away, so that the consumer takes the event once more: for a replay.
pub(crate) async fn remove(
    transaction: &DatabaseTransaction,
    consumer: &str,
    event_id: &str,
) -> Result<()> {
    let statement = Query::delete()
        .from_table(Inbox::Table)
        .and_where(Expr::col(Inbox::Consumer).eq(consumer))
        .and_where(Expr::col(Inbox::EventId).eq(event_id))
        .take();
    transaction.execute(&statement).await?;
    Ok(())
}

/// How long the inbox remembers: longer than the bus can deliver anything again, whatever the
/// contracts say that a topic keeps.
pub(crate) fn retention(
    pool: &DescriptorPool,
    settings: &EventSettings,
) -> anyhow::Result<Duration> {
    let catalog = EventCatalog::compile(pool)?;
    let topics = catalog.topics();
    let kept = topics.iter().filter_map(|topic| catalog.topic(topic)?.retention);
    let longest = kept.chain([settings.retention]).max().unwrap_or_default();
    Ok(longest.saturating_mul(RETENTION_FACTOR))
}

/// Forgets what was handled longer ago than `retention`, which must exceed how long the bus keeps
/// records: what it forgets could otherwise be delivered again.
pub(crate) async fn prune(database: &Database, retention: Duration) -> Result<u64> {
    let statement = Query::delete()
        .from_table(Inbox::Table)
        .and_where(Expr::col(Inbox::ProcessedAt).lt(now_micros().saturating_sub(micros(retention))))
        .take();
    let open = database.begin_own().await?;
    let removed = open.connection().execute(&statement).await?.rows_affected();
    open.commit().await?;
    Ok(removed)
}

/// Creates the inbox.
pub(crate) struct CreateInbox;

impl MigrationName for CreateInbox {
    fn name(&self) -> &str {
        "kernel_0002_create_inbox"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateInbox {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table(Inbox::Table)
            .col(ColumnDef::new(Inbox::Consumer).text().not_null())
            .col(ColumnDef::new(Inbox::EventId).text().not_null())
            .col(ColumnDef::new(Inbox::ProcessedAt).big_integer().not_null())
            .primary_key(Index::create().col(Inbox::Consumer).col(Inbox::EventId))
            .take();
        manager.create_table(table).await?;
        let index = Index::create()
            .name("inbox_processed_at")
            .table(Inbox::Table)
            .col(Inbox::ProcessedAt)
            .take();
        manager.create_index(index).await
    }
}
