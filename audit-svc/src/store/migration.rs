//! The tables, built up step by step. A step that was released is never changed.

use sea_orm::{ConnectionTrait as _, DbBackend, DbErr};
use sea_orm_migration::prelude::*;

use super::entity::chain_head::ROW;
use crate::domain::Head;

/// The steps in order.
pub fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    vec![Box::new(CreateTrail), Box::new(CreateMarks)]
}

/// What makes SQLite refuse to change or remove a record.
const APPEND_ONLY_SQLITE: [&str; 2] = [
    "CREATE TRIGGER audit_event_no_update BEFORE UPDATE ON audit_event \
     BEGIN SELECT RAISE(ABORT, 'audit records are never changed'); END",
    "CREATE TRIGGER audit_event_no_delete BEFORE DELETE ON audit_event \
     BEGIN SELECT RAISE(ABORT, 'audit records are never removed'); END",
];

/// The same for PostgreSQL, where emptying a table is a statement of its own.
const APPEND_ONLY_POSTGRES: [&str; 3] = [
    "CREATE FUNCTION audit_event_refuse() RETURNS trigger LANGUAGE plpgsql AS \
     $$ BEGIN RAISE EXCEPTION 'audit records are never %', TG_ARGV[0]; END $$",
    "CREATE TRIGGER audit_event_no_update BEFORE UPDATE ON audit_event \
     FOR EACH STATEMENT EXECUTE FUNCTION audit_event_refuse('changed')",
    "CREATE TRIGGER audit_event_no_delete BEFORE DELETE OR TRUNCATE ON audit_event \
     FOR EACH STATEMENT EXECUTE FUNCTION audit_event_refuse('removed')",
];

/// The records, the head of their chain, and what guards them.
struct CreateTrail;

impl MigrationName for CreateTrail {
    fn name(&self) -> &str {
        "audit_0001_create_trail"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateTrail {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(audit_event()).await?;
        let filters = [
            ("audit_event_actor", AuditEvent::Actor),
            ("audit_event_action", AuditEvent::Action),
            ("audit_event_resource", AuditEvent::Resource),
            ("audit_event_time", AuditEvent::Time),
        ];
        for (name, column) in filters {
            manager.create_index(filter_index(name, column)).await?;
        }
        manager.create_table(chain_head()).await?;
        let connection = manager.get_connection();
        connection.execute(&first_head()?).await?;
        let append_only: &[&str] = match manager.get_database_backend() {
            DbBackend::Sqlite => &APPEND_ONLY_SQLITE,
            _ => &APPEND_ONLY_POSTGRES,
        };
        for statement in append_only {
            connection.execute_unprepared(statement).await?;
        }
        Ok(())
    }
}

/// How far the chain was verified, and what that found.
struct CreateMarks;

impl MigrationName for CreateMarks {
    fn name(&self) -> &str {
        "audit_0002_create_marks"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateMarks {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let text = |name: &'static str| ColumnDef::new(name).text().not_null().to_owned();
        let number = |name: &'static str| ColumnDef::new(name).big_integer().not_null().to_owned();
        let mark = Table::create()
            .table("chain_mark")
            .col(ColumnDef::new("kind").text().not_null().primary_key())
            .col(number("sequence"))
            .col(text("hash"))
            .col(text("record_id"))
            .col(number("time"))
            .col(text("seal"))
            .to_owned();
        manager.create_table(mark).await?;
        let finding = Table::create()
            .table("chain_finding")
            .col(ColumnDef::new("id").integer().not_null().primary_key())
            .col(number("sequence"))
            .col(text("record_id"))
            .col(text("reason"))
            .col(number("verified_records"))
            .to_owned();
        manager.create_table(finding).await
    }
}

#[derive(DeriveIden)]
enum AuditEvent {
    Table,
    Sequence,
    Id,
    Time,
    Actor,
    Action,
    Resource,
    Outcome,
    RequestId,
    TraceId,
    Source,
    Details,
    Hash,
    PreviousHash,
}

#[derive(DeriveIden)]
enum ChainHead {
    Table,
    Id,
    Sequence,
    Hash,
    RecordId,
}

fn audit_event() -> TableCreateStatement {
    let text = |column| ColumnDef::new(column).text().not_null().to_owned();
    Table::create()
        .table(AuditEvent::Table)
        .col(ColumnDef::new(AuditEvent::Sequence).big_integer().not_null().primary_key())
        .col(ColumnDef::new(AuditEvent::Id).text().not_null().unique_key())
        .col(ColumnDef::new(AuditEvent::Time).big_integer().not_null())
        .col(text(AuditEvent::Actor))
        .col(text(AuditEvent::Action))
        .col(text(AuditEvent::Resource))
        .col(text(AuditEvent::Outcome))
        .col(text(AuditEvent::RequestId))
        .col(text(AuditEvent::TraceId))
        .col(text(AuditEvent::Source))
        .col(text(AuditEvent::Details))
        .col(text(AuditEvent::Hash))
        .col(text(AuditEvent::PreviousHash))
        .to_owned()
}

fn chain_head() -> TableCreateStatement {
    Table::create()
        .table(ChainHead::Table)
        .col(ColumnDef::new(ChainHead::Id).integer().not_null().primary_key())
        .col(ColumnDef::new(ChainHead::Sequence).big_integer().not_null())
        .col(ColumnDef::new(ChainHead::Hash).text().not_null())
        .col(ColumnDef::new(ChainHead::RecordId).text().not_null())
        .to_owned()
}

/// A filter narrows down, the place gives the order: no list sorts.
fn filter_index(name: &str, column: AuditEvent) -> IndexCreateStatement {
    Index::create()
        .name(name)
        .table(AuditEvent::Table)
        .col(column)
        .col(AuditEvent::Sequence)
        .to_owned()
}

fn first_head() -> Result<InsertStatement, DbErr> {
    let genesis = Head::genesis();
    Query::insert()
        .into_table(ChainHead::Table)
        .columns([ChainHead::Id, ChainHead::Sequence, ChainHead::Hash, ChainHead::RecordId])
        .values([
            Expr::value(ROW),
            Expr::value(genesis.sequence),
            Expr::value(genesis.hash.to_string()),
            Expr::value(genesis.record_id),
        ])
        .map(|insert| insert.to_owned())
        .map_err(|error| DbErr::Custom(error.to_string()))
}
