//! Users, roles and the trail, for a person who has logged in.

use mainstay_testing::{ADMIN_EMAIL, ADMIN_PASSWORD, Platform, eventually};

use crate::harness::Operator;

#[tokio::test]
async fn a_person_who_has_logged_in_sees_what_they_may() {
    let platform = Platform::start().await;
    let operator = Operator::of(&platform);
    let nobody = operator.run(&["users", "list"]);
    assert_eq!(nobody.code, 1);
    assert!(nobody.err.contains("mainstayctl login"), "{nobody:?}");

    let ada = platform.sign_up("ada@example.org").await;
    assert_eq!(operator.log_in(&ada.email, &ada.password).code, 0);
    let denied = operator.run(&["users", "list"]);
    assert_eq!(denied.code, 1);
    assert!(denied.err.contains("identity.users.list"), "{denied:?}");
    let wrong = operator.log_in(ADMIN_EMAIL, "not the password");
    assert_eq!((wrong.code, wrong.err.lines().count()), (1, 1), "{wrong:?}");

    platform.admin().await;
    assert_eq!(operator.log_in(ADMIN_EMAIL, ADMIN_PASSWORD).code, 0);
    let users = operator.json(&["users", "list"]);
    assert!(users.as_array().unwrap().iter().all(|user| user["email"] == "[redacted]"), "{users}");
    let user = operator.json(&["users", "show", "ada@example.org", "--reveal"]);
    assert_eq!((&user["id"], &user["email"]), (&ada.id.as_str().into(), &"ada@example.org".into()));

    let subject = format!("user:{}", ada.id);
    let granted = operator.json(&["roles", "grant", "admin", &subject]);
    let listed = operator.json(&["roles", "bindings", "--subject", &subject, "--role", "admin"]);
    assert_eq!(listed[0]["id"], granted["id"]);
    let binding = granted["id"].as_str().unwrap();
    let unasked = operator.run(&["roles", "revoke", binding]);
    assert_eq!(unasked.code, 2, "nobody is there to be asked: {unasked:?}");
    assert_eq!(operator.run(&["roles", "revoke", binding, "--yes"]).code, 0);
    let roles = operator.json(&["roles", "list"]);
    assert!(roles.as_array().unwrap().iter().any(|role| role["name"] == "member"));

    assert_eq!(operator.json(&["audit", "verify"])["intact"], true);
    let action = "authz.v1.AuthzService/CreateRoleBinding";
    let record = eventually("the grant in the trail", async || {
        let records = operator.json(&["audit", "list", "--action", action, "--since", "10m"]);
        records.as_array().unwrap().first().cloned()
    })
    .await;
    let actor = record["actor"].as_str().unwrap();
    assert!(actor.starts_with("user:"), "the person, not the tool: {record}");
    assert_eq!(operator.run(&["logout"]).code, 0);
    assert_eq!(operator.run(&["users", "list"]).code, 1);
}
