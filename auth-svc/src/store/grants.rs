//! What was heard of roles and plans.

use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, ConnectionTrait, EntityTrait as _,
    IntoActiveModel as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
};
use uuid::Uuid;

use super::entity::{account_plan, account_role};
use crate::domain::{AuthError, Grants, Plan, UserId};

/// The roles and the plan of a user.
pub(super) async fn read(db: &impl ConnectionTrait, id: UserId) -> Result<Grants, AuthError> {
    let roles = account_role::Entity::find()
        .filter(account_role::Column::AccountId.eq(Uuid::from(id)))
        .order_by_asc(account_role::Column::Role)
        .all(db)
        .await?;
    let plan = plan(db, id).await?.unwrap_or_else(Plan::free);
    Ok(Grants { roles: roles.into_iter().map(|row| row.role).collect(), plan: plan.name })
}

/// Adds a role that may be there already.
pub(super) async fn role_add(
    db: &impl ConnectionTrait,
    id: UserId,
    role: &str,
) -> Result<(), AuthError> {
    let row = account_role::Model { account_id: id.into(), role: role.to_owned() };
    account_role::Entity::insert(row.into_active_model())
        .on_conflict(OnConflict::new().do_nothing().to_owned())
        .exec_without_returning(db)
        .await?;
    Ok(())
}

/// Removes a role that may not be there.
pub(super) async fn role_remove(
    db: &impl ConnectionTrait,
    id: UserId,
    role: &str,
) -> Result<(), AuthError> {
    account_role::Entity::delete_by_id((Uuid::from(id), role.to_owned())).exec(db).await?;
    Ok(())
}

/// Takes over a plan unless a later one is known. Of two that come at the same time the second sees
/// what the first has stored: the row, which is there from the first plan on, is locked.
pub(super) async fn plan_change(
    db: &impl ConnectionTrait,
    id: UserId,
    next: &Plan,
) -> Result<(), AuthError> {
    use account_plan::{Column, Entity};
    Entity::insert(plan_row(id, &Plan::free()).into_active_model())
        .on_conflict(OnConflict::column(Column::AccountId).do_nothing().to_owned())
        .exec_without_returning(db)
        .await?;
    let known = Entity::find_by_id(id).lock_exclusive().one(db).await?.map(plan_of);
    if known.is_none_or(|known| next.supersedes(&known)) {
        let row = plan_row(id, next).into_active_model().reset_all();
        Entity::update(row).exec(db).await?;
    }
    Ok(())
}

/// Forgets everything of a user.
pub(super) async fn forget(db: &impl ConnectionTrait, id: UserId) -> Result<(), AuthError> {
    account_role::Entity::delete_many()
        .filter(account_role::Column::AccountId.eq(Uuid::from(id)))
        .exec(db)
        .await?;
    account_plan::Entity::delete_by_id(id).exec(db).await?;
    Ok(())
}

async fn plan(db: &impl ConnectionTrait, id: UserId) -> Result<Option<Plan>, AuthError> {
    Ok(account_plan::Entity::find_by_id(id).one(db).await?.map(plan_of))
}

fn plan_of(row: account_plan::Model) -> Plan {
    Plan { name: row.plan, subscription_id: row.subscription_id, version: row.version }
}

fn plan_row(id: UserId, plan: &Plan) -> account_plan::Model {
    account_plan::Model {
        account_id: id.into(),
        plan: plan.name.clone(),
        subscription_id: plan.subscription_id.clone(),
        version: plan.version,
    }
}
