//! The outbox table. Times are Unix microseconds.

use sea_orm::sea_query::{ColumnDef, Index, Table};
use sea_orm::{ConnectionTrait as _, DbBackend, DbErr, DeriveIden};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

/// The table and its columns.
#[derive(DeriveIden)]
pub(crate) enum Outbox {
    Table,
    /// Order of insertion; for one aggregate that is the order of its changes, because its writers
    /// exclude each other.
    Position,
    /// Id of the event.
    Id,
    Aggregatetype,
    Aggregateid,
    Type,
    Payload,
    Topic,
    Source,
    Traceparent,
    Tracestate,
    Actor,
    RequestId,
    CreatedAt,
    /// How often publishing failed.
    Attempts,
    /// Why the last attempt failed.
    LastError,
    /// Not to be published before.
    NextAttemptAt,
    /// The claim under which a relay publishes it.
    ClaimedBy,
    /// When that claim lapses.
    ClaimedUntil,
}

/// Creates the outbox.
pub(crate) struct CreateOutbox;

impl MigrationName for CreateOutbox {
    fn name(&self) -> &str {
        "kernel_0001_create_outbox"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateOutbox {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let text = |column| ColumnDef::new(column).text().not_null().take();
        let number = |column| ColumnDef::new(column).big_integer().not_null().default(0i64).take();
        let table = Table::create()
            .table(Outbox::Table)
            .col(ColumnDef::new(Outbox::Position).big_integer().auto_increment().primary_key())
            .col(ColumnDef::new(Outbox::Id).uuid().not_null().unique_key())
            .col(text(Outbox::Aggregatetype))
            .col(text(Outbox::Aggregateid))
            .col(text(Outbox::Type))
            .col(ColumnDef::new(Outbox::Payload).blob().not_null())
            .col(text(Outbox::Topic))
            .col(text(Outbox::Source))
            .col(text(Outbox::Traceparent))
            .col(text(Outbox::Actor))
            .col(text(Outbox::RequestId))
            .col(number(Outbox::CreatedAt))
            .col(ColumnDef::new(Outbox::Attempts).integer().not_null().default(0i32))
            .col(number(Outbox::NextAttemptAt))
            .col(ColumnDef::new(Outbox::ClaimedBy).uuid())
            .col(number(Outbox::ClaimedUntil))
            .take();
        manager.create_table(table).await?;
        let index = Index::create()
            .name("outbox_aggregate")
            .table(Outbox::Table)
            .col(Outbox::Aggregatetype)
            .col(Outbox::Aggregateid)
            .col(Outbox::Position)
            .take();
        manager.create_index(index).await
    }
}

/// Adds why publishing failed.
pub(crate) struct AddLastError;

impl MigrationName for AddLastError {
    fn name(&self) -> &str {
        "kernel_0005_add_outbox_last_error"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for AddLastError {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = ColumnDef::new(Outbox::LastError).text().not_null().default("").take();
        manager.alter_table(Table::alter().table(Outbox::Table).add_column(column).take()).await
    }
}

/// Adds what tracing systems add to a trace. Whoever does not know it writes none.
pub(crate) struct AddTracestate;

impl MigrationName for AddTracestate {
    fn name(&self) -> &str {
        "kernel_0007_add_outbox_tracestate"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for AddTracestate {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = ColumnDef::new(Outbox::Tracestate).text().not_null().default("").take();
        manager.alter_table(Table::alter().table(Outbox::Table).add_column(column).take()).await
    }
}

/// The relay reads rows in the order of the table alone: the index by aggregate only costs writers.
/// On PostgreSQL rows come and go all the time, so what is gone is cleared away early, whatever the
/// table's size.
pub(crate) struct ReadInOrder;

impl MigrationName for ReadInOrder {
    fn name(&self) -> &str {
        "kernel_0006_read_outbox_in_order"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for ReadInOrder {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let index = Index::drop().name("outbox_aggregate").table(Outbox::Table).to_owned();
        manager.drop_index(index).await?;
        if manager.get_database_backend() == DbBackend::Postgres {
            let vacuum = "ALTER TABLE outbox SET (autovacuum_vacuum_scale_factor = 0, \
                          autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0)";
            manager.get_connection().execute_unprepared(vacuum).await?;
        }
        Ok(())
    }
}
