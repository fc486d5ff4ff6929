//! Decisions, and who may ask for them.

use mainstay::contract::authz::AuthzClient as _;
use mainstay::contract::authz::proto::{BatchCheckRequest, ListSubjectPermissionsRequest};
use mainstay::contract::identity::UserId;
use mainstay::kernel::error::{PERMISSION_DENIED, UNAUTHENTICATED};
use mainstay::kernel::settings::Transport;
use mainstay_testing::as_user;

use crate::harness::{Authz, create_role, question, refused};

crate::on_both_transports!(
    decisions_follow_roles_patterns_and_resources,
    users_ask_of_themselves_and_of_others_by_permission,
    the_revision_grows_with_every_change_and_only_then,
    what_a_subject_may_do_is_listed,
);

async fn decisions_follow_roles_patterns_and_resources(transport: Transport) {
    let authz = Authz::begin(transport).await;
    let user = authz.user_with("reader", &["identity.users.list", "audit.*"]).await;
    let ada = format!("user:{user}");
    authz.role("helper", &["identity.users.*"]).await;
    authz.bind("helper", &ada, "users/1").await.unwrap();
    authz.bind("helper", "service:orders-svc", "").await.unwrap();

    let admin = format!("user:{}", authz.admin);
    let nobody = format!("user:{}", UserId::new());
    let table = [
        (&*ada, "identity.users.list", "", true),
        (&*ada, "identity.users.list", "users/2", true),
        (&*ada, "audit.events.verify", "", true),
        (&*ada, "identity.users.read", "users/1", true),
        (&*ada, "identity.users.read", "users/12", false),
        (&*ada, "identity.users.read", "", false),
        (&*ada, "identity.roles.read", "users/1", false),
        (&*ada, "auditing.events.read", "", false),
        ("service:orders-svc", "identity.users.delete", "users/9", true),
        ("service:orders-svc", "audit.events.list", "", false),
        ("service:identity-svc", "identity.users.delete", "", false),
        (&*admin, "no.such.permission", "any/thing", true),
        (&*nobody, "identity.users.list", "", false),
    ];
    let checks = table.iter().map(|(who, what, on, _)| question(who, what, on)).collect();
    let service = authz.client_of("identity-svc");
    let answer = service.batch_check(BatchCheckRequest { checks }).await.unwrap();
    assert_eq!(answer.decisions.len(), table.len());
    for (decision, (who, what, on, allowed)) in answer.decisions.iter().zip(table) {
        assert_eq!(decision.allowed, allowed, "{who} {what} on {on:?}");
        assert_eq!(decision.revision, answer.decisions[0].revision);
        let single = authz.as_admin(authz.client.check(question(who, what, on))).await.unwrap();
        assert_eq!(single, *decision, "one and many questions have the same answer");
    }
}

async fn users_ask_of_themselves_and_of_others_by_permission(transport: Transport) {
    let authz = Authz::begin(transport).await;
    let user = authz.user_with("reader", &["audit.*"]).await;
    let other = format!("user:{}", authz.member().await);
    let ask = |subject: &str| {
        as_user(&user, authz.client.check(question(subject, "audit.events.list", "")))
    };
    assert!(ask("").await.unwrap().allowed);
    assert!(ask(&format!("user:{user}")).await.unwrap().allowed);
    refused(ask(&other).await, &PERMISSION_DENIED);
    refused(ask("service:audit-svc").await, &PERMISSION_DENIED);
    refused(authz.client.check(question("", "a.b.c", "")).await, &UNAUTHENTICATED);

    authz.role("inquirer", &["authz.decisions.read"]).await;
    authz.bind("inquirer", &format!("user:{user}"), "users/1").await.unwrap();
    refused(ask(&other).await, &PERMISSION_DENIED);
    authz.bind("inquirer", &format!("user:{user}"), "").await.unwrap();
    assert!(!ask(&other).await.unwrap().allowed);
}

async fn the_revision_grows_with_every_change_and_only_then(transport: Transport) {
    let authz = Authz::begin(transport).await;
    let revision = async || {
        let check = authz.client.check(question("", "a.b.c", ""));
        authz.as_admin(check).await.unwrap().revision
    };
    let before = revision().await;
    authz.role("support", &[]).await;
    assert_eq!(revision().await, before + 1);
    let taken = authz.client.create_role(create_role("support", &[]));
    authz.as_admin(taken).await.unwrap_err();
    assert_eq!(revision().await, before + 1, "what was refused changed nothing");
    authz.bind("support", "service:orders-svc", "").await.unwrap();
    assert_eq!(revision().await, before + 2);
}

async fn what_a_subject_may_do_is_listed(transport: Transport) {
    let authz = Authz::begin(transport).await;
    let user = authz.user_with("reader", &["audit.*", "identity.users.list"]).await;
    authz.role("helper", &["identity.users.read"]).await;
    authz.bind("helper", &format!("user:{user}"), "users/1").await.unwrap();
    let list = |subject: &str| {
        let request = ListSubjectPermissionsRequest { subject: subject.to_owned() };
        as_user(&user, authz.client.list_subject_permissions(request))
    };
    let held: Vec<_> = list("")
        .await
        .unwrap()
        .permissions
        .into_iter()
        .map(|held| (held.permission, held.resource, held.role_name))
        .collect();
    let expected = [
        ("audit.*", "", "reader"),
        ("identity.users.list", "", "reader"),
        ("identity.users.read", "users/1", "helper"),
    ];
    let expected = expected.map(|(what, on, role)| (what.into(), on.into(), role.into()));
    assert_eq!(held, expected);
    refused(list(&format!("user:{}", authz.admin)).await, &PERMISSION_DENIED);
}
