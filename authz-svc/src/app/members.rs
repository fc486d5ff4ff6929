//! What becomes of roles when users come and go.

use mainstay::kernel::Result;
use mainstay::kernel::telemetry::hashed_subject;

use super::{App, now};
use crate::domain::{AuthzEvent, Binding, Change, RoleKey, Subject};

impl App {
    /// Gives a new account the roles it begins with. Repeating it changes nothing, and a user whose
    /// deletion arrived first gets none.
    pub async fn account_registered(&self, subject: &Subject, roles: &[String]) -> Result<()> {
        let change = self.store.change_begin().await?;
        let mut events = Vec::new();
        if change.subject_is_deleted(subject).await? {
            let about = match subject {
                Subject::User(id) => hashed_subject(&id.to_string()),
                Subject::Service(name) => Some(name.clone()),
            };
            tracing::info!(about, "a deleted user gets no roles");
        } else {
            for role in roles {
                events.extend(bind_first_role(change.as_ref(), subject, role).await?);
            }
        }
        change.commit(events).await
    }

    /// Takes all roles from a deleted user, the last administrator included: an account that is
    /// gone administers nothing.
    pub async fn user_deleted(&self, subject: &Subject) -> Result<()> {
        let change = self.store.change_begin().await?;
        let bindings = change.binding_list_of(subject).await?;
        for binding in &bindings {
            change.binding_delete(binding.id).await?;
        }
        change.subject_delete(subject).await?;
        let administered = bindings.iter().any(Binding::is_administration);
        if administered && change.administration_count().await? == 0 {
            tracing::warn!(%subject, "the last administrator was deleted: nobody holds admin now");
        }
        change.commit(bindings.into_iter().map(AuthzEvent::RoleUnbound).collect()).await
    }
}

/// Binds one role everywhere; `None` when it is bound already or there is no such role. An unknown
/// role fails nothing: the account's other roles must not wait for it.
async fn bind_first_role(
    change: &dyn Change,
    subject: &Subject,
    role: &str,
) -> Result<Option<AuthzEvent>> {
    let Some(role) = change.role_find(&RoleKey::parse(role)).await? else {
        tracing::error!(%subject, role, "an account begins with a role that does not exist");
        return Ok(None);
    };
    let binding = Binding::create(&role, subject.clone(), None, now());
    let created = change.binding_create(&binding).await?;
    Ok(created.then_some(AuthzEvent::RoleBound(binding)))
}
