//! The one query behind every decision.

use std::collections::HashMap;

use mainstay::kernel::Result;
use sea_orm::sea_query::{Expr, ExprTrait as _, Query, SelectStatement};
use sea_orm::{ConnectionTrait, FromQueryResult};

use super::entity::{revision, role, role_binding};
use super::roles::patterns_of;
use crate::domain::{Grant, GrantSet, Resource, RoleName, Subject};

/// A binding with its role, or nulls for the row that only tells the revision.
#[derive(FromQueryResult)]
struct GrantRow {
    value: i64,
    subject: Option<String>,
    resource: Option<String>,
    name: Option<String>,
    permissions: Option<String>,
}

/// What the subjects hold, and the revision at which they hold it. Both come from one statement, so
/// they belong together without a transaction, and what was committed before is seen.
pub(super) async fn list(
    connection: &impl ConnectionTrait,
    subjects: &[Subject],
) -> Result<GrantSet> {
    let statement = connection.get_database_backend().build(&select(subjects));
    let rows = GrantRow::find_by_statement(statement).all(connection).await?;
    let revision = rows.first().map_or(0, |row| row.value);
    let mut grants: HashMap<Subject, Vec<Grant>> = HashMap::new();
    for (subject, grant) in rows.into_iter().filter_map(grant_of).collect::<Result<Vec<_>>>()? {
        grants.entry(subject).or_default().push(grant);
    }
    Ok(GrantSet { revision, grants })
}

fn select(subjects: &[Subject]) -> SelectStatement {
    let names = subjects.iter().map(ToString::to_string);
    let bound = Expr::col((role_binding::Entity, role_binding::Column::Subject)).is_in(names);
    let role_of_binding = Expr::col((role::Entity, role::Column::Id))
        .equals((role_binding::Entity, role_binding::Column::RoleId));
    Query::select()
        .column((revision::Entity, revision::Column::Value))
        .column((role_binding::Entity, role_binding::Column::Subject))
        .column((role_binding::Entity, role_binding::Column::Resource))
        .column((role::Entity, role::Column::Name))
        .column((role::Entity, role::Column::Permissions))
        .from(revision::Entity)
        .left_join(role_binding::Entity, bound)
        .left_join(role::Entity, role_of_binding)
        .and_where(Expr::col((revision::Entity, revision::Column::Id)).eq(revision::ROW))
        .take()
}

fn grant_of(row: GrantRow) -> Option<Result<(Subject, Grant)>> {
    let (subject, resource) = (row.subject?, row.resource?);
    let (name, permissions) = (row.name?, row.permissions?);
    Some(read(&subject, &resource, &name, &permissions))
}

fn read(subject: &str, resource: &str, name: &str, permissions: &str) -> Result<(Subject, Grant)> {
    let grant = Grant {
        role_name: RoleName::parse("name", name)?,
        resource: Resource::parse("resource", resource)?,
        permissions: patterns_of(permissions)?,
    };
    Ok((Subject::parse("subject", subject)?, grant))
}
