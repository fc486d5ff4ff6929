//! Permission decisions are kept, by the gateway and by the service, and never for too long.

use std::time::{Duration, Instant};

use gateway::GatewaySettings;
use gateway::config::Rate;
use mainstay_testing::{Reply, Rest, eventually, within};
use serde_json::json;

use crate::errors::refusal;
use crate::world::{OTHER, USER, World};

/// How long a role that was taken away may still be used.
const BOUND: Duration = Duration::from_secs(2);

/// Callers who never stop reach no limit.
fn unlimited() -> GatewaySettings {
    let often = Rate::per_minute(1_000_000);
    let mut settings =
        GatewaySettings { ip_rate: often, ip_burst: 1_000_000, ..GatewaySettings::default() };
    settings.rates.insert("write".into(), [("default".to_owned(), often)].into());
    settings
}

async fn create(rest: &Rest) -> Reply {
    rest.post("/api/v1/shelves/s1/books", json!({ "title": "T" })).await
}

/// Calls until the reply is another one than 200, and then some more times: each reply from then on
/// is the other one. None that was asked for after the bound has passed is 200.
async fn call_until_refused(rest: Rest, status: u16, since: Instant) {
    loop {
        let begun = since.elapsed();
        let reply = create(&rest).await;
        if reply.status != 200 {
            assert_eq!(reply.status, status, "{reply:?}");
            break;
        }
        assert!(begun < BOUND, "let through {begun:?} after");
    }
    for _ in 0..5 {
        assert_eq!(create(&rest).await.status, status, "a door that is shut stays so");
    }
}

/// Waits until decisions are kept by gateway and service.
async fn settled(world: &World) {
    let rest = world.as_user(USER);
    eventually("decisions are kept", async || {
        create(&rest).await.expect(200);
        let asked = world.authz.asked();
        create(&rest).await.expect(200);
        (world.authz.asked() == asked).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authz_is_asked_once_for_many_calls() {
    let world = World::with(unlimited()).await;
    settled(&world).await;
    let (rest, stranger, before) = (world.as_user(USER), world.as_user(OTHER), world.authz.asked());
    for _ in 0..20 {
        create(&rest).await.expect(200);
        assert_eq!(refusal(&create(&stranger).await, 403), "PERMISSION_DENIED");
    }
    let asked = world.authz.asked() - before;
    assert!(asked < 20, "{asked} questions for 40 calls, which two processes check");
    let page = world.admin().get("/metrics").await.text();
    for name in [
        "mainstay_kept_lookups_total{cache=\"decisions\",outcome=\"hit\"}",
        "mainstay_watch_age_seconds{watch=\"decisions\"} 0.",
    ] {
        assert!(page.contains(name), "{name} is not in {page}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_is_taken_away_is_refused_while_calls_run() {
    let world = World::with(unlimited()).await;
    settled(&world).await;
    world.let_create(USER, false);
    let (taken, rest) = (Instant::now(), world.as_user(USER));
    let callers = (0..3).map(|_| tokio::spawn(call_until_refused(rest.clone(), 403, taken)));
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_ends_a_refusal_at_once() {
    let world = World::with(unlimited()).await;
    settled(&world).await;
    let rest = world.as_user(OTHER);
    for _ in 0..3 {
        assert_eq!(refusal(&create(&rest).await, 403), "PERMISSION_DENIED");
    }
    world.let_create(OTHER, true);
    within(BOUND, "the grant is told", async || (create(&rest).await.status == 200).then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_kept_is_not_used_when_authz_tells_nothing_any_more() {
    let world = World::with(unlimited()).await;
    settled(&world).await;
    world.authz.be_silent(true);
    world.let_create_untold(USER, false);
    call_until_refused(world.as_user(USER), 403, Instant::now()).await;
    world.let_create_untold(USER, true);
    create(&world.as_user(USER)).await.expect(200);
    world.authz.be_silent(false);
    settled(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_authz_opens_no_door() {
    let mut world = World::with(unlimited()).await;
    settled(&world).await;
    drop(world.authz_svc.take());
    let killed = Instant::now();
    let stranger = world.as_user(OTHER);
    let reply = create(&stranger).await;
    assert_eq!(refusal(&reply, 503), "UNAVAILABLE", "of whom nothing is known");
    assert!(!reply.header("retry-after").is_empty());
    call_until_refused(world.as_user(USER), 503, killed).await;
    let arrived = world.call_count();
    assert_eq!(create(&stranger).await.status, 503);
    world.as_user(USER).get("/api/v1/inspect").await.expect(200);
    assert_eq!(
        world.call_count(),
        arrived + 1,
        "what needs no permission goes on, and nothing else"
    );

    world.authz_svc = Some(world.authz.serve(&world.mesh).await);
    eventually("authz is back", async || {
        (create(&world.as_user(USER)).await.status == 200).then_some(())
    })
    .await;
    assert_eq!(refusal(&create(&stranger).await, 403), "PERMISSION_DENIED");
}
