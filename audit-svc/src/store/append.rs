//! Appending: the only way to write.

use mainstay::kernel::{Error, Result};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, ConnectionTrait, EntityTrait as _,
    IntoActiveModel as _, PaginatorTrait as _, QueryFilter as _,
};

use super::entity::{self, audit_event, chain_head};
use super::read;
use crate::domain::{Head, Record};

/// Appends a record behind the head; false when there is one with its id already.
pub(super) async fn append(connection: &impl ConnectionTrait, record: &Record) -> Result<bool> {
    lock_head(connection).await?;
    let same_id = audit_event::Column::Id.eq(&record.id);
    if audit_event::Entity::find().filter(same_id).count(connection).await? > 0 {
        return Ok(false);
    }
    let head = read::head(connection).await?.ok_or_else(headless)?;
    let entry = head.extend(record.clone());
    let row = entity::from_domain(&entry).into_active_model();
    audit_event::Entity::insert(row).exec_without_returning(connection).await?;
    move_head(connection, &entry.as_head()).await?;
    Ok(true)
}

/// Writing the row locks it, even when it stays as it is: of several replicas one appends at a time,
/// so places have no gaps and each hash follows the one before.
async fn lock_head(connection: &impl ConnectionTrait) -> Result<()> {
    chain_head::Entity::update_many()
        .col_expr(chain_head::Column::Id, Expr::value(chain_head::ROW))
        .filter(chain_head::Column::Id.eq(chain_head::ROW))
        .exec(connection)
        .await?;
    Ok(())
}

async fn move_head(connection: &impl ConnectionTrait, head: &Head) -> Result<()> {
    let row = chain_head::Model {
        id: chain_head::ROW,
        sequence: head.sequence,
        hash: head.hash.to_string(),
        record_id: head.record_id.clone(),
    };
    row.into_active_model().reset_all().update(connection).await?;
    Ok(())
}

/// Beginning a second chain would hide that the first lost its head.
fn headless() -> Error {
    Error::internal(anyhow::anyhow!("the head of the audit chain was removed from the database"))
}
