//! Queries on the catalogue of permissions.

use mainstay::kernel::Result;
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, IntoActiveModel as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _, QueryTrait as _,
};

use super::entity::declared_permission::{Column, Entity, Model};
use crate::domain::{DeclaredPermission, PermissionName};

/// Declared permissions by name.
pub(super) async fn list(
    connection: &impl ConnectionTrait,
    after: Option<&PermissionName>,
    limit: u64,
) -> Result<Vec<DeclaredPermission>> {
    let rows = Entity::find()
        .apply_if(after, |query, after| query.filter(Column::Name.gt(after.as_str())))
        .order_by_asc(Column::Name)
        .limit(limit)
        .all(connection)
        .await?;
    rows.into_iter().map(permission_of).collect()
}

/// Makes these the permissions of the service. One that another service declared before moves: the
/// newest declaration is the true one.
pub(super) async fn replace(
    connection: &impl ConnectionTrait,
    service: &str,
    declared: &[DeclaredPermission],
) -> Result<()> {
    Entity::delete_many().filter(Column::Service.eq(service)).exec(connection).await?;
    if declared.is_empty() {
        return Ok(());
    }
    let newest = OnConflict::column(Column::Name)
        .update_columns([Column::Description, Column::Service])
        .to_owned();
    Entity::insert_many(declared.iter().map(|row| row_of(row).into_active_model()))
        .on_conflict(newest)
        .exec_without_returning(connection)
        .await?;
    Ok(())
}

fn permission_of(row: Model) -> Result<DeclaredPermission> {
    Ok(DeclaredPermission {
        name: PermissionName::parse("name", &row.name)?,
        description: row.description,
        service: row.service,
    })
}

fn row_of(permission: &DeclaredPermission) -> Model {
    Model {
        name: permission.name.as_str().to_owned(),
        description: permission.description.clone(),
        service: permission.service.clone(),
    }
}
