//! The broker's tables. Times are Unix microseconds.

use sea_orm::sea_query::{ColumnDef, Index, Table};
use sea_orm::{DbErr, DeriveIden};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

/// The log.
#[derive(DeriveIden)]
pub(super) enum Records {
    Table,
    /// Grows with every record and is never given twice.
    Offset,
    Topic,
    Key,
    Envelope,
    PublishedAt,
}

/// How far each group is: everything up to here is acknowledged.
#[derive(DeriveIden)]
pub(super) enum GroupOffsets {
    Table,
    ConsumerGroup,
    Topic,
    Offset,
}

/// Which subscription consumes for a group, to processes of the version before: now a file's lock
/// says it.
#[derive(DeriveIden)]
pub(super) enum GroupLeases {
    Table,
    ConsumerGroup,
    Owner,
    ExpiresAt,
}

/// What is stated about topics.
#[derive(DeriveIden)]
pub(super) enum Topics {
    Table,
    Name,
    /// Microseconds; none is the setting's.
    Retention,
    Compacted,
}

pub(super) fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    vec![Box::new(CreateLog), Box::new(CreateTopics)]
}

struct CreateTopics;

impl MigrationName for CreateTopics {
    fn name(&self) -> &str {
        "broker_0002_create_topics"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateTopics {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let topics = Table::create()
            .table(Topics::Table)
            .col(ColumnDef::new(Topics::Name).text().not_null().primary_key())
            .col(ColumnDef::new(Topics::Retention).big_integer())
            .col(ColumnDef::new(Topics::Compacted).boolean().not_null())
            .take();
        manager.create_table(topics).await?;
        let by_key = Index::create()
            .name("records_topic_key")
            .table(Records::Table)
            .col(Records::Topic)
            .col(Records::Key)
            .col(Records::Offset)
            .take();
        manager.create_index(by_key).await
    }
}

struct CreateLog;

impl MigrationName for CreateLog {
    fn name(&self) -> &str {
        "broker_0001_create_log"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateLog {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let records = Table::create()
            .table(Records::Table)
            .col(ColumnDef::new(Records::Offset).big_integer().auto_increment().primary_key())
            .col(ColumnDef::new(Records::Topic).text().not_null())
            .col(ColumnDef::new(Records::Key).text().not_null())
            .col(ColumnDef::new(Records::Envelope).blob().not_null())
            .col(ColumnDef::new(Records::PublishedAt).big_integer().not_null())
            .take();
        manager.create_table(records).await?;
        let by_topic = Index::create()
            .name("records_topic_offset")
            .table(Records::Table)
            .col(Records::Topic)
            .col(Records::Offset)
            .take();
        manager.create_index(by_topic).await?;
        let offsets = Table::create()
            .table(GroupOffsets::Table)
            .col(ColumnDef::new(GroupOffsets::ConsumerGroup).text().not_null())
            .col(ColumnDef::new(GroupOffsets::Topic).text().not_null())
            .col(ColumnDef::new(GroupOffsets::Offset).big_integer().not_null())
            .primary_key(Index::create().col(GroupOffsets::ConsumerGroup).col(GroupOffsets::Topic))
            .take();
        manager.create_table(offsets).await?;
        let leases = Table::create()
            .table(GroupLeases::Table)
            .col(ColumnDef::new(GroupLeases::ConsumerGroup).text().not_null().primary_key())
            .col(ColumnDef::new(GroupLeases::Owner).uuid().not_null())
            .col(ColumnDef::new(GroupLeases::ExpiresAt).big_integer().not_null())
            .take();
        manager.create_table(leases).await
    }
}
