//! Domain events become the events of the contract.

use mainstay::contract::authz::proto;
use mainstay::kernel::Result;
use mainstay::kernel::database::Transaction;

use crate::domain::{AuthzEvent, Binding, PermissionPattern, Resource, Role};

/// Stores an event in the outbox of the transaction that makes it true.
pub async fn store(transaction: &Transaction, event: &AuthzEvent) -> Result<()> {
    match event {
        AuthzEvent::RoleChanged(role) => transaction.publish(&role_changed(role)).await,
        AuthzEvent::RoleDeleted(role) => transaction.publish(&role_deleted(role)).await,
        AuthzEvent::RoleBound(binding) => transaction.publish(&role_bound(binding)).await,
        AuthzEvent::RoleUnbound(binding) => transaction.publish(&role_unbound(binding)).await,
    }
}

fn role_changed(role: &Role) -> proto::RoleChanged {
    let text = |pattern: &PermissionPattern| pattern.as_str().to_owned();
    proto::RoleChanged {
        role_id: role.id.to_string(),
        name: role.name.as_str().to_owned(),
        permissions: role.permissions.iter().map(text).collect(),
    }
}

fn role_deleted(role: &Role) -> proto::RoleDeleted {
    proto::RoleDeleted { role_id: role.id.to_string(), name: role.name.as_str().to_owned() }
}

fn role_bound(binding: &Binding) -> proto::RoleBound {
    proto::RoleBound {
        binding_id: binding.id.to_string(),
        subject: binding.subject.to_string(),
        role_id: binding.role_id.to_string(),
        role_name: binding.role_name.as_str().to_owned(),
        resource: binding.resource.as_ref().map_or("", Resource::as_str).to_owned(),
    }
}

fn role_unbound(binding: &Binding) -> proto::RoleUnbound {
    proto::RoleUnbound {
        binding_id: binding.id.to_string(),
        subject: binding.subject.to_string(),
        role_id: binding.role_id.to_string(),
        role_name: binding.role_name.as_str().to_owned(),
        resource: binding.resource.as_ref().map_or("", Resource::as_str).to_owned(),
    }
}
