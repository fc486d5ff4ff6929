//! Bad input, and callers who may not.

use mainstay::contract::authz::AuthzClient as _;
use mainstay::contract::authz::proto::{
    BatchCheckRequest, CreateRoleBindingRequest, CreateRoleRequest, DeleteRoleBindingRequest,
    DeleteRoleRequest, GetRoleRequest, ListPermissionsRequest, ListRoleBindingsRequest,
    ListRolesRequest, UpdateRoleRequest,
};
use mainstay::contract::identity::UserId;
use mainstay::kernel::error::{INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED};
use mainstay::kernel::settings::Transport;
use mainstay::kernel::{Error, Result};
use mainstay_testing::as_user;

use crate::harness::{Authz, create_binding, create_role, question, refused};

crate::on_both_transports!(
    malformed_requests_are_refused_by_field,
    unknown_ids_are_not_found,
    members_may_not_administer,
);

async fn malformed_requests_are_refused_by_field(transport: Transport) {
    let authz = Authz::begin(transport).await;
    let client = &authz.client;
    let long = "x".repeat(600);

    for name in ["", "a", "Admin", "sup port", "1a", &UserId::new().to_string(), &long] {
        invalid(authz.as_admin(client.create_role(create_role(name, &[]))).await, "name");
    }
    for permission in ["", "identity", "identity.users", "a.b.c.*", "a.b.c.d", "A.b.c", "a b.c.d"] {
        let request = create_role("fine", &["audit.*", permission]);
        invalid(authz.as_admin(client.create_role(request)).await, "permissions[1]");
    }
    let described = CreateRoleRequest { description: long.clone(), ..create_role("fine", &[]) };
    invalid(authz.as_admin(client.create_role(described)).await, "description");

    for subject in ["", "user:1", "group:staff", "service:Upper", "user:", &long] {
        let request = create_binding("member", subject, "");
        invalid(authz.as_admin(client.create_role_binding(request)).await, "subject");
    }
    for resource in ["users", "users/", "/1", "users/a b", &long] {
        let request = create_binding("member", "service:orders-svc", resource);
        invalid(authz.as_admin(client.create_role_binding(request)).await, "resource");
    }
    for permission in ["", "a.b", "a.b.*", "*", &long] {
        invalid(authz.as_admin(client.check(question("", permission, ""))).await, "permission");
    }
    invalid(authz.as_admin(client.check(question("me", "a.b.c", ""))).await, "subject");
    invalid(client.batch_check(BatchCheckRequest { checks: vec![] }).await, "checks");
    let checks = vec![question("", "a.b.c", "")];
    invalid(client.batch_check(BatchCheckRequest { checks }).await, "checks[0].subject");

    for page_size in [-1, 201] {
        let request = ListRolesRequest { page_size, ..ListRolesRequest::default() };
        invalid(authz.as_admin(client.list_roles(request)).await, "page_size");
    }
    for page_token in ["nonsense", "W10", "WyJVUFBFUiJd"] {
        let page_token = page_token.to_owned();
        let roles = ListRolesRequest { page_token: page_token.clone(), page_size: 0 };
        invalid(authz.as_admin(client.list_roles(roles)).await, "page_token");
        let permissions = ListPermissionsRequest { page_token: page_token.clone(), page_size: 0 };
        invalid(authz.as_admin(client.list_permissions(permissions)).await, "page_token");
        let bindings = ListRoleBindingsRequest { page_token, ..ListRoleBindingsRequest::default() };
        invalid(authz.as_admin(client.list_role_bindings(bindings)).await, "page_token");
    }
    let request = DeleteRoleBindingRequest { binding_id: "1".into() };
    invalid(authz.as_admin(client.delete_role_binding(request)).await, "binding_id");
    let request = UpdateRoleRequest { role_id: "member".into(), ..UpdateRoleRequest::default() };
    invalid(authz.as_admin(client.update_role(request)).await, "role");

    let roles = authz.as_admin(client.list_roles(ListRolesRequest::default())).await.unwrap();
    assert_eq!(roles.roles.len(), 2, "nothing was half-written");
}

async fn unknown_ids_are_not_found(transport: Transport) {
    let authz = Authz::begin(transport).await;
    let client = &authz.client;
    for id in ["unheard-of".to_owned(), UserId::new().to_string()] {
        let get = GetRoleRequest { role_id: id.clone() };
        refused(authz.as_admin(client.get_role(get)).await, &NOT_FOUND);
        let delete = DeleteRoleRequest { role_id: id.clone() };
        refused(authz.as_admin(client.delete_role(delete)).await, &NOT_FOUND);
        let bind = create_binding(&id, "service:orders-svc", "");
        refused(authz.as_admin(client.create_role_binding(bind)).await, &NOT_FOUND);
    }
    let delete = DeleteRoleBindingRequest { binding_id: UserId::new().to_string() };
    refused(authz.as_admin(client.delete_role_binding(delete)).await, &NOT_FOUND);
}

async fn members_may_not_administer(transport: Transport) {
    let authz = Authz::begin(transport).await;
    let (client, user) = (&authz.client, authz.member().await);
    let role_id = "member".to_owned();
    let bind: CreateRoleBindingRequest = create_binding("admin", &format!("user:{user}"), "");
    let denied = [
        drop_reply(as_user(&user, client.list_roles(ListRolesRequest::default())).await),
        drop_reply(as_user(&user, client.create_role(create_role("mine", &[]))).await),
        drop_reply(
            as_user(&user, client.get_role(GetRoleRequest { role_id: role_id.clone() })).await,
        ),
        drop_reply(as_user(&user, client.delete_role(DeleteRoleRequest { role_id })).await),
        drop_reply(as_user(&user, client.create_role_binding(bind)).await),
        drop_reply(
            as_user(&user, client.list_role_bindings(ListRoleBindingsRequest::default())).await,
        ),
        drop_reply(
            as_user(&user, client.list_permissions(ListPermissionsRequest::default())).await,
        ),
    ];
    for result in denied {
        refused(result, &PERMISSION_DENIED);
    }
}

fn drop_reply<T>(result: Result<T>) -> Result<()> {
    result.map(drop)
}

/// Asserts that a request was refused and that field named.
#[track_caller]
fn invalid<T: std::fmt::Debug>(result: Result<T>, field: &str) {
    let error: Error = result.expect_err("the request was to be refused");
    assert!(error.is(&INVALID_ARGUMENT), "refused as {error}");
    let named = error.violations().iter().any(|violation| violation.field == field);
    assert!(named, "{error} does not name {field}: {:?}", error.violations());
}
