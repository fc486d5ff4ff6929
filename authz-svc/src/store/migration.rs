//! The tables, built up step by step. A step that was released is never changed.

use chrono::Utc;
use mainstay::contract::authz::RoleId;
use sea_orm::{ConnectionTrait as _, DbErr};
use sea_orm_migration::prelude::*;

use crate::domain::{ADMIN, MEMBER, admin_role_id, member_role_id};

/// The steps in order.
pub fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    vec![Box::new(CreateRoles)]
}

/// All tables, the built-in roles and the first revision.
struct CreateRoles;

impl MigrationName for CreateRoles {
    fn name(&self) -> &str {
        "authz_0001_create_roles"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateRoles {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let tables = [role(), role_binding(), deleted_subject(), declared_permission(), revision()];
        for table in tables {
            manager.create_table(table).await?;
        }
        manager.create_index(binding_unique()).await?;
        manager.create_index(bindings_of_role()).await?;
        manager.get_connection().execute(&built_in_roles()?).await?;
        manager.get_connection().execute(&first_revision()?).await?;
        Ok(())
    }
}

#[derive(DeriveIden)]
enum Role {
    Table,
    Id,
    Name,
    Description,
    Permissions,
    BuiltIn,
    Version,
    CreateTime,
    UpdateTime,
}

#[derive(DeriveIden)]
enum RoleBinding {
    Table,
    Id,
    RoleId,
    Subject,
    Resource,
    CreateTime,
}

#[derive(DeriveIden)]
enum DeletedSubject {
    Table,
    Subject,
    DeleteTime,
}

#[derive(DeriveIden)]
enum DeclaredPermission {
    Table,
    Name,
    Description,
    Service,
}

#[derive(DeriveIden)]
enum Revision {
    Table,
    Id,
    Value,
}

fn role() -> TableCreateStatement {
    Table::create()
        .table(Role::Table)
        .col(ColumnDef::new(Role::Id).uuid().not_null().primary_key())
        .col(ColumnDef::new(Role::Name).text().not_null().unique_key())
        .col(ColumnDef::new(Role::Description).text().not_null())
        .col(ColumnDef::new(Role::Permissions).text().not_null())
        .col(ColumnDef::new(Role::BuiltIn).boolean().not_null())
        .col(ColumnDef::new(Role::Version).big_integer().not_null())
        .col(ColumnDef::new(Role::CreateTime).big_integer().not_null())
        .col(ColumnDef::new(Role::UpdateTime).big_integer().not_null())
        .to_owned()
}

fn role_binding() -> TableCreateStatement {
    let mut role = ForeignKey::create()
        .from(RoleBinding::Table, RoleBinding::RoleId)
        .to(Role::Table, Role::Id)
        .on_delete(ForeignKeyAction::Restrict)
        .to_owned();
    Table::create()
        .table(RoleBinding::Table)
        .col(ColumnDef::new(RoleBinding::Id).uuid().not_null().primary_key())
        .col(ColumnDef::new(RoleBinding::RoleId).uuid().not_null())
        .col(ColumnDef::new(RoleBinding::Subject).text().not_null())
        .col(ColumnDef::new(RoleBinding::Resource).text().not_null())
        .col(ColumnDef::new(RoleBinding::CreateTime).big_integer().not_null())
        .foreign_key(&mut role)
        .to_owned()
}

fn deleted_subject() -> TableCreateStatement {
    Table::create()
        .table(DeletedSubject::Table)
        .col(ColumnDef::new(DeletedSubject::Subject).text().not_null().primary_key())
        .col(ColumnDef::new(DeletedSubject::DeleteTime).big_integer().not_null())
        .to_owned()
}

fn declared_permission() -> TableCreateStatement {
    Table::create()
        .table(DeclaredPermission::Table)
        .col(ColumnDef::new(DeclaredPermission::Name).text().not_null().primary_key())
        .col(ColumnDef::new(DeclaredPermission::Description).text().not_null())
        .col(ColumnDef::new(DeclaredPermission::Service).text().not_null())
        .to_owned()
}

fn revision() -> TableCreateStatement {
    Table::create()
        .table(Revision::Table)
        .col(ColumnDef::new(Revision::Id).integer().not_null().primary_key())
        .col(ColumnDef::new(Revision::Value).big_integer().not_null())
        .to_owned()
}

/// A subject has a role on a resource once. Decisions find a subject's bindings by it too.
fn binding_unique() -> IndexCreateStatement {
    Index::create()
        .name("role_binding_unique")
        .table(RoleBinding::Table)
        .col(RoleBinding::Subject)
        .col(RoleBinding::RoleId)
        .col(RoleBinding::Resource)
        .unique()
        .to_owned()
}

/// For the roles in use, the last administrator, and lists by role.
fn bindings_of_role() -> IndexCreateStatement {
    Index::create()
        .name("role_binding_role")
        .table(RoleBinding::Table)
        .col(RoleBinding::RoleId)
        .col(RoleBinding::Resource)
        .to_owned()
}

fn built_in_roles() -> Result<InsertStatement, DbErr> {
    let columns = [
        Role::Id,
        Role::Name,
        Role::Description,
        Role::Permissions,
        Role::BuiltIn,
        Role::Version,
        Role::CreateTime,
        Role::UpdateTime,
    ];
    let now = Utc::now().timestamp_micros();
    let row = |id: RoleId, name: &str, description: &str, permissions: &str| {
        [
            Expr::value(uuid::Uuid::from(id)),
            Expr::value(name),
            Expr::value(description),
            Expr::value(permissions),
            Expr::value(true),
            Expr::value(1_i64),
            Expr::value(now),
            Expr::value(now),
        ]
    };
    let admin = "Administers the platform: may do everything.";
    let member = "Every user: may do what the contracts let users do to what is theirs.";
    Query::insert()
        .into_table(Role::Table)
        .columns(columns)
        .values(row(admin_role_id(), ADMIN, admin, "*"))
        .and_then(|insert| insert.values(row(member_role_id(), MEMBER, member, "")))
        .map(|insert| insert.to_owned())
        .map_err(|error| DbErr::Custom(error.to_string()))
}

fn first_revision() -> Result<InsertStatement, DbErr> {
    Query::insert()
        .into_table(Revision::Table)
        .columns([Revision::Id, Revision::Value])
        .values([Expr::value(super::entity::revision::ROW), Expr::value(1_i64)])
        .map(|insert| insert.to_owned())
        .map_err(|error| DbErr::Custom(error.to_string()))
}
