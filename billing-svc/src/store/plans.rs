//! Changes of plans: numbered in the order in which they commit, because each takes the row that
//! counts them and keeps it until its transaction ends.

use chrono::{DateTime, Utc};
use mainstay::kernel::database::Transaction;
use mainstay::kernel::{Error, Result};
use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, IntoActiveModel as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _,
};

use super::row::plan_change::{Column, Entity, Model};
use super::row::plan_revision;
use crate::domain::{MOST_CHANGES, PlanChange, Subscription};

/// How many changes of plans there have been.
pub(super) async fn revision(connection: &impl ConnectionTrait) -> Result<i64> {
    let row = plan_revision::Entity::find_by_id(plan_revision::ROW).one(connection).await?;
    let gone = || Error::internal(anyhow::anyhow!("the row of plan_revision is gone"));
    Ok(row.ok_or_else(gone)?.value)
}

/// Notes that the user's plan is another one, and has those told who watch.
pub(super) async fn change_note(tx: &Transaction, changed: &Subscription) -> Result<()> {
    plan_revision::Entity::update_many()
        .col_expr(plan_revision::Column::Value, Expr::col(plan_revision::Column::Value).add(1))
        .filter(plan_revision::Column::Id.eq(plan_revision::ROW))
        .exec(tx.connection())
        .await?;
    let change = Model {
        revision: revision(tx.connection()).await?,
        user_id: changed.user.into(),
        plan: changed.plan.clone(),
        time: changed.updated,
    };
    Entity::insert(change.into_active_model()).exec_without_returning(tx.connection()).await?;
    tx.announce();
    Ok(())
}

/// The newest changes after a revision and after a time, oldest first.
pub(super) async fn change_list(
    connection: &impl ConnectionTrait,
    after: i64,
    since: DateTime<Utc>,
) -> Result<Vec<PlanChange>> {
    let mut rows = Entity::find()
        .filter(Column::Revision.gt(after))
        .filter(Column::Time.gte(since))
        .order_by_desc(Column::Revision)
        .limit(MOST_CHANGES as u64 + 1)
        .all(connection)
        .await?;
    rows.reverse();
    Ok(rows.into_iter().map(change_of).collect())
}

/// Forgets the changes before `until`.
pub(super) async fn change_prune(tx: &Transaction, until: DateTime<Utc>) -> Result<u64> {
    let forgotten = Column::Time.lt(until);
    Ok(Entity::delete_many().filter(forgotten).exec(tx.connection()).await?.rows_affected)
}

fn change_of(row: Model) -> PlanChange {
    let Model { revision, user_id, plan, time } = row;
    PlanChange { revision, user: user_id.into(), plan, time }
}
