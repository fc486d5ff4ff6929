//! The table of sagas, and its statements. Times are Unix microseconds; 0 stands for none.
//!
//! A statement that moves a saga on is conditional on where it stood: whoever has read an older
//! state changes nothing.

use sea_orm::sea_query::{ColumnDef, Expr, ExprTrait as _, Index, Query, Table, UpdateStatement};
use sea_orm::{ConnectionTrait, DbErr, QueryResult};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};
use serde_json::Value;

use super::operate::SagaState;
use crate::kernel::error::{ABORTED, Error, Result};
use crate::kernel::events::now_micros;

/// Where a saga stands.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) id: String,
    pub(super) state: SagaState,
    /// The step to be done, or to be undone; the last one when it has finished.
    pub(super) step: String,
    pub(super) data: Value,
}

/// Where a saga goes.
pub(super) struct Next<'a> {
    pub(super) state: SagaState,
    pub(super) step: &'a str,
    /// Whether it may be aborted from there.
    pub(super) reversible: bool,
    /// Why it turns back; `None` leaves what is written.
    pub(super) reason: Option<&'a str>,
}

pub(super) async fn read(
    connection: &impl ConnectionTrait,
    name: &str,
    id: &str,
) -> Result<Option<Row>> {
    let query = Query::select()
        .columns(["name", "id", "state", "step", "data"])
        .from("saga")
        .and_where(Expr::col("name").eq(name))
        .and_where(Expr::col("id").eq(id))
        .take();
    connection.query_one(&query).await?.as_ref().map(parse).transpose()
}

/// Writes the row of a saga that begins; `false` when there is one of its name and id.
pub(super) async fn insert(
    connection: &impl ConnectionTrait,
    row: &Row,
    reversible: bool,
) -> Result<bool> {
    use sea_orm::sea_query::OnConflict;
    let now = now_micros();
    let statement = Query::insert()
        .into_table("saga")
        .columns(["name", "id", "state", "step", "reversible", "data", "created_at", "updated_at"])
        .values([
            row.name.as_str().into(),
            row.id.as_str().into(),
            row.state.as_str().into(),
            row.step.as_str().into(),
            reversible.into(),
            row.data.to_string().into(),
            now.into(),
            now.into(),
        ])
        .map_err(Error::internal)?
        .on_conflict(OnConflict::columns(["name", "id"]).do_nothing().to_owned())
        .take();
    Ok(connection.execute(&statement).await?.rows_affected() == 1)
}

/// Moves a saga on from where `row` has it.
pub(super) async fn advance(
    connection: &impl ConnectionTrait,
    row: &Row,
    next: &Next<'_>,
    data: &Value,
) -> Result<()> {
    let now = now_micros();
    let mut update = standing(row);
    update
        .value("state", next.state.as_str())
        .value("step", next.step)
        .value("reversible", next.reversible)
        .value("data", data.to_string())
        .value("updated_at", now)
        .value("finished_at", if next.state.is_finished() { now } else { 0 });
    if let Some(reason) = next.reason {
        update.value("reason", reason);
    }
    match connection.execute(&update).await?.rows_affected() {
        1 => Ok(()),
        _ => Err(Error::new(ABORTED, "the saga was moved by somebody else")),
    }
}

/// An update of a saga that stands where `row` has it.
fn standing(row: &Row) -> UpdateStatement {
    Query::update()
        .table("saga")
        .and_where(Expr::col("name").eq(row.name.as_str()))
        .and_where(Expr::col("id").eq(row.id.as_str()))
        .and_where(Expr::col("state").eq(row.state.as_str()))
        .and_where(Expr::col("step").eq(row.step.as_str()))
        .take()
}

fn parse(row: &QueryResult) -> Result<Row> {
    let (state, data): (String, String) = (row.try_get("", "state")?, row.try_get("", "data")?);
    Ok(Row {
        name: row.try_get("", "name")?,
        id: row.try_get("", "id")?,
        state: SagaState::parse(&state)?,
        step: row.try_get("", "step")?,
        data: serde_json::from_str(&data).map_err(Error::internal)?,
    })
}

/// Creates the table.
pub(super) struct CreateSagas;

impl MigrationName for CreateSagas {
    fn name(&self) -> &str {
        "kernel_0102_create_sagas"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateSagas {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let text = |name: &'static str| ColumnDef::new(name).text().not_null().default("").take();
        let number =
            |name: &'static str| ColumnDef::new(name).big_integer().not_null().default(0i64).take();
        let table = Table::create()
            .table("saga")
            .col(text("name"))
            .col(text("id"))
            .col(text("state"))
            .col(text("step"))
            .col(ColumnDef::new("reversible").boolean().not_null().default(true))
            .col(text("data"))
            .col(text("reason"))
            .col(number("created_at"))
            .col(number("updated_at"))
            .col(number("finished_at"))
            .primary_key(Index::create().col("name").col("id"))
            .take();
        manager.create_table(table).await?;
        let index = Index::create().name("saga_finished").table("saga").col("finished_at").take();
        manager.create_index(index).await
    }
}
