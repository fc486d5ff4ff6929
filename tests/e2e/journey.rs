//! The way of a user through the platform.

use http::Method;
use mainstay_testing::{Platform, eventually};
use serde_json::json;

use crate::people::{Person, claims};

#[tokio::test]
async fn from_registration_to_a_paid_plan() {
    let platform = Platform::start().await;
    let ada = Person::register(&platform, "ada").await;
    let admin = Person::admin(&platform).await;

    let me = ada.rest.get("/api/v1/users/me").await;
    assert_eq!(me.status, 200, "{me:?}");
    assert_eq!(me.json()["data"]["id"], ada.id);
    assert_eq!(me.json()["data"]["email"], ada.email);

    // The `ETag` of a reply serves for `If-Match`, until somebody has changed something.
    let headers = [("content-type", "application/json"), ("if-match", me.header("etag"))];
    for status in [200, 412] {
        let bio = json!({ "bio": format!("until {status}") }).to_string().into();
        let changed = ada.rest.send(Method::PATCH, "/api/v1/users/me", &headers, bio).await;
        assert_eq!(changed.status, status, "{changed:?}");
    }

    let forbidden = ada.rest.get("/api/v1/users").await;
    assert_eq!(forbidden.status, 403, "{forbidden:?}");
    assert_eq!(forbidden.json()["error"]["code"], "PERMISSION_DENIED");

    let role = json!({"name": "reader", "permissions": ["identity.users.list"]});
    let role = admin.rest.post("/api/v1/roles", role).await;
    assert_eq!(role.status, 200, "{role:?}");
    let subject = format!("user:{}", ada.id);
    let binding = json!({"role_id": role.json()["data"]["id"], "subject": subject});
    let binding = admin.rest.post("/api/v1/role-bindings", binding).await;
    assert_eq!(binding.status, 200, "{binding:?}");

    let users = eventually("the grant is in force", async || {
        let users = ada.rest.get("/api/v1/users").await;
        (users.status == 200).then_some(users)
    })
    .await;
    assert!(users.json()["data"].as_array().unwrap().len() >= 2, "{users:?}");

    eventually("audit shows the grant", async || {
        let path = "/api/v1/audit/events?action=authz.v1.RoleBound";
        let events = admin.rest.get(path).await;
        let events = events.json()["data"].as_array()?.clone();
        events
            .into_iter()
            .find(|event| event["details"]["subject"] == subject.as_str())
            .filter(|event| event["actor"] == format!("user:{}", admin.id))
    })
    .await;

    let gone = format!("/api/v1/role-bindings/{}", binding.json()["data"]["id"].as_str().unwrap());
    assert_eq!(admin.rest.delete(&gone).await.status, 200);
    eventually("the revoked role is refused", async || {
        (ada.rest.get("/api/v1/users").await.status == 403).then_some(())
    })
    .await;

    let history = ada.rest.get("/api/v1/audit/activity").await;
    assert_eq!(history.status, 403, "{history:?}");
    assert_eq!(history.json()["error"]["code"], "FEATURE_NOT_INCLUDED");
    let paid = ada.rest.post("/api/v1/billing/subscription", json!({"plan": "paid"})).await;
    assert_eq!(paid.json()["data"]["plan"], "paid", "{paid:?}");
    eventually("the entitlement follows", async || {
        (ada.rest.get("/api/v1/audit/activity").await.status == 200).then_some(())
    })
    .await;
    eventually("the plan is in the next token", async || {
        let next = ada.again(&platform).await;
        (claims(&next.tokens)["plan"] == "paid").then_some(())
    })
    .await;

    let verdict = admin.rest.post("/api/v1/audit/verify", json!({})).await;
    assert_eq!(verdict.json()["data"]["intact"], true, "{verdict:?}");
}

#[tokio::test]
async fn a_deleted_user_is_gone_everywhere() {
    let platform = Platform::start().await;
    let admin = Person::admin(&platform).await;
    let eve = Person::register(&platform, "eve").await;
    let paid = eve.rest.post("/api/v1/billing/subscription", json!({"plan": "paid"})).await;
    assert_eq!(paid.status, 200, "{paid:?}");

    let path = format!("/api/v1/users/{}", eve.id);
    assert_eq!(admin.rest.delete(&path).await.status, 200);
    eventually("the token is refused", async || {
        (eve.rest.get("/api/v1/users/me").await.status == 401).then_some(())
    })
    .await;
    let login = json!({"email": eve.email, "password": crate::people::PASSWORD});
    let login = platform.rest().post("/api/v1/auth/login", login).await;
    assert_eq!(
        (login.status, &login.json()["error"]["code"]),
        (401, &json!("INVALID_CREDENTIALS"))
    );
    assert_eq!(admin.rest.get(&path).await.status, 404);
    let bindings = format!("/api/v1/role-bindings?subject=user:{}", eve.id);
    eventually("the bindings are gone", async || {
        let left = admin.rest.get(&bindings).await;
        left.json()["data"].as_array().unwrap().is_empty().then_some(())
    })
    .await;
    // The address is free again.
    let request = json!({"email": eve.email, "password": crate::people::PASSWORD});
    let again = platform.rest().post("/api/v1/auth/register", request).await;
    assert_eq!(again.status, 200, "{again:?}");
}

#[tokio::test]
async fn lists_are_paged_by_cursors_that_cannot_be_forged() {
    let platform = Platform::start().await;
    let admin = Person::admin(&platform).await;
    for name in ["a", "b", "c", "d"] {
        Person::register(&platform, name).await;
    }
    let first = admin.rest.get("/api/v1/users?page_size=2&include_total=true").await;
    assert_eq!(first.status, 200, "{first:?}");
    assert_eq!(first.json()["data"].as_array().unwrap().len(), 2);
    assert!(first.json()["meta"]["total"].as_i64().unwrap() >= 4, "{first:?}");
    let cursor = first.json()["meta"]["next_cursor"].as_str().unwrap().to_owned();

    let mut seen = first.json()["data"].as_array().unwrap().len();
    let mut next = Some(cursor.clone());
    while let Some(cursor) = next {
        let path = format!("/api/v1/users?page_size=2&include_total=true&cursor={cursor}");
        let page = admin.rest.get(&path).await;
        assert_eq!(page.status, 200, "{page:?}");
        seen += page.json()["data"].as_array().unwrap().len();
        next = page.json()["meta"]["next_cursor"].as_str().map(str::to_owned);
    }
    assert_eq!(seen, 5, "four users and the administrator");

    let mut forged = cursor.clone();
    let last = if forged.pop() == Some('A') { 'B' } else { 'A' };
    forged.insert(0, last);
    let wrong = [
        format!("/api/v1/users?page_size=2&include_total=true&cursor={forged}"),
        format!("/api/v1/users?show_deleted=true&cursor={cursor}"),
        format!("/api/v1/roles?cursor={cursor}"),
    ];
    for path in wrong {
        let refused = admin.rest.get(&path).await;
        assert_eq!(refused.status, 400, "{path}: {refused:?}");
    }
}
