//! Roles: create, read, list, change, delete.

use mainstay::contract::authz::proto::{
    DeleteRoleBindingRequest, DeleteRoleRequest, GetRoleRequest, ListRolesRequest, Role,
    RoleChanged, RoleDeleted, UpdateRoleRequest,
};
use mainstay::contract::authz::{AuthzClient as _, ROLE_BUILT_IN, ROLE_IN_USE, ROLE_NAME_TAKEN};
use mainstay::kernel::Error;
use mainstay::kernel::error::{ETAG_MISMATCH, INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED};
use mainstay::kernel::settings::Transport;
use mainstay_testing::{as_user, eventually};
use prost_types::FieldMask;
use tokio::task::JoinSet;

use crate::harness::{Authz, create_role, refused};

crate::on_both_transports!(
    a_role_lives_from_creation_to_deletion,
    built_in_roles_stay_as_they_are,
    an_update_keeps_to_its_mask_and_etag,
    roles_are_listed_by_name_page_by_page,
    nobody_puts_into_a_role_what_they_do_not_hold,
    of_equal_names_at_the_same_time_one_is_taken,
    roles_are_kept_over_a_restart,
);

async fn a_role_lives_from_creation_to_deletion(transport: Transport) {
    let authz = Authz::begin(transport).await;
    let role = authz.role("support", &["identity.users.read", "audit.*", "audit.*"]).await;
    assert_eq!(role.permissions, ["audit.*", "identity.users.read"]);
    assert!(!role.built_in);
    assert_eq!(get(&authz, "support").await.unwrap(), role);
    assert_eq!(get(&authz, &role.id).await.unwrap(), role);

    let taken = authz.client.create_role(create_role("support", &[]));
    refused(authz.as_admin(taken).await, &ROLE_NAME_TAKEN);

    let user = authz.member().await;
    let binding = authz.bind("support", &format!("user:{user}"), "").await.unwrap();
    refused(delete(&authz, "support").await, &ROLE_IN_USE);
    let unbind = DeleteRoleBindingRequest { binding_id: binding.id };
    authz.as_admin(authz.client.delete_role_binding(unbind)).await.unwrap();

    delete(&authz, &role.id).await.unwrap();
    refused(get(&authz, "support").await, &NOT_FOUND);
    refused(delete(&authz, "support").await, &NOT_FOUND);
    eventually("both events are told", async || {
        let changed = authz.mesh.events::<RoleChanged>().await;
        let deleted = authz.mesh.events::<RoleDeleted>().await;
        let told = changed.iter().any(|event| event.role_id == role.id)
            && deleted.iter().any(|event| event.role_id == role.id && event.name == "support");
        told.then_some(())
    })
    .await;
}

async fn built_in_roles_stay_as_they_are(transport: Transport) {
    let authz = Authz::begin(transport).await;
    for (name, permissions) in [("admin", vec!["*".to_owned()]), ("member", vec![])] {
        let role = get(&authz, name).await.unwrap();
        assert!(role.built_in);
        assert_eq!(role.permissions, permissions);
        let changed = Role { description: "mine".into(), ..Role::default() };
        refused(update(&authz, name, changed, &["description"]).await, &ROLE_BUILT_IN);
        refused(delete(&authz, name).await, &ROLE_BUILT_IN);
        assert_eq!(get(&authz, name).await.unwrap(), role);
    }
}

async fn an_update_keeps_to_its_mask_and_etag(transport: Transport) {
    let authz = Authz::begin(transport).await;
    let role = authz.role("support", &["audit.*"]).await;
    let described = Role { description: "new".into(), ..Role::default() };
    let updated = update(&authz, "support", described.clone(), &["description"]).await.unwrap();
    assert_eq!((updated.description.as_str(), &updated.permissions), ("new", &role.permissions));
    assert_ne!(updated.etag, role.etag);

    let same = update(&authz, "support", described, &["description"]).await.unwrap();
    assert_eq!(same, updated, "a change to the same value is none");

    let stale = Role { permissions: vec![], etag: role.etag.clone(), ..Role::default() };
    refused(update(&authz, "support", stale, &["permissions"]).await, &ETAG_MISMATCH);
    let fresh = Role { permissions: vec![], etag: updated.etag.clone(), ..Role::default() };
    let emptied = update(&authz, "support", fresh, &["permissions"]).await.unwrap();
    assert!(emptied.permissions.is_empty());

    for (header, expected) in [(&updated.etag, Some(ETAG_MISMATCH)), (&emptied.etag, None)] {
        let role = Role { description: format!("by header {header}"), ..Role::default() };
        let mut request = tonic::Request::new(UpdateRoleRequest {
            role_id: "support".into(),
            role: Some(role),
            update_mask: Some(mask(&["description"])),
        });
        request
            .metadata_mut()
            .insert("if-match", format!("\"v99\", W/\"{header}\"").parse().unwrap());
        let mut stub = authz.stub();
        let result = authz.as_admin(stub.update_role(request)).await.map_err(Error::from);
        match expected {
            Some(code) => refused(result, &code),
            None => {
                assert_eq!(result.unwrap().into_inner().description, format!("by header {header}"))
            }
        }
    }
    for path in ["name", "built_in", "nonsense"] {
        let result = update(&authz, "support", Role::default(), &[path]).await;
        refused(result, &INVALID_ARGUMENT);
    }
    refused(update(&authz, "nobody", Role::default(), &["description"]).await, &NOT_FOUND);
}

async fn roles_are_listed_by_name_page_by_page(transport: Transport) {
    let authz = Authz::begin(transport).await;
    for name in ["zebra", "badger", "fox"] {
        authz.role(name, &[]).await;
    }
    let (mut names, mut page_token) = (Vec::new(), String::new());
    for _ in 0..3 {
        let request = ListRolesRequest { page_size: 2, page_token };
        let page = authz.as_admin(authz.client.list_roles(request)).await.unwrap();
        names.extend(page.roles.into_iter().map(|role| role.name));
        page_token = page.next_page_token;
    }
    assert_eq!(names, ["admin", "badger", "fox", "member", "zebra"]);
    assert_eq!(page_token, "");
}

async fn nobody_puts_into_a_role_what_they_do_not_hold(transport: Transport) {
    let authz = Authz::begin(transport).await;
    let editor =
        authz.user_with("editor", &["authz.roles.*", "authz.bindings.create", "audit.*"]).await;
    let create = |name, permissions: &[&str]| {
        let request = create_role(name, permissions);
        as_user(&editor, authz.client.create_role(request))
    };
    refused(create("everything", &["*"]).await, &PERMISSION_DENIED);
    refused(create("other", &["audit.events.list", "billing.*"]).await, &PERMISSION_DENIED);
    create("auditor", &["audit.events.*"]).await.unwrap();

    authz.role("accountant", &["billing.*"]).await;
    let change = |role: Role, paths: &[&str]| {
        let request = UpdateRoleRequest {
            role_id: "accountant".into(),
            role: Some(role),
            update_mask: Some(mask(paths)),
        };
        as_user(&editor, authz.client.update_role(request))
    };
    let with = |permissions: &[&str]| Role {
        permissions: permissions.iter().map(|text| (*text).to_owned()).collect(),
        description: "changed".into(),
        ..Role::default()
    };
    change(with(&[]), &["description"]).await.expect("what stays is not granted anew");
    refused(change(with(&["billing.*", "identity.*"]), &["permissions"]).await, &PERMISSION_DENIED);
    change(with(&["billing.plans.read", "audit.*"]), &["permissions"])
        .await
        .expect("a part of what the role held, and what the caller holds");
    let back = change(with(&["billing.*"]), &["permissions"]).await;
    refused(back, &PERMISSION_DENIED);
}

async fn of_equal_names_at_the_same_time_one_is_taken(transport: Transport) {
    let authz = Authz::begin(transport).await;
    let mut calls = JoinSet::new();
    for _ in 0..8 {
        let (client, admin) = (authz.client.clone(), authz.admin.clone());
        calls.spawn(async move {
            as_user(&admin, client.create_role(create_role("wanted", &[]))).await
        });
    }
    let results = calls.join_all().await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    for result in results.into_iter().filter(Result::is_err) {
        refused(result, &ROLE_NAME_TAKEN);
    }
}

async fn roles_are_kept_over_a_restart(transport: Transport) {
    let mut authz = Authz::begin(transport).await;
    let role = authz.role("support", &["audit.*"]).await;
    let user = authz.member().await;
    authz.bind("support", &format!("user:{user}"), "").await.unwrap();
    authz.stop().await;
    authz.restart().await;
    assert_eq!(get(&authz, "support").await.unwrap(), role);
    assert!(authz.allowed(&user, "audit.events.list").await);
}

async fn get(authz: &Authz, role_id: &str) -> Result<Role, Error> {
    let request = GetRoleRequest { role_id: role_id.to_owned() };
    authz.as_admin(authz.client.get_role(request)).await
}

async fn delete(authz: &Authz, role_id: &str) -> Result<(), Error> {
    let request = DeleteRoleRequest { role_id: role_id.to_owned() };
    authz.as_admin(authz.client.delete_role(request)).await.map(drop)
}

async fn update(authz: &Authz, role_id: &str, role: Role, paths: &[&str]) -> Result<Role, Error> {
    let request = UpdateRoleRequest {
        role_id: role_id.to_owned(),
        role: Some(role),
        update_mask: Some(mask(paths)),
    };
    authz.as_admin(authz.client.update_role(request)).await
}

fn mask(paths: &[&str]) -> FieldMask {
    FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() }
}
