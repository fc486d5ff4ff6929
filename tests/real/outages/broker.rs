//! Kafka is away: no call notices, for events wait in the outbox.

use std::time::Instant;

use super::{AWAY, RECOVERY, TURN, all_ready, platform_on, recovered};
use crate::infra;
use crate::servers::kafka::PrivateKafka;

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
        server.restart().await;
        let back = Instant::now();
        recovered("Kafka", &platform, &load, back).await;
        load.events_arrive(&platform).await;
        assert!(back.elapsed() < RECOVERY, "events arrived after {:?}", back.elapsed());
    }
    assert_eq!(load.deferred(), 0, "nobody was told to come back");
    load.end(&platform).await;
    assert_eq!(platform.process_ids(), processes, "no process was restarted");
}
