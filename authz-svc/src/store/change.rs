//! A change of roles and bindings: one transaction.

use async_trait::async_trait;
use mainstay::contract::authz::{BindingId, RoleId};
use mainstay::kernel::database::{Database, Transaction};
use mainstay::kernel::{Error, Result};
use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _};

use super::entity::revision;
use super::{bindings, grants, roles};
use crate::domain::{AuthzEvent, Binding, BindingFilter, Change, GrantSet, Role, RoleKey, Subject};
use crate::events::published;

/// [`Change`] as a transaction that holds the row of `revision`.
pub(super) struct DatabaseChange {
    transaction: Transaction,
}

impl DatabaseChange {
    /// Begins and waits until no other change runs.
    pub(super) async fn begin(database: &Database) -> Result<Self> {
        let transaction = database.begin().await?;
        lock(&transaction).await?;
        Ok(Self { transaction })
    }
}

/// Waits until no other change runs, and lets none begin before the transaction ends.
pub(super) async fn lock(transaction: &Transaction) -> Result<()> {
    revision_add(transaction, 0).await
}

/// The newest revision. What was committed before is seen.
pub(super) async fn revision(connection: &impl ConnectionTrait) -> Result<i64> {
    let row = revision::Entity::find_by_id(revision::ROW).one(connection).await?;
    let row = row.ok_or_else(|| Error::internal(anyhow::anyhow!("the row of revision is gone")))?;
    Ok(row.value)
}

/// Writing the row locks it, even when it stays as it is.
async fn revision_add(transaction: &Transaction, step: i64) -> Result<()> {
    revision::Entity::update_many()
        .col_expr(revision::Column::Value, Expr::col(revision::Column::Value).add(step))
        .filter(revision::Column::Id.eq(revision::ROW))
        .exec(transaction.connection())
        .await?;
    Ok(())
}

#[async_trait]
impl Change for DatabaseChange {
    async fn role_find(&self, key: &RoleKey) -> Result<Option<Role>> {
        roles::find(self.transaction.connection(), key).await
    }

    async fn role_create(&self, role: &Role) -> Result<()> {
        roles::create(self.transaction.connection(), role).await
    }

    async fn role_save(&self, role: &Role) -> Result<()> {
        roles::save(self.transaction.connection(), role).await
    }

    async fn role_delete(&self, id: RoleId) -> Result<()> {
        roles::delete(self.transaction.connection(), id).await
    }

    async fn role_use_count(&self, id: RoleId) -> Result<u64> {
        bindings::count_of_role(self.transaction.connection(), id).await
    }

    async fn binding_find(&self, id: BindingId) -> Result<Option<Binding>> {
        bindings::find(self.transaction.connection(), id).await
    }

    async fn binding_list_of(&self, subject: &Subject) -> Result<Vec<Binding>> {
        let filter = BindingFilter { subject: Some(subject.clone()), role_id: None };
        bindings::list(self.transaction.connection(), &filter, None, None).await
    }

    async fn binding_create(&self, binding: &Binding) -> Result<bool> {
        bindings::create(self.transaction.connection(), binding).await
    }

    async fn binding_delete(&self, id: BindingId) -> Result<()> {
        bindings::delete(self.transaction.connection(), id).await
    }

    async fn administration_count(&self) -> Result<u64> {
        bindings::administration_count(self.transaction.connection()).await
    }

    async fn grant_list(&self, subject: &Subject) -> Result<GrantSet> {
        grants::list(self.transaction.connection(), std::slice::from_ref(subject)).await
    }

    async fn subject_is_deleted(&self, subject: &Subject) -> Result<bool> {
        bindings::subject_is_deleted(self.transaction.connection(), subject).await
    }

    async fn subject_delete(&self, subject: &Subject) -> Result<()> {
        bindings::subject_delete(self.transaction.connection(), subject).await
    }

    async fn commit(self: Box<Self>, events: Vec<AuthzEvent>) -> Result<()> {
        if events.iter().any(AuthzEvent::can_change_decisions) {
            revision_add(&self.transaction, 1).await?;
            self.transaction.announce();
        }
        for event in &events {
            published::store(&self.transaction, event).await?;
        }
        self.transaction.commit().await
    }
}
