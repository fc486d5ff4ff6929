//! Queries on roles.

use chrono::{DateTime, Utc};
use mainstay::contract::authz::{ROLE_NAME_TAKEN, RoleId};
use mainstay::kernel::{Error, Result};
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, ConnectionTrait, EntityTrait as _,
    IntoActiveModel as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, QueryTrait as _,
    TryInsertResult,
};

use super::entity::role::{Column, Entity, Model};
use crate::domain::{PermissionPattern, Role, RoleKey, RoleName};

/// The role with this id or name.
pub(super) async fn find(connection: &impl ConnectionTrait, key: &RoleKey) -> Result<Option<Role>> {
    let condition = match key {
        RoleKey::Id(id) => Column::Id.eq(uuid::Uuid::from(*id)),
        RoleKey::Name(name) => Column::Name.eq(name),
    };
    Entity::find().filter(condition).one(connection).await?.map(role_of).transpose()
}

/// Roles by name.
pub(super) async fn list(
    connection: &impl ConnectionTrait,
    after: Option<&RoleName>,
    limit: u64,
) -> Result<Vec<Role>> {
    let rows = Entity::find()
        .apply_if(after, |query, after| query.filter(Column::Name.gt(after.as_str())))
        .order_by_asc(Column::Name)
        .limit(limit)
        .all(connection)
        .await?;
    rows.into_iter().map(role_of).collect()
}

/// Adds a role, or answers `ROLE_NAME_TAKEN`.
pub(super) async fn create(connection: &impl ConnectionTrait, role: &Role) -> Result<()> {
    let inserted = Entity::insert(row_of(role).into_active_model())
        .on_conflict(OnConflict::column(Column::Name).do_nothing().to_owned())
        .try_insert()
        .exec_without_returning(connection)
        .await?;
    match inserted {
        TryInsertResult::Inserted(1) => Ok(()),
        _ => {
            let message = format!("there is a role {} already", role.name.as_str());
            Err(Error::new(ROLE_NAME_TAKEN, message))
        }
    }
}

/// Stores a changed role.
pub(super) async fn save(connection: &impl ConnectionTrait, role: &Role) -> Result<()> {
    row_of(role).into_active_model().reset_all().update(connection).await?;
    Ok(())
}

/// Removes a role.
pub(super) async fn delete(connection: &impl ConnectionTrait, id: RoleId) -> Result<()> {
    Entity::delete_by_id(uuid::Uuid::from(id)).exec(connection).await?;
    Ok(())
}

/// Reads the lines of the column `permissions`.
pub(super) fn patterns_of(lines: &str) -> Result<Vec<PermissionPattern>> {
    lines.lines().map(|line| PermissionPattern::parse("permissions", line)).collect()
}

/// Reads a column of microseconds.
pub(super) fn stored_time(micros: i64) -> Result<DateTime<Utc>> {
    DateTime::from_timestamp_micros(micros)
        .ok_or_else(|| Error::internal(anyhow::anyhow!("{micros} is no time")))
}

fn lines_of(patterns: &[PermissionPattern]) -> String {
    patterns.iter().map(PermissionPattern::as_str).collect::<Vec<_>>().join("\n")
}

fn role_of(row: Model) -> Result<Role> {
    Ok(Role {
        id: row.id.into(),
        name: RoleName::parse("name", &row.name)?,
        description: row.description,
        permissions: patterns_of(&row.permissions)?,
        built_in: row.built_in,
        create_time: stored_time(row.create_time)?,
        update_time: stored_time(row.update_time)?,
        version: row.version,
    })
}

fn row_of(role: &Role) -> Model {
    Model {
        id: role.id.into(),
        name: role.name.as_str().to_owned(),
        description: role.description.clone(),
        permissions: lines_of(&role.permissions),
        built_in: role.built_in,
        create_time: role.create_time.timestamp_micros(),
        update_time: role.update_time.timestamp_micros(),
        version: role.version,
    }
}
