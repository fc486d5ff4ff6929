//! Roles, bindings and the catalogue in the service's database.
//!
//! | table | one row for each |
//! |---|---|
//! | `role` | role |
//! | `role_binding` | binding; unique by subject, role and resource |
//! | `deleted_subject` | user who was deleted |
//! | `declared_permission` | permission of the catalogue |
//! | `revision` | one row: grows by one with each change that decisions can follow from |
//!
//! The row of `revision` is also the lock: a change takes it first, so changes run one after the
//! other, on every database and with any number of replicas.

mod bindings;
mod catalogue;
mod change;
mod entity;
mod grants;
mod migration;
mod roles;

use async_trait::async_trait;
use mainstay::contract::authz::BindingId;
use mainstay::kernel::Result;
use mainstay::kernel::database::Database;

pub use migration::migrations;

use crate::domain::{
    Binding, BindingFilter, Change, DeclaredPermission, GrantSet, PermissionName, Role, RoleKey,
    RoleName, Store, Subject,
};
use change::DatabaseChange;

/// [`Store`] in the service's database.
#[derive(Clone)]
pub struct DatabaseStore {
    database: Database,
}

impl DatabaseStore {
    /// The store in this database.
    pub fn new(database: Database) -> Self {
        Self { database }
    }
}

#[async_trait]
impl Store for DatabaseStore {
    async fn role_find(&self, key: &RoleKey) -> Result<Option<Role>> {
        roles::find(self.database.connection(), key).await
    }

    async fn role_list(&self, after: Option<&RoleName>, limit: u64) -> Result<Vec<Role>> {
        roles::list(self.database.connection(), after, limit).await
    }

    async fn binding_list(
        &self,
        filter: &BindingFilter,
        before: Option<BindingId>,
        limit: u64,
    ) -> Result<Vec<Binding>> {
        bindings::list(self.database.connection(), filter, before, Some(limit)).await
    }

    async fn permission_list(
        &self,
        after: Option<&PermissionName>,
        limit: u64,
    ) -> Result<Vec<DeclaredPermission>> {
        catalogue::list(self.database.connection(), after, limit).await
    }

    async fn permission_replace(
        &self,
        service: &str,
        declared: &[DeclaredPermission],
    ) -> Result<()> {
        let transaction = self.database.begin().await?;
        // Of two replicas that declare at the same time the second replaces what the first did.
        change::lock(&transaction).await?;
        catalogue::replace(transaction.connection(), service, declared).await?;
        transaction.commit().await
    }

    async fn grant_list(&self, subjects: &[Subject]) -> Result<GrantSet> {
        grants::list(self.database.connection(), subjects).await
    }

    async fn revision(&self) -> Result<i64> {
        change::revision(self.database.connection()).await
    }

    async fn change_begin(&self) -> Result<Box<dyn Change>> {
        Ok(Box::new(DatabaseChange::begin(&self.database).await?))
    }
}
