//! The tables of failed attempts and of sessions. Times are Unix microseconds.

use sea_orm::sea_query::{ColumnDef, Index, Table};
use sea_orm::{DbErr, DeriveIden};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

/// Events that failed and are not settled.
#[derive(DeriveIden)]
pub(crate) enum ConsumerAttempts {
    Table,
    Consumer,
    EventId,
    Topic,
    Type,
    Subject,
    /// How many attempts count.
    Attempts,
    /// The attempts, as JSON.
    History,
    /// When the attempt that is under way began; 0 where that was not written down.
    BegunAt,
    /// Which process makes it.
    BegunBy,
    UpdatedAt,
}

/// Processes that consume, until they end in order.
#[derive(DeriveIden)]
pub(crate) enum ConsumerSessions {
    Table,
    Consumer,
    Session,
    /// The process, for people.
    Instance,
    /// When it last said that it lives.
    SeenAt,
}

/// Creates both tables.
pub(crate) struct CreateAttempts;

impl MigrationName for CreateAttempts {
    fn name(&self) -> &str {
        "kernel_0003_create_consumer_attempts"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateAttempts {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let number = |column| ColumnDef::new(column).big_integer().not_null().default(0i64).take();
        let text = |column| ColumnDef::new(column).text().not_null().take();
        let attempts = Table::create()
            .table(ConsumerAttempts::Table)
            .col(text(ConsumerAttempts::Consumer))
            .col(text(ConsumerAttempts::EventId))
            .col(text(ConsumerAttempts::Topic))
            .col(text(ConsumerAttempts::Type))
            .col(text(ConsumerAttempts::Subject))
            .col(number(ConsumerAttempts::Attempts))
            .col(text(ConsumerAttempts::History))
            .col(number(ConsumerAttempts::BegunAt))
            .col(text(ConsumerAttempts::BegunBy))
            .col(number(ConsumerAttempts::UpdatedAt))
            .primary_key(
                Index::create().col(ConsumerAttempts::Consumer).col(ConsumerAttempts::EventId),
            )
            .take();
        manager.create_table(attempts).await?;
        let text = |column| ColumnDef::new(column).text().not_null().take();
        let sessions = Table::create()
            .table(ConsumerSessions::Table)
            .col(text(ConsumerSessions::Consumer))
            .col(text(ConsumerSessions::Session))
            .col(text(ConsumerSessions::Instance))
            .col(ColumnDef::new(ConsumerSessions::SeenAt).big_integer().not_null())
            .primary_key(
                Index::create().col(ConsumerSessions::Consumer).col(ConsumerSessions::Session),
            )
            .take();
        manager.create_table(sessions).await
    }
}
