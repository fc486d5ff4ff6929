//! Bindings: a role given to a subject.

use chrono::{DateTime, Utc};
use mainstay::contract::authz::{BindingId, RoleId};

use super::resource::Resource;
use super::role::{Role, RoleName, admin_role_id};
use super::subject::Subject;

/// A role given to a subject, everywhere or on one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Id; later bindings have greater ids.
    pub id: BindingId,
    /// The role.
    pub role_id: RoleId,
    /// The role's name.
    pub role_name: RoleName,
    /// Who has it.
    pub subject: Subject,
    /// The one resource it holds on; `None` holds everywhere.
    pub resource: Option<Resource>,
    /// When it was created.
    pub create_time: DateTime<Utc>,
}

impl Binding {
    /// Gives a role to a subject.
    pub fn create(
        role: &Role,
        subject: Subject,
        resource: Option<Resource>,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            id: BindingId::new(),
            role_id: role.id,
            role_name: role.name.clone(),
            subject,
            resource,
            create_time: now,
        }
    }

    /// Whether its subject administers the whole platform by it.
    pub fn is_administration(&self) -> bool {
        self.role_id == admin_role_id() && self.resource.is_none()
    }
}

/// Which bindings to list; conditions stated together must all hold.
#[derive(Clone, Debug, Default)]
pub struct BindingFilter {
    /// Only bindings of this subject.
    pub subject: Option<Subject>,
    /// Only bindings of this role.
    pub role_id: Option<RoleId>,
}
