//! Domain types become messages of the contract.

use std::time::Duration;

use mainstay::contract::authz::proto::{
    self, Decision, ListPermissionsResponse, ListRoleBindingsResponse, ListRolesResponse,
    ListSubjectPermissionsResponse, SubjectPermission, WatchRevisionsResponse,
};
use mainstay::kernel::page::{PageRequest, PageToken};
use mainstay::kernel::time::timestamp;
use tonic::Response;

use crate::domain::{Binding, DeclaredPermission, Grant, Resource, Role, Verdict};

/// One role.
pub fn role(role: &Role) -> Response<proto::Role> {
    Response::new(role_message(role))
}

/// One binding.
pub fn binding(binding: &Binding) -> Response<proto::RoleBinding> {
    Response::new(binding_message(binding))
}

/// One answer.
pub fn decision(verdict: Verdict) -> Decision {
    Decision { allowed: verdict.allowed, revision: verdict.revision }
}

/// At which revision the bindings were, so long after the request had arrived.
pub fn revision(revision: i64, elapsed: Duration) -> WatchRevisionsResponse {
    WatchRevisionsResponse { revision, elapsed: elapsed.try_into().ok() }
}

/// A page of roles.
pub fn role_page(page: &PageRequest, roles: Vec<Role>) -> Response<ListRolesResponse> {
    let (roles, next_page_token) = page.cut(roles, |role| PageToken::new([role.name.as_str()]));
    let roles = roles.iter().map(role_message).collect();
    Response::new(ListRolesResponse { roles, next_page_token })
}

/// A page of bindings.
pub fn binding_page(
    page: &PageRequest,
    bindings: Vec<Binding>,
) -> Response<ListRoleBindingsResponse> {
    let key = |binding: &Binding| PageToken::new([binding.id.to_string()]);
    let (bindings, next_page_token) = page.cut(bindings, key);
    let role_bindings = bindings.iter().map(binding_message).collect();
    Response::new(ListRoleBindingsResponse { role_bindings, next_page_token })
}

/// A page of the catalogue.
pub fn permission_page(
    page: &PageRequest,
    permissions: Vec<DeclaredPermission>,
) -> Response<ListPermissionsResponse> {
    let key = |permission: &DeclaredPermission| PageToken::new([permission.name.as_str()]);
    let (permissions, next_page_token) = page.cut(permissions, key);
    let permissions = permissions.into_iter().map(permission_message).collect();
    Response::new(ListPermissionsResponse { permissions, next_page_token })
}

/// What a subject may do: each permission, resource and role once, by permission.
pub fn grants(grants: &[Grant]) -> Response<ListSubjectPermissionsResponse> {
    let mut permissions: Vec<_> = grants.iter().flat_map(subject_permissions).collect();
    let key = |held: &SubjectPermission| {
        (held.permission.clone(), held.resource.clone(), held.role_name.clone())
    };
    permissions.sort_by_key(key);
    Response::new(ListSubjectPermissionsResponse { permissions, next_page_token: String::new() })
}

fn subject_permissions(grant: &Grant) -> impl Iterator<Item = SubjectPermission> {
    grant.permissions.iter().map(|pattern| SubjectPermission {
        permission: pattern.as_str().to_owned(),
        resource: text_of(grant.resource.as_ref()),
        role_name: grant.role_name.as_str().to_owned(),
    })
}

fn role_message(role: &Role) -> proto::Role {
    proto::Role {
        id: role.id.to_string(),
        name: role.name.as_str().to_owned(),
        description: role.description.clone(),
        permissions: role.permissions.iter().map(|held| held.as_str().to_owned()).collect(),
        built_in: role.built_in,
        create_time: Some(timestamp(role.create_time)),
        update_time: Some(timestamp(role.update_time)),
        etag: role.etag(),
    }
}

fn binding_message(binding: &Binding) -> proto::RoleBinding {
    proto::RoleBinding {
        id: binding.id.to_string(),
        role_id: binding.role_id.to_string(),
        role_name: binding.role_name.as_str().to_owned(),
        subject: binding.subject.to_string(),
        resource: text_of(binding.resource.as_ref()),
        create_time: Some(timestamp(binding.create_time)),
    }
}

fn permission_message(permission: DeclaredPermission) -> proto::Permission {
    proto::Permission {
        id: permission.name.as_str().to_owned(),
        description: permission.description,
        service: permission.service,
    }
}

fn text_of(resource: Option<&Resource>) -> String {
    resource.map_or("", Resource::as_str).to_owned()
}
