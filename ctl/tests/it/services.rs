//! What runs, and what waits.

use mainstay_testing::{Platform, eventually};

use crate::harness::Operator;

#[tokio::test]
async fn services_outbox_and_consumers_are_told() {
    let platform = Platform::start().await;
    let operator = Operator::of(&platform);
    let services = operator.json(&["services"]);
    let services = services.as_array().unwrap();
    let of = |name: &str| services.iter().find(|service| service["service"] == name).unwrap();
    assert_eq!(of("audit-svc")["health"], "serving");
    assert_eq!(of("audit-svc")["descriptor_hash"].as_str().unwrap().len(), 64);
    assert_eq!(of("gateway")["health"], "unknown", "the edge speaks no gRPC");
    let table = operator.run(&["services"]);
    assert!(table.out.starts_with("SERVICE"), "{table:?}");
    assert!(!table.out.contains('\u{1b}'), "no colours where no terminal is: {table:?}");

    eventually("all is published", async || {
        let outboxes = operator.json(&["outbox", "status"]);
        outboxes.as_array().unwrap().iter().all(|outbox| outbox["backlog"] == "0").then_some(())
    })
    .await;
    let consumers = operator.json(&["events", "consumers", "--service", "audit-svc"]);
    assert_eq!(consumers[0]["consumer"], "audit-svc.trail");
    let topics = operator.json(&["events", "topics"]);
    assert!(topics.as_array().unwrap().iter().any(|topic| topic["name"] == "auth.accounts"));
}

#[tokio::test]
async fn the_outbox_is_told_while_the_broker_is_away() {
    let folder = std::env::temp_dir();
    // A folder is no file of a broker, and nobody listens on port 1.
    let no_broker = [
        ("MAINSTAY_EVENTS__PATH", folder.to_str().unwrap()),
        ("MAINSTAY_EVENTS__KAFKA__BROKERS", "127.0.0.1:1"),
    ];
    let platform = Platform::start_services(&["identity-svc"], &no_broker).await;
    let operator = Operator::of(&platform);
    let outbox = eventually("a failing event", async || {
        let outboxes = operator.json(&["outbox", "status"]);
        outboxes[0]["failing"].is_array().then(|| outboxes[0].clone())
    })
    .await;
    assert_eq!((&outbox["service"], &outbox["backlog"]), (&"identity-svc".into(), &"1".into()));
    assert!(outbox["failing"][0]["reason"].as_str().unwrap().starts_with("UNAVAILABLE"));
    let table = operator.run(&["outbox", "status"]);
    assert!(table.out.contains("FAILING EVENT"), "{table:?}");
}
