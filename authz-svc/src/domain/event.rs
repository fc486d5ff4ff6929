//! What happens to roles and bindings.

use super::binding::Binding;
use super::role::{Role, member_role_id};

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

impl AuthzEvent {
    /// Whether a decision can be another one by it. `member` holds no permission and is never
    /// changed: everybody who registers gets it, and nobody may do more by that.
    pub fn can_change_decisions(&self) -> bool {
        match self {
            Self::RoleChanged(_) | Self::RoleDeleted(_) => true,
            Self::RoleBound(binding) | Self::RoleUnbound(binding) => {
                binding.role_id != member_role_id()
            }
        }
    }
}
