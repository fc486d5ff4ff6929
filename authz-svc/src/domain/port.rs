//! What authz needs of the world.

use async_trait::async_trait;
use mainstay::contract::authz::{BindingId, RoleId};
use mainstay::kernel::Result;

use super::{
    AuthzEvent, Binding, BindingFilter, DeclaredPermission, GrantSet, PermissionName, Role,
    RoleKey, RoleName, Subject,
};

/// Where roles, bindings and the catalogue of permissions are kept.
#[async_trait]
pub trait Store: Send + Sync {
    /// The role with this id or name.
    async fn role_find(&self, key: &RoleKey) -> Result<Option<Role>>;

    /// Up to `limit` roles by name, those after `after`.
    async fn role_list(&self, after: Option<&RoleName>, limit: u64) -> Result<Vec<Role>>;

    /// Up to `limit` bindings, newest first, those older than `before`.
    async fn binding_list(
        &self,
        filter: &BindingFilter,
        before: Option<BindingId>,
        limit: u64,
    ) -> Result<Vec<Binding>>;

    /// Up to `limit` declared permissions by name, those after `after`.
    async fn permission_list(
        &self,
        after: Option<&PermissionName>,
        limit: u64,
    ) -> Result<Vec<DeclaredPermission>>;

    /// Makes these the permissions that the service declares; those it no longer declares go.
    async fn permission_replace(
        &self,
        service: &str,
        declared: &[DeclaredPermission],
    ) -> Result<()>;

    /// What the subjects hold, all of the newest revision.
    async fn grant_list(&self, subjects: &[Subject]) -> Result<GrantSet>;

    /// The newest revision.
    async fn revision(&self) -> Result<i64>;

    /// Begins a change of roles and bindings. Changes run one after the other: what one reads is
    /// still so when it commits.
    async fn change_begin(&self) -> Result<Box<dyn Change>>;
}

/// A change of roles and bindings. Dropped without commit it leaves no trace.
#[async_trait]
pub trait Change: Send + Sync {
    /// The role with this id or name.
    async fn role_find(&self, key: &RoleKey) -> Result<Option<Role>>;

    /// Adds a role. `ROLE_NAME_TAKEN` when another has its name.
    async fn role_create(&self, role: &Role) -> Result<()>;

    /// Stores a changed role.
    async fn role_save(&self, role: &Role) -> Result<()>;

    /// Removes a role.
    async fn role_delete(&self, id: RoleId) -> Result<()>;

    /// How many bindings use the role.
    async fn role_use_count(&self, id: RoleId) -> Result<u64>;

    /// The binding with this id.
    async fn binding_find(&self, id: BindingId) -> Result<Option<Binding>>;

    /// All bindings of the subject.
    async fn binding_list_of(&self, subject: &Subject) -> Result<Vec<Binding>>;

    /// Adds a binding; answers false when there is one of the same role, subject and resource.
    async fn binding_create(&self, binding: &Binding) -> Result<bool>;

    /// Removes a binding.
    async fn binding_delete(&self, id: BindingId) -> Result<()>;

    /// How many bindings give the administration of the whole platform.
    async fn administration_count(&self) -> Result<u64>;

    /// What the subject holds.
    async fn grant_list(&self, subject: &Subject) -> Result<GrantSet>;

    /// Whether the subject was deleted.
    async fn subject_is_deleted(&self, subject: &Subject) -> Result<bool>;

    /// Remembers that the subject was deleted.
    async fn subject_delete(&self, subject: &Subject) -> Result<()>;

    /// Commits the change together with its events. The revision grows if a decision can follow from
    /// one of them, and those who watch it are told.
    async fn commit(self: Box<Self>, events: Vec<AuthzEvent>) -> Result<()>;
}
