//! The tables of dead letters and of events to be delivered once more. Times are Unix microseconds.

use sea_orm::sea_query::{ColumnDef, Index, Table};
use sea_orm::{DbErr, DeriveIden};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

use crate::kernel::events::redelivery::Redeliveries;

/// The letters.
#[derive(DeriveIden)]
pub(crate) enum DeadLetters {
    Table,
    /// Order of parking.
    Position,
    /// Id of the letter.
    Id,
    Consumer,
    EventId,
    Topic,
    Type,
    Subject,
    /// The event as it was delivered, in protobuf encoding.
    Envelope,
    State,
    /// Error code of the reason.
    Code,
    Reason,
    /// How many attempts count.
    Attempts,
    /// The attempts, as JSON.
    History,
    /// When it was parked, the last time.
    ParkedAt,
    UpdatedAt,
    /// Who replayed or discarded it.
    UpdatedBy,
    /// Why it was discarded.
    Note,
}

/// Creates both tables.
pub(crate) struct CreateDeadLetters;

impl MigrationName for CreateDeadLetters {
    fn name(&self) -> &str {
        "kernel_0004_create_dead_letters"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateDeadLetters {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let text = |column| ColumnDef::new(column).text().not_null().default("").take();
        let number = |column| ColumnDef::new(column).big_integer().not_null().default(0i64).take();
        let table = Table::create()
            .table(DeadLetters::Table)
            .col(ColumnDef::new(DeadLetters::Position).big_integer().auto_increment().primary_key())
            .col(ColumnDef::new(DeadLetters::Id).text().not_null().unique_key())
            .col(text(DeadLetters::Consumer))
            .col(text(DeadLetters::EventId))
            .col(text(DeadLetters::Topic))
            .col(text(DeadLetters::Type))
            .col(text(DeadLetters::Subject))
            .col(ColumnDef::new(DeadLetters::Envelope).blob().not_null())
            .col(text(DeadLetters::State))
            .col(text(DeadLetters::Code))
            .col(text(DeadLetters::Reason))
            .col(number(DeadLetters::Attempts))
            .col(text(DeadLetters::History))
            .col(number(DeadLetters::ParkedAt))
            .col(number(DeadLetters::UpdatedAt))
            .col(text(DeadLetters::UpdatedBy))
            .col(text(DeadLetters::Note))
            .take();
        manager.create_table(table).await?;
        manager.create_index(unique_event()).await?;
        manager.create_index(by_aggregate()).await?;
        create_redeliveries(manager).await
    }
}

fn unique_event() -> sea_orm::sea_query::IndexCreateStatement {
    Index::create()
        .name("dead_letters_event")
        .table(DeadLetters::Table)
        .col(DeadLetters::Consumer)
        .col(DeadLetters::EventId)
        .unique()
        .take()
}

fn by_aggregate() -> sea_orm::sea_query::IndexCreateStatement {
    Index::create()
        .name("dead_letters_aggregate")
        .table(DeadLetters::Table)
        .col(DeadLetters::Consumer)
        .col(DeadLetters::Topic)
        .col(DeadLetters::Subject)
        .col(DeadLetters::State)
        .take()
}

async fn create_redeliveries(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let table = Table::create()
        .table(Redeliveries::Table)
        .col(ColumnDef::new(Redeliveries::Position).big_integer().auto_increment().primary_key())
        .col(ColumnDef::new(Redeliveries::Consumer).text().not_null())
        .col(ColumnDef::new(Redeliveries::EventId).text().not_null())
        .col(ColumnDef::new(Redeliveries::Envelope).blob().not_null())
        .col(ColumnDef::new(Redeliveries::ClaimedUntil).big_integer().not_null().default(0i64))
        .col(ColumnDef::new(Redeliveries::ClaimedBy).text().not_null().default(""))
        .take();
    manager.create_table(table).await?;
    let index = Index::create()
        .name("redeliveries_event")
        .table(Redeliveries::Table)
        .col(Redeliveries::Consumer)
        .col(Redeliveries::EventId)
        .unique()
        .take();
    manager.create_index(index).await
}
