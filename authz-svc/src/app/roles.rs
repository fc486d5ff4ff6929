//! Roles: list, read, create, change, delete.

use mainstay::contract::authz::ROLE_IN_USE;
use mainstay::kernel::{Error, Result};

use super::{App, now, require_held};
use crate::domain::{AuthzEvent, PermissionPattern, Role, RoleKey, RoleName, RoleUpdate, Subject};

impl App {
    /// Up to `limit` roles by name, those after `after`.
    pub async fn role_list(&self, after: Option<&RoleName>, limit: u64) -> Result<Vec<Role>> {
        self.store.role_list(after, limit).await
    }

    /// The role with this id or name.
    pub async fn role_get(&self, key: &RoleKey) -> Result<Role> {
        self.store.role_find(key).await?.ok_or_else(|| key.not_found())
    }

    /// Creates a role with permissions that the caller holds.
    pub async fn role_create(
        &self,
        caller: &Subject,
        name: RoleName,
        description: &str,
        permissions: Vec<PermissionPattern>,
    ) -> Result<Role> {
        let role = Role::create(name, description, permissions, now())?;
        let change = self.store.change_begin().await?;
        require_held(&change.grant_list(caller).await?, caller, &role.permissions)?;
        change.role_create(&role).await?;
        change.commit(vec![AuthzEvent::RoleChanged(role.clone())]).await?;
        Ok(role)
    }

    /// Changes a role. Permissions that it gains must be held by the caller; those it has already
    /// or loses need not.
    pub async fn role_update(
        &self,
        caller: &Subject,
        key: &RoleKey,
        update: RoleUpdate,
    ) -> Result<Role> {
        let change = self.store.change_begin().await?;
        let role = change.role_find(key).await?.ok_or_else(|| key.not_found())?;
        let Some(updated) = role.updated(update, now())? else {
            change.commit(Vec::new()).await?;
            return Ok(role);
        };
        let gained = gained(&role, &updated);
        require_held(&change.grant_list(caller).await?, caller, &gained)?;
        change.role_save(&updated).await?;
        change.commit(vec![AuthzEvent::RoleChanged(updated.clone())]).await?;
        Ok(updated)
    }

    /// Deletes a role that no binding uses.
    pub async fn role_delete(&self, key: &RoleKey) -> Result<()> {
        let change = self.store.change_begin().await?;
        let role = change.role_find(key).await?.ok_or_else(|| key.not_found())?;
        role.require_own()?;
        let uses = change.role_use_count(role.id).await?;
        if uses > 0 {
            let message = format!("role {} is used by {uses} bindings", role.name.as_str());
            return Err(Error::new(ROLE_IN_USE, message).detail("bindings", uses.to_string()));
        }
        change.role_delete(role.id).await?;
        change.commit(vec![AuthzEvent::RoleDeleted(role)]).await
    }
}

/// The permissions of the role after the change that it did not cover before.
fn gained(before: &Role, after: &Role) -> Vec<PermissionPattern> {
    let had =
        |wanted: &PermissionPattern| before.permissions.iter().any(|held| held.covers(wanted));
    after.permissions.iter().filter(|wanted| !had(wanted)).cloned().collect()
}
