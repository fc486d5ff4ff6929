//! Services that come, go and quarrel.

use std::time::Duration;

use gateway::GatewaySettings;
use mainstay::kernel::lifecycle::Module;
use mainstay_testing::{NoSettings, Rest, eventually, within};
use tokio_util::sync::CancellationToken;

use crate::errors::refusal;
use crate::library::{Rival, descriptors};
use crate::world::{World, dynamic, start_library};

#[tokio::test]
async fn a_service_that_appears_is_routed_and_one_that_goes_answers_503() {
    let mut world = World::new().await;
    let rest = world.rest();
    assert_eq!(rest.get("/api/v1/rival/1").await.status, 404);
    let rival = start_rival(&world).await;
    within(Duration::from_secs(2), "the new service is routed", async || {
        (rest.get("/api/v1/rival/1").await.status == 200).then_some(())
    })
    .await;

    rival.drain().await;
    let reply = within(Duration::from_secs(2), "the service is known to be away", async || {
        Some(rest.get("/api/v1/rival/1").await).filter(|reply| reply.status == 503)
    })
    .await;
    assert_eq!(refusal(&reply, 503), "UNAVAILABLE");
    assert!(!reply.header("retry-after").is_empty());

    world.library.take().unwrap().drain().await;
    eventually("the library is away", async || {
        (rest.get("/api/v1/books/b1").await.status == 503).then_some(())
    })
    .await;
    world.library = Some(start_library(&world.mesh, &world.calls).await);
    within(Duration::from_secs(2), "the library is back", async || {
        (rest.get("/api/v1/books/b1").await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn no_call_fails_while_the_routes_change() {
    let world = World::new().await;
    let (rest, changed) = (world.rest(), CancellationToken::new());
    let until = changed.clone();
    let calling = tokio::spawn(async move {
        let mut calls = 0;
        while !until.is_cancelled() {
            rest.get("/api/v1/books/b1").await.expect(200);
            calls += 1;
            // Not more often than the limits of rates allow.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        calls
    });
    let rest = world.rest();
    for _ in 0..3 {
        let rival = start_rival(&world).await;
        eventually("the rival is routed", async || {
            (rest.get("/api/v1/rival/1").await.status == 200).then_some(())
        })
        .await;
        rival.drain().await;
        eventually("the rival is away", async || {
            (rest.get("/api/v1/rival/1").await.status != 200).then_some(())
        })
        .await;
    }
    changed.cancel();
    let calls = calling.await.unwrap();
    assert!(calls > 10, "{calls} calls only");
}

#[tokio::test]
async fn of_two_services_that_want_a_path_the_older_has_it() {
    let world = World::new().await;
    let rest = world.rest();
    let _rival = start_rival(&world).await;
    eventually("the rival is routed", async || {
        (rest.get("/api/v1/rival/1").await.status == 200).then_some(())
    })
    .await;
    assert_eq!(rest.get("/api/v1/books/b1").await.data()["title"], "b1", "still the library's");
    let routes = world.admin().get("/admin/routes").await.expect(200);
    let refusals = routes["refusals"].as_array().unwrap();
    assert_eq!(refusals.len(), 1, "{refusals:?}");
    assert_eq!(refusals[0]["service"], "rival-svc");
    assert_eq!(refusals[0]["method"], "rival.v1.RivalService.Conflict");
    assert!(refusals[0]["reason"].as_str().unwrap().contains("library-svc"));
}

#[tokio::test]
async fn a_gateway_that_restarts_remembers_who_is_away() {
    let mut world = World::new().await;
    world.library.take().unwrap().drain().await;
    let gateway =
        world.mesh.start(gateway::SERVICE, GatewaySettings::default(), gateway::module).await;
    let reply = eventually("the new gateway has its table", async || {
        let reply = Rest::new(gateway.local_addr()).get("/api/v1/books/b1").await;
        Some(reply).filter(|reply| reply.status != 404)
    })
    .await;
    assert_eq!(refusal(&reply, 503), "UNAVAILABLE");
}

#[tokio::test]
async fn the_admin_port_shows_routes_readiness_and_metrics() {
    let world = World::new().await;
    world.rest().get("/nothing/at/all").await;
    world.rest().get("/api/v1/books/b1").await.expect(200);
    let admin = world.admin();
    eventually("the gateway is ready", async || {
        (admin.get("/readyz").await.status == 200).then_some(())
    })
    .await;
    admin.get("/healthz").await.expect(200);
    let routes = admin.get("/admin/routes").await.expect(200);
    let paths: Vec<&str> =
        routes["routes"].as_array().unwrap().iter().map(|r| r["path"].as_str().unwrap()).collect();
    assert!(paths.contains(&"/api/v1/books/{book_id}"), "{paths:?}");
    let metrics = admin.get("/metrics").await.text();
    for label in ["http_route=\"/api/v1/books/{book_id}\"", "http_route=\"_OTHER\""] {
        assert!(metrics.contains(label), "no {label} in {metrics}");
    }
    assert!(!metrics.contains("/nothing/at/all"), "unknown paths share one label");
}

async fn start_rival(world: &World) -> mainstay::kernel::lifecycle::Running {
    let rival = dynamic::<Rival>("rival/v1/rival.proto", &world.calls);
    let module = async move |_| Ok(Module::new(descriptors("rival/v1/rival.proto")).grpc(rival));
    world.mesh.start("rival-svc", NoSettings {}, module).await
}
