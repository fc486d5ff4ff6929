//! Reading records and the chain.

use mainstay::kernel::Result;
use sea_orm::sea_query::{Expr, ExprTrait as _, Func, Query, SubQueryStatement};
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait, EntityTrait as _, FromQueryResult as _,
    PaginatorTrait as _, QueryFilter as _, QueryOrder as _, QueryResult, QuerySelect as _,
    QueryTrait as _,
};

use super::entity::audit_event::{Column, Entity, Model};
use super::entity::{chain_head, into_domain};
use crate::domain::{Entry, Hash, Head, RecordFilter, Stored};

/// The entry of the record with this id.
pub(super) async fn find(
    connection: &impl ConnectionTrait,
    record_id: &str,
) -> Result<Option<Entry>> {
    let row = Entity::find().filter(Column::Id.eq(record_id)).one(connection).await?;
    row.map(into_domain).transpose()
}

/// Entries, newest first.
pub(super) async fn list(
    connection: &impl ConnectionTrait,
    filter: &RecordFilter,
    before: Option<i64>,
    limit: u64,
) -> Result<Vec<Entry>> {
    let rows = Entity::find()
        .filter(condition(filter))
        .apply_if(before, |query, before| query.filter(Column::Sequence.lt(before)))
        .order_by_desc(Column::Sequence)
        .limit(limit)
        .all(connection)
        .await?;
    rows.into_iter().map(into_domain).collect()
}

/// How many records match.
pub(super) async fn count(connection: &impl ConnectionTrait, filter: &RecordFilter) -> Result<u64> {
    Ok(Entity::find().filter(condition(filter)).count(connection).await?)
}

/// The newest end of the chain.
pub(super) async fn head(connection: &impl ConnectionTrait) -> Result<Option<Head>> {
    let row = chain_head::Entity::find_by_id(chain_head::ROW).one(connection).await?;
    let read = |row: chain_head::Model| {
        let hash = Hash::parse(&row.hash)?;
        Ok(Head { sequence: row.sequence, hash, record_id: row.record_id })
    };
    row.map(read).transpose()
}

/// Entries in their order, as they are: a row that cannot be read is a finding, not a failure.
pub(super) async fn chain(
    connection: &impl ConnectionTrait,
    after: i64,
    last: i64,
    limit: u64,
) -> Result<Vec<Stored>> {
    let select = Entity::find()
        .filter(Column::Sequence.gt(after))
        .filter(Column::Sequence.lte(last))
        .order_by_asc(Column::Sequence)
        .limit(limit);
    let rows = connection.query_all(&select.into_query()).await?;
    Ok(rows.iter().map(stored).collect())
}

/// The first entry behind the head. One statement sees both at the same moment, so an entry that is
/// being appended is never taken for a forged one.
pub(super) async fn beyond_head(connection: &impl ConnectionTrait) -> Result<Option<Stored>> {
    let newest = Func::max(Expr::col((chain_head::Entity, chain_head::Column::Sequence)));
    let head = Query::select()
        .expr(Func::coalesce([Expr::from(newest), Expr::value(0_i64)]))
        .from(chain_head::Entity)
        .take();
    let head = Expr::from(SubQueryStatement::from(head));
    let select = Entity::find()
        .filter(Expr::col((Entity, Column::Sequence)).gt(head))
        .order_by_asc(Column::Sequence)
        .limit(1);
    let row = connection.query_one(&select.into_query()).await?;
    Ok(row.as_ref().map(stored))
}

fn stored(row: &QueryResult) -> Stored {
    match Model::from_query_result(row, "").map_err(Into::into).and_then(into_domain) {
        Ok(entry) => Stored::Entry(Box::new(entry)),
        Err(error) => {
            tracing::warn!(%error, "a row of the audit trail cannot be read");
            Stored::Unreadable {
                record_id: row.try_get("", "id").unwrap_or_default(),
                sequence: row.try_get("", "sequence").unwrap_or_default(),
            }
        }
    }
}

fn condition(filter: &RecordFilter) -> Condition {
    let micros = |time: chrono::DateTime<chrono::Utc>| time.timestamp_micros();
    Condition::all()
        .add_option(filter.actor.as_ref().map(|actor| Column::Actor.eq(actor)))
        .add_option(filter.action.as_ref().map(|action| Column::Action.eq(action)))
        .add_option(filter.resource.as_ref().map(|resource| Column::Resource.eq(resource)))
        .add_option(filter.start_time.map(|start| Column::Time.gte(micros(start))))
        .add_option(filter.end_time.map(|end| Column::Time.lt(micros(end))))
}
