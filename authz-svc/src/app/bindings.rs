//! Bindings: list, create, delete.

use mainstay::contract::authz::{BINDING_EXISTS, BindingId, LAST_ADMIN};
use mainstay::kernel::error::FAILED_PRECONDITION;
use mainstay::kernel::{Error, Result};

use super::{App, now, require_held};
use crate::domain::{AuthzEvent, Binding, BindingFilter, Change, Resource, RoleKey, Subject};

impl App {
    /// Up to `limit` bindings, newest first, those older than `before`; those of one subject, of one
    /// role, or both, when stated. Of a role that does not exist there are none.
    pub async fn binding_list(
        &self,
        subject: Option<Subject>,
        role: Option<&RoleKey>,
        before: Option<BindingId>,
        limit: u64,
    ) -> Result<Vec<Binding>> {
        let role_id = match role {
            Some(key) => match self.store.role_find(key).await? {
                Some(role) => Some(role.id),
                None => return Ok(Vec::new()),
            },
            None => None,
        };
        let filter = BindingFilter { subject, role_id };
        self.store.binding_list(&filter, before, limit).await
    }

    /// Gives a role to a subject. The caller must hold everywhere what the role holds, even for a
    /// binding on one resource.
    pub async fn binding_create(
        &self,
        caller: &Subject,
        key: &RoleKey,
        subject: Subject,
        resource: Option<Resource>,
    ) -> Result<Binding> {
        let change = self.store.change_begin().await?;
        let role = change.role_find(key).await?.ok_or_else(|| key.not_found())?;
        require_held(&change.grant_list(caller).await?, caller, &role.permissions)?;
        let binding = Binding::create(&role, subject, resource, now());
        self.require_room(change.as_ref(), &binding.subject).await?;
        if !change.binding_create(&binding).await? {
            return Err(binding_exists(&binding));
        }
        change.commit(vec![AuthzEvent::RoleBound(binding.clone())]).await?;
        Ok(binding)
    }

    /// Takes a role from its subject. Changes run one after the other, so two callers cannot each
    /// take away what the other took for the last but one administration.
    pub async fn binding_delete(&self, id: BindingId) -> Result<()> {
        let change = self.store.change_begin().await?;
        let found = change.binding_find(id).await?;
        let binding = found.ok_or_else(|| Error::not_found("role binding", id))?;
        if binding.is_administration() && change.administration_count().await? <= 1 {
            let message = "this is the last binding of admin on everything; bind another first";
            return Err(Error::new(LAST_ADMIN, message));
        }
        change.binding_delete(id).await?;
        change.commit(vec![AuthzEvent::RoleUnbound(binding)]).await
    }

    /// Refuses subjects that were deleted or have as many bindings as one may have.
    async fn require_room(&self, change: &dyn Change, subject: &Subject) -> Result<()> {
        if change.subject_is_deleted(subject).await? {
            return Err(Error::new(FAILED_PRECONDITION, format!("{subject} was deleted")));
        }
        let count = change.binding_list_of(subject).await?.len() as u64;
        if count >= self.max_bindings_per_subject {
            let message = format!("{subject} has {count} role bindings, the most one may have");
            return Err(Error::new(FAILED_PRECONDITION, message));
        }
        Ok(())
    }
}

fn binding_exists(binding: &Binding) -> Error {
    let (subject, role) = (&binding.subject, binding.role_name.as_str());
    let place = match &binding.resource {
        Some(resource) => format!("on {}", resource.as_str()),
        None => "everywhere".to_owned(),
    };
    Error::new(BINDING_EXISTS, format!("{subject} has role {role} {place} already"))
}
