//! What becomes of roles as users and services come and go.

use mainstay::contract::authz::AuthzClient as _;
use mainstay::contract::authz::proto::{
    BindInitialRolesRequest, ListPermissionsRequest, RoleBound, RoleUnbound,
};
use mainstay::contract::identity::UserId;
use mainstay::contract::identity::proto::UserDeleted;
use mainstay::kernel::error::{FAILED_PRECONDITION, PERMISSION_DENIED};
use mainstay::kernel::proto::events::{PermissionDeclaration, ServiceDeclared};
use mainstay::kernel::settings::Transport;
use mainstay_testing::eventually;

use crate::harness::{Authz, MEMBER, refused};

crate::on_both_transports!(
    an_account_begins_with_its_roles_once,
    roles_bound_by_a_call_and_by_an_event_are_bound_once,
    a_deleted_user_loses_all_roles_and_gets_none_again,
    even_the_last_administrator_can_be_deleted,
    events_are_heard_although_authz_was_down,
    services_permissions_appear_by_themselves,
);

async fn an_account_begins_with_its_roles_once(transport: Transport) {
    let authz = Authz::begin(transport).await;
    let user = UserId::new().to_string();
    authz.announce(&user, &["unheard-of", "member"]).await;
    authz.announce(&user, &["member"]).await;
    eventually("the role is bound", async || {
        (!authz.bindings_of(&user).await.is_empty()).then_some(())
    })
    .await;
    let last = authz.member().await;
    let names: Vec<_> =
        authz.bindings_of(&user).await.into_iter().map(|binding| binding.role_name).collect();
    assert_eq!(names, MEMBER);
    eventually("the bindings are told", async || {
        let bound = authz.mesh.events::<RoleBound>().await;
        let told = |user: &str| {
            bound.iter().filter(|event| event.subject == format!("user:{user}")).count()
        };
        (told(&last) == 1 && told(&user) == 1).then_some(())
    })
    .await;
}

/// The same registration comes by auth's call and by its event, repeatedly.
async fn roles_bound_by_a_call_and_by_an_event_are_bound_once(transport: Transport) {
    let authz = Authz::begin(transport).await;
    let user = UserId::new().to_string();
    let request = || BindInitialRolesRequest {
        user_id: user.clone(),
        role_names: vec!["unheard-of".into(), "member".into()],
    };
    let auth = authz.client_of("auth-svc");
    auth.bind_initial_roles(request()).await.unwrap();
    authz.announce(&user, MEMBER).await;
    authz.member().await;
    auth.bind_initial_roles(request()).await.unwrap();
    assert_eq!(authz.bindings_of(&user).await.len(), 1);
    refused(authz.client_of("gateway").bind_initial_roles(request()).await, &PERMISSION_DENIED);

    authz.mesh.publish(&UserDeleted { user_id: user.clone() }).await;
    eventually("the binding is gone", async || {
        authz.bindings_of(&user).await.is_empty().then_some(())
    })
    .await;
    auth.bind_initial_roles(request()).await.unwrap();
    assert!(authz.bindings_of(&user).await.is_empty(), "a late call gives nothing");
}

async fn a_deleted_user_loses_all_roles_and_gets_none_again(transport: Transport) {
    let authz = Authz::begin(transport).await;
    let user = authz.user_with("reader", &["audit.*"]).await;
    authz.bind("reader", &format!("user:{user}"), "users/1").await.unwrap();
    authz.mesh.publish(&UserDeleted { user_id: user.clone() }).await;
    eventually("all bindings are gone", async || {
        authz.bindings_of(&user).await.is_empty().then_some(())
    })
    .await;
    assert!(!authz.allowed(&user, "audit.events.list").await);
    eventually("each end is told", async || {
        let unbound = authz.mesh.events::<RoleUnbound>().await;
        let subject = format!("user:{user}");
        (unbound.iter().filter(|event| event.subject == subject).count() == 3).then_some(())
    })
    .await;

    refused(authz.bind("member", &format!("user:{user}"), "").await, &FAILED_PRECONDITION);
    authz.announce(&user, MEMBER).await;
    authz.member().await;
    assert!(authz.bindings_of(&user).await.is_empty(), "a late registration gives nothing");
}

async fn even_the_last_administrator_can_be_deleted(transport: Transport) {
    let authz = Authz::begin(transport).await;
    assert!(authz.allowed(&authz.admin, "authz.roles.list").await);
    authz.mesh.publish(&UserDeleted { user_id: authz.admin.clone() }).await;
    eventually("nobody administers", async || {
        (!authz.allowed(&authz.admin, "authz.roles.list").await).then_some(())
    })
    .await;
}

async fn events_are_heard_although_authz_was_down(transport: Transport) {
    let mut authz = Authz::begin(transport).await;
    let leaving = authz.member().await;
    authz.stop().await;
    let coming = UserId::new().to_string();
    authz.announce(&coming, MEMBER).await;
    authz.mesh.publish(&UserDeleted { user_id: leaving.clone() }).await;
    authz.restart().await;
    eventually("both events took effect", async || {
        let came = !authz.bindings_of(&coming).await.is_empty();
        let left = authz.bindings_of(&leaving).await.is_empty();
        (came && left).then_some(())
    })
    .await;
}

async fn services_permissions_appear_by_themselves(transport: Transport) {
    let authz = Authz::begin(transport).await;
    eventually("authz declares its own", async || {
        catalogue(&authz).await.contains(&own("authz.decisions.read")).then_some(())
    })
    .await;

    let table: [&[&str]; 3] = [
        &["orders.orders.read", "orders.orders.list"],
        &["orders.orders.list", "orders.parcels.read", "not a permission"],
        &[],
    ];
    for names in table {
        declare(&authz, names).await;
        let mut expected: Vec<String> =
            names.iter().filter(|name| !name.contains(' ')).map(|name| (*name).into()).collect();
        expected.sort();
        eventually("the newest declaration is what is listed", async || {
            let listed: Vec<String> = catalogue(&authz)
                .await
                .into_iter()
                .filter(|(_, service)| service == "orders-svc")
                .map(|(name, _)| name)
                .collect();
            (listed == expected).then_some(())
        })
        .await;
    }
    assert!(catalogue(&authz).await.contains(&own("authz.roles.list")), "others keep theirs");
}

fn own(name: &str) -> (String, String) {
    (name.to_owned(), "authz-svc".to_owned())
}

async fn declare(authz: &Authz, names: &[&str]) {
    let declaration = |name: &&str| PermissionDeclaration {
        name: (*name).to_owned(),
        description: "For tests.".to_owned(),
    };
    let declared = ServiceDeclared {
        service: "orders-svc".to_owned(),
        version: "1".to_owned(),
        permissions: names.iter().map(declaration).collect(),
    };
    authz.mesh.publish(&declared).await;
}

/// Name and service of all permissions, over the pages of the list.
async fn catalogue(authz: &Authz) -> Vec<(String, String)> {
    let (mut all, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListPermissionsRequest { page_size: 3, page_token };
        let page = authz.as_admin(authz.client.list_permissions(request)).await.unwrap();
        let rows = page.permissions.into_iter();
        all.extend(rows.map(|permission| (permission.id, permission.service)));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return all;
        }
    }
}
