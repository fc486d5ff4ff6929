//! What authz is about, with no framework in sight: permissions and the patterns that hold them,
//! roles, bindings, the decisions that follow from them, and the ports that adapters implement.

mod binding;
mod decision;
mod event;
mod permission;
mod port;
mod resource;
mod role;
mod subject;

pub use binding::{Binding, BindingFilter};
pub use decision::{Grant, GrantSet, Question, Verdict};
pub use event::AuthzEvent;
pub use permission::{PermissionName, PermissionPattern};
pub use port::{Change, Store};
pub use resource::Resource;
pub use role::{ADMIN, MEMBER, Role, RoleKey, RoleName, RoleUpdate, admin_role_id, member_role_id};
pub use subject::Subject;

/// A permission that a service declares: a row of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredPermission {
    /// Name; also the id.
    pub name: PermissionName,
    /// What holding it allows.
    pub description: String,
    /// The service that declares it.
    pub service: String,
}
