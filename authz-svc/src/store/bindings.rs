//! Queries on bindings and deleted subjects.

use chrono::Utc;
use mainstay::contract::authz::{BindingId, RoleId};
use mainstay::kernel::{Error, Result};
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, IntoActiveModel as _, PaginatorTrait as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _, QueryTrait as _, TryInsertResult,
};

use super::entity::role_binding::{Column, Entity, Model};
use super::entity::{deleted_subject, role};
use super::roles::stored_time;
use crate::domain::{Binding, BindingFilter, Resource, RoleName, Subject, admin_role_id};

/// Bindings, newest first; all of them without a limit.
pub(super) async fn list(
    connection: &impl ConnectionTrait,
    filter: &BindingFilter,
    before: Option<BindingId>,
    limit: Option<u64>,
) -> Result<Vec<Binding>> {
    let subject = filter.subject.as_ref().map(ToString::to_string);
    let rows = Entity::find()
        .find_also_related(role::Entity)
        .apply_if(subject, |query, subject| query.filter(Column::Subject.eq(subject)))
        .apply_if(filter.role_id, |query, id| query.filter(Column::RoleId.eq(uuid::Uuid::from(id))))
        .apply_if(before, |query, before| query.filter(Column::Id.lt(uuid::Uuid::from(before))))
        .apply_if(limit, |query, limit| query.limit(limit))
        .order_by_desc(Column::Id)
        .all(connection)
        .await?;
    rows.into_iter().map(binding_of).collect()
}

/// The binding with this id.
pub(super) async fn find(
    connection: &impl ConnectionTrait,
    id: BindingId,
) -> Result<Option<Binding>> {
    let row = Entity::find_by_id(uuid::Uuid::from(id))
        .find_also_related(role::Entity)
        .one(connection)
        .await?;
    row.map(binding_of).transpose()
}

/// Adds a binding; false when the subject has the role on the resource already.
pub(super) async fn create(connection: &impl ConnectionTrait, binding: &Binding) -> Result<bool> {
    let row = Model {
        id: binding.id.into(),
        role_id: binding.role_id.into(),
        subject: binding.subject.to_string(),
        resource: binding.resource.as_ref().map_or("", Resource::as_str).to_owned(),
        create_time: binding.create_time.timestamp_micros(),
    };
    let unique = [Column::Subject, Column::RoleId, Column::Resource];
    let inserted = Entity::insert(row.into_active_model())
        .on_conflict(OnConflict::columns(unique).do_nothing().to_owned())
        .try_insert()
        .exec_without_returning(connection)
        .await?;
    Ok(matches!(inserted, TryInsertResult::Inserted(1)))
}

/// Removes a binding.
pub(super) async fn delete(connection: &impl ConnectionTrait, id: BindingId) -> Result<()> {
    Entity::delete_by_id(uuid::Uuid::from(id)).exec(connection).await?;
    Ok(())
}

/// How many bindings use the role.
pub(super) async fn count_of_role(connection: &impl ConnectionTrait, id: RoleId) -> Result<u64> {
    let role = Column::RoleId.eq(uuid::Uuid::from(id));
    Ok(Entity::find().filter(role).count(connection).await?)
}

/// How many bindings of `admin` hold everywhere.
pub(super) async fn administration_count(connection: &impl ConnectionTrait) -> Result<u64> {
    let admin = Column::RoleId.eq(uuid::Uuid::from(admin_role_id()));
    let everywhere = Column::Resource.eq("");
    Ok(Entity::find().filter(admin).filter(everywhere).count(connection).await?)
}

/// Whether the subject was deleted.
pub(super) async fn subject_is_deleted(
    connection: &impl ConnectionTrait,
    subject: &Subject,
) -> Result<bool> {
    let found = deleted_subject::Entity::find_by_id(subject.to_string()).one(connection).await?;
    Ok(found.is_some())
}

/// Remembers that the subject was deleted.
pub(super) async fn subject_delete(
    connection: &impl ConnectionTrait,
    subject: &Subject,
) -> Result<()> {
    let row = deleted_subject::Model {
        subject: subject.to_string(),
        delete_time: Utc::now().timestamp_micros(),
    };
    let known = OnConflict::column(deleted_subject::Column::Subject).do_nothing().to_owned();
    deleted_subject::Entity::insert(row.into_active_model())
        .on_conflict(known)
        .try_insert()
        .exec_without_returning(connection)
        .await?;
    Ok(())
}

fn binding_of((row, role): (Model, Option<role::Model>)) -> Result<Binding> {
    let role = role.ok_or_else(|| {
        Error::internal(anyhow::anyhow!("binding {} names a role that is gone", row.id))
    })?;
    Ok(Binding {
        id: row.id.into(),
        role_id: row.role_id.into(),
        role_name: RoleName::parse("name", &role.name)?,
        subject: Subject::parse("subject", &row.subject)?,
        resource: Resource::parse("resource", &row.resource)?,
        create_time: stored_time(row.create_time)?,
    })
}
