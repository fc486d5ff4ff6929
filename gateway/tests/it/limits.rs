//! How often whom may call.

use bytes::Bytes;
use gateway::GatewaySettings;
use gateway::config::Rate;
use http::Method;
use mainstay_testing::eventually;

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

#[tokio::test]
async fn who_pays_may_search_and_ask_models_more_often() {
    let settings = GatewaySettings::default();
    let rows = [
        ("search", [Rate::per_minute(20), Rate::per_minute(200), Rate::per_minute(200)]),
        ("ai", [Rate::per_hour(5), Rate::per_hour(50), Rate::per_hour(200)]),
    ];
    for (class, rates) in rows {
        for (plan, rate) in ["default", "paid", "ai"].into_iter().zip(rates) {
            assert_eq!(settings.rates[class][plan], rate, "{class} {plan}");
        }
    }
    let world = World::with(settings).await;
    let list = async |plan: &str| {
        let rest = world.rest().with_bearer(&world.auth.token(USER, plan));
        rest.get("/api/v1/books").await.header("ratelimit-policy").to_owned()
    };
    assert_eq!(list("paid").await, "\"search\";q=20;w=60", "whoever lists in public has no plan");
}

#[tokio::test]
async fn a_class_in_shadow_is_counted_and_not_enforced() {
    let mut settings = seldom(2);
    settings.rates_shadow = vec!["seldom".into()];
    let world = World::with(settings).await;
    for _ in 0..5 {
        let reply = world.rest().get("/api/v1/seldom").await;
        reply.expect(200);
        assert_eq!(reply.header("ratelimit"), "", "nothing is announced that does not hold");
    }
    let metrics = world.admin().get("/metrics").await.text();
    let counted = "gateway_over_limit_total{class=\"seldom\",enforced=\"false\"} 3";
    assert!(metrics.contains(counted), "{metrics}");
}

#[tokio::test]
async fn limits_change_with_the_settings_file_and_a_bad_file_changes_nothing() {
    let table = |limit: &str| format!("[gateway.rates]\nseldom = {{ default = \"{limit}\" }}\n");
    let world = World::of_file(&table("2/1m")).await;
    let policy = async || {
        let reply = world.rest().get("/api/v1/seldom").await;
        reply.header("ratelimit-policy").to_owned()
    };
    assert_eq!(policy().await, "\"seldom\";q=2;w=60");

    world.write_settings(&table("7/1h"));
    eventually("the new limit holds", async || {
        (policy().await == "\"seldom\";q=7;w=3600").then_some(())
    })
    .await;
    let refused = async |refused: &str| {
        eventually("the file was looked at", async || {
            let page = world.admin().get("/metrics").await.text();
            page.contains(&format!("mainstay_settings_refused {refused}")).then_some(())
        })
        .await;
    };
    let shadow = "[gateway]\nrates_shadow = [\"nowhere\"]\n".to_owned();
    for bad in ["[gateway.rates".to_owned(), table("9/1m") + &shadow] {
        world.write_settings(&bad);
        refused("1").await;
        assert_eq!(policy().await, "\"seldom\";q=7;w=3600");
        world.write_settings(&table("7/1h"));
        refused("0").await;
    }
    world.write_settings(&table("8/1h"));
    eventually("a sound file holds again", async || {
        (policy().await == "\"seldom\";q=8;w=3600").then_some(())
    })
    .await;
}
