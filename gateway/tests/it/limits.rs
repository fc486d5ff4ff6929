//! How often whom may call.

use bytes::Bytes;
use gateway::GatewaySettings;
use gateway::config::Rate;
use http::Method;

use crate::errors::refusal;
use crate::world::{OTHER, USER, World};

fn seldom(count: u32) -> GatewaySettings {
    let mut settings = GatewaySettings { trusted_hops: 1, ..GatewaySettings::default() };
    let plans = [("default".to_owned(), Rate::per_minute(count))];
    settings.rates.insert("seldom".into(), plans.into());
    settings
}

#[tokio::test]
async fn a_rate_class_is_limited_and_says_so() {
    let world = World::with(seldom(2)).await;
    let call = async |client: &str| {
        let headers = [("x-forwarded-for", client)];
        world.rest().send(Method::GET, "/api/v1/seldom", &headers, Bytes::new()).await
    };
    let reply = call("10.0.0.1").await;
    reply.expect(200);
    assert_eq!(reply.header("ratelimit-policy"), "\"seldom\";q=2;w=60");
    assert_eq!(reply.header("ratelimit"), "\"seldom\";r=1;t=30");
    call("10.0.0.1").await.expect(200);
    let reply = call("10.0.0.1").await;
    assert_eq!(refusal(&reply, 429), "RATE_LIMITED");
    let wait: u64 = reply.header("retry-after").parse().unwrap();
    assert!((1..=30).contains(&wait), "{wait}");
    assert!(reply.header("ratelimit").starts_with("\"seldom\";r=0;t="));
    assert_eq!(reply.json()["error"]["details"][0]["rate_class"], "seldom");

    call("10.0.0.2").await.expect(200);
    assert_eq!(call("6.6.6.6, 10.0.0.1").await.status, 429, "who stands before our proxy is heard");
}

#[tokio::test]
async fn users_have_limits_of_their_own_and_by_plan() {
    let mut settings = GatewaySettings::default();
    let plans = [("default", 1), ("paid", 3)];
    let plans = plans.map(|(plan, count)| (plan.to_owned(), Rate::per_minute(count)));
    settings.rates.insert("read".into(), plans.into());
    let world = World::with(settings).await;
    let allowed = async |user: &str, plan: &str| {
        let rest = world.rest().with_bearer(&world.auth.token(user, plan));
        let mut allowed = 0;
        while rest.get("/api/v1/inspect").await.status == 200 {
            allowed += 1;
        }
        allowed
    };
    assert_eq!(allowed(USER, "free").await, 1);
    assert_eq!(allowed(OTHER, "paid").await, 3);
}

#[tokio::test]
async fn an_address_is_limited_before_anything_else() {
    let mut settings = seldom(2);
    settings.ip_burst = 5;
    settings.ip_rate = Rate::per_minute(1);
    let world = World::with(settings).await;
    let call = async |client: &str| {
        let headers = [("x-forwarded-for", client)];
        world.rest().send(Method::GET, "/nothing", &headers, Bytes::new()).await
    };
    for _ in 0..5 {
        assert_eq!(refusal(&call("2001:db8::1").await, 404), "NOT_FOUND");
    }
    let reply = call("2001:db8::2").await;
    assert_eq!(reply.error_code(429), "RATE_LIMITED");
    assert!(reply.header("retry-after").parse::<u64>().unwrap() >= 1);
    assert_eq!(reply.json()["error"]["request_id"], reply.header("x-request-id"));
    assert_eq!(call("2001:db8:0:1::1").await.status, 404);
}
