//! What happens to roles and bindings.

use super::binding::Binding;
use super::role::Role;

/// A change of which the platform is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthzEvent {
    /// A role was created or changed.
    RoleChanged(Role),
    /// A role was deleted.
    RoleDeleted(Role),
    /// A role was bound to a subject.
    RoleBound(Binding),
    /// A role was taken from a subject.
    RoleUnbound(Binding),
}
