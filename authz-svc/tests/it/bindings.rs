//! Bindings: who has which role.

use authz_svc::config::Config;
use mainstay::contract::authz::proto::{
    DeleteRoleBindingRequest, ListRoleBindingsRequest, RoleBound, RoleUnbound,
};
use mainstay::contract::authz::{AuthzClient as _, BINDING_EXISTS, BindingId, LAST_ADMIN};
use mainstay::contract::identity::UserId;
use mainstay::kernel::Error;
use mainstay::kernel::error::{FAILED_PRECONDITION, NOT_FOUND, PERMISSION_DENIED};
use mainstay::kernel::settings::Transport;
use mainstay_testing::{as_user, eventually};
use tokio::task::JoinSet;

use crate::harness::{Authz, create_binding, refused};

crate::on_both_transports!(
    a_binding_gives_and_takes,
    a_binding_is_there_once,
    bindings_are_listed_newest_first_page_by_page,
    nobody_gives_what_they_do_not_hold,
    the_last_administrator_stays,
    the_last_administrator_stays_however_many_try_at_once,
    a_subject_has_so_many_bindings_at_most,
);

async fn a_binding_gives_and_takes(transport: Transport) {
    let authz = Authz::begin(transport).await;
    authz.role("support", &["identity.users.*"]).await;
    let user = authz.member().await;
    let subject = format!("user:{user}");
    assert!(!authz.allowed(&user, "identity.users.list").await);

    let binding = authz.bind("support", &subject, "").await.unwrap();
    assert_eq!((binding.role_name.as_str(), &binding.subject), ("support", &subject));
    assert!(authz.allowed(&user, "identity.users.list").await, "it holds at once");

    delete(&authz, &authz.admin, &binding.id).await.unwrap();
    assert!(!authz.allowed(&user, "identity.users.list").await, "it is gone at once");
    refused(delete(&authz, &authz.admin, &binding.id).await, &NOT_FOUND);

    eventually("both events are told", async || {
        let bound = authz.mesh.events::<RoleBound>().await;
        let unbound = authz.mesh.events::<RoleUnbound>().await;
        let told = bound.iter().any(|event| event.binding_id == binding.id)
            && unbound.iter().any(|event| event.binding_id == binding.id);
        told.then_some(())
    })
    .await;
}

async fn a_binding_is_there_once(transport: Transport) {
    let authz = Authz::begin(transport).await;
    let subject = format!("user:{}", UserId::new());
    let mut calls = JoinSet::new();
    for _ in 0..8 {
        let (client, admin) = (authz.client.clone(), authz.admin.clone());
        let request = create_binding("member", &subject, "users/1");
        calls.spawn(async move { as_user(&admin, client.create_role_binding(request)).await });
    }
    let results = calls.join_all().await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    for result in results.into_iter().filter(Result::is_err) {
        refused(result, &BINDING_EXISTS);
    }
    authz.bind("member", &subject, "users/2").await.expect("another resource is another binding");
    authz.bind("member", &subject, "").await.expect("everywhere is another binding too");
}

async fn bindings_are_listed_newest_first_page_by_page(transport: Transport) {
    let authz = Authz::begin(transport).await;
    authz.role("support", &[]).await;
    let (one, other) = (format!("user:{}", UserId::new()), "service:orders-svc".to_owned());
    let mut made = Vec::new();
    for resource in ["users/1", "users/2", "users/3"] {
        for subject in [&one, &other] {
            made.push(authz.bind("support", subject, resource).await.unwrap().id);
        }
    }
    made.reverse();
    let listed = list(&authz, ListRoleBindingsRequest { role_id: "support".into(), ..paged(4) });
    assert_eq!(listed.await, made);
    let of_one = list(&authz, ListRoleBindingsRequest { subject: one, ..paged(2) }).await;
    assert_eq!(of_one, [&*made[1], &*made[3], &*made[5]]);
    let unknown = ListRoleBindingsRequest { role_id: "unheard-of".into(), ..paged(2) };
    assert!(list(&authz, unknown).await.is_empty());
}

async fn nobody_gives_what_they_do_not_hold(transport: Transport) {
    let authz = Authz::begin(transport).await;
    authz.role("auditor", &["audit.*"]).await;
    let clerk = authz.user_with("clerk", &["authz.bindings.create", "audit.events.*"]).await;
    let (me, friend) = (format!("user:{clerk}"), format!("user:{}", UserId::new()));
    let bind = |role, subject: &str, resource| {
        let request = create_binding(role, subject, resource);
        as_user(&clerk, authz.client.create_role_binding(request))
    };
    let table = [
        ("admin", &me, "", false),
        ("admin", &friend, "users/1", false),
        ("auditor", &me, "", false),
        ("clerk", &friend, "", true),
        ("member", &friend, "", true),
    ];
    for (role, subject, resource, taken) in table {
        match bind(role, subject, resource).await {
            Ok(_) => assert!(taken, "{role} for {subject} on {resource:?} was given"),
            result => refused(result, &PERMISSION_DENIED),
        }
    }
    authz.bind("auditor", &me, "users/1").await.unwrap();
    let result = bind("auditor", &friend, "users/1").await;
    refused(result, &PERMISSION_DENIED);
}

async fn the_last_administrator_stays(transport: Transport) {
    let authz = Authz::begin(transport).await;
    let first = administration_of(&authz, &authz.admin).await;
    refused(delete(&authz, &authz.admin, &first).await, &LAST_ADMIN);

    let second = authz.member().await;
    authz.bind("admin", &format!("user:{second}"), "users/1").await.unwrap();
    let of_a_part = delete(&authz, &authz.admin, &first).await;
    refused(of_a_part, &LAST_ADMIN);

    authz.bind("admin", &format!("user:{second}"), "").await.unwrap();
    delete(&authz, &authz.admin, &first).await.unwrap();
    assert!(!authz.allowed(&authz.admin, "authz.roles.list").await);
    assert!(authz.allowed(&second, "authz.roles.list").await);
}

async fn the_last_administrator_stays_however_many_try_at_once(transport: Transport) {
    let authz = Authz::begin(transport).await;
    let janitor = authz.user_with("janitor", &["authz.bindings.delete"]).await;
    let mut administrations = vec![administration_of(&authz, &authz.admin).await];
    for _ in 0..3 {
        let subject = format!("user:{}", UserId::new());
        administrations.push(authz.bind("admin", &subject, "").await.unwrap().id);
    }
    let mut calls = JoinSet::new();
    for binding_id in administrations {
        let (client, janitor) = (authz.client.clone(), janitor.clone());
        calls.spawn(async move {
            let request = DeleteRoleBindingRequest { binding_id };
            as_user(&janitor, client.delete_role_binding(request)).await
        });
    }
    let results = calls.join_all().await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 3);
    for result in results.into_iter().filter(Result::is_err) {
        refused(result, &LAST_ADMIN);
    }
}

async fn a_subject_has_so_many_bindings_at_most(transport: Transport) {
    let config = Config { max_bindings_per_subject: 3, ..Config::default() };
    let authz = Authz::begin_with(transport, config).await;
    let subject = format!("user:{}", authz.member().await);
    authz.bind("member", &subject, "users/1").await.unwrap();
    authz.bind("member", &subject, "users/2").await.unwrap();
    refused(authz.bind("member", &subject, "users/3").await, &FAILED_PRECONDITION);
    assert_eq!(authz.bindings_of(subject.trim_start_matches("user:")).await.len(), 3);
}

async fn delete(authz: &Authz, caller: &str, binding_id: &str) -> Result<(), Error> {
    let request = DeleteRoleBindingRequest { binding_id: binding_id.to_owned() };
    as_user(caller, authz.client.delete_role_binding(request)).await.map(drop)
}

/// Id of the binding by which a user administers everything.
async fn administration_of(authz: &Authz, user: &str) -> String {
    let bindings = authz.bindings_of(user).await;
    let found = bindings.into_iter().find(|binding| binding.role_name == "admin");
    let id = found.unwrap().id;
    BindingId::parse(&id).unwrap();
    id
}

fn paged(page_size: i32) -> ListRoleBindingsRequest {
    ListRoleBindingsRequest { page_size, ..ListRoleBindingsRequest::default() }
}

/// Ids of all bindings of a query, over its pages.
async fn list(authz: &Authz, mut request: ListRoleBindingsRequest) -> Vec<String> {
    let mut ids = Vec::new();
    loop {
        let page = authz.client.list_role_bindings(request.clone());
        let page = authz.as_admin(page).await.unwrap();
        ids.extend(page.role_bindings.into_iter().map(|binding| binding.id));
        if page.next_page_token.is_empty() {
            return ids;
        }
        request.page_token = page.next_page_token;
    }
}
