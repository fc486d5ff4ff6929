//! Kafka is away: no call notices, for events wait in the outbox.

use std::time::{Duration, Instant};

use mainstay_testing::{Platform, within};

use super::{AWAY, RECOVERY, TURN, all_ready, platform_on, recovered};
use crate::infra;
use crate::servers::kafka::PrivateKafka;

/// How soon a consumer sees that its broker is away or back: it counts what is left every five seconds, and
/// waits ten for the answer.
const NOTICE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_go_on_while_kafka_is_away_and_their_events_arrive_when_it_is_back() {
    let _turn = TURN.lock().await;
    let mut server = PrivateKafka::start().await;
    let mut servers = infra().clone();
    servers.kafka.brokers = server.brokers();
    let (mut platform, load) = platform_on(&servers, &[]).await;
    let processes = platform.process_ids();

    for _ in 0..2 {
        server.kill();
        let killed = Instant::now();
        while killed.elapsed() < AWAY {
            load.goes_on().await;
        }
        // The process stays ready: what it serves does not need the broker.
        all_ready(&platform).await;
        consumers_are(false, &platform).await;
        server.restart().await;
        let back = Instant::now();
        recovered("Kafka", &platform, &load, back).await;
        load.events_arrive(&platform).await;
        println!("Kafka: events arrived after {:?}", back.elapsed());
        assert!(back.elapsed() < RECOVERY, "events arrived after {:?}", back.elapsed());
        consumers_are(true, &platform).await;
    }
    assert_eq!(load.deferred(), 0, "nobody was told to come back");
    load.end(&platform).await;
    assert_eq!(platform.process_ids(), processes, "no process was restarted");
}

/// Waits until every consumer says that it takes events, or that it does not.
async fn consumers_are(up: bool, platform: &Platform) {
    let expected = format!(" {}", u8::from(up));
    for service in ["auth-svc", "identity-svc", "authz-svc", "audit-svc", "billing-svc"] {
        within(NOTICE, &format!("the consumers of {service}: up {up}"), async || {
            let page = platform.admin_port(service).get("/metrics").await.text();
            let mut shown = page.lines().filter(|line| line.starts_with("mainstay_consumer_up{"));
            let all = shown.clone().count() > 0 && shown.all(|line| line.ends_with(&expected));
            all.then_some(())
        })
        .await;
    }
}
