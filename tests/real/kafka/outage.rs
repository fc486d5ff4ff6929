//! The cluster is silent, or away.

use std::time::{Duration, Instant};

use mainstay::kernel::error::UNAVAILABLE;
use mainstay::kernel::events::{EventBus as _, KafkaBus, TopicSpec};

use super::proxy::{Network, Proxy};
use crate::infra;
use crate::suite_bus::records;
use crate::world::{World, note_taker, notes, notes_when, outbox, publish, updated};

/// How soon everything is to go on once the cluster is back.
const RECOVERY: Duration = Duration::from_secs(15);

/// A world whose way to the cluster leads through a proxy.
async fn world_behind(network: Network) -> (World, Proxy) {
    let proxy = Proxy::start(&infra().kafka.brokers, network).await;
    let mut world = World::new();
    world.settings.kafka.brokers = proxy.brokers();
    (world, proxy)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_stalls_for_half_a_minute_delays_and_loses_nothing() {
    let (world, proxy) = world_behind(Network::Sound).await;
    let writer = world.database("identity-svc").await;
    let reader = world.database("audit-svc").await;
    let _relay = world.relay(&writer, world.bus());
    let _consumer = world.start(note_taker(&reader), &reader);
    let events = |numbers: std::ops::Range<usize>| -> Vec<_> {
        numbers.map(|number| updated(format!("u{}", number % 4), number)).collect()
    };
    publish(&writer, &events(0..20)).await;
    notes_when(&reader, 20).await;

    proxy.set(Network::Stalled);
    let stalled = Instant::now();
    publish(&writer, &events(20..60)).await;
    let error = world.bus().publish(records("identity.users", 1)).await.unwrap_err();
    assert_eq!(error.code(), &UNAVAILABLE);
    tokio::time::sleep_until((stalled + Duration::from_secs(30)).into()).await;
    assert_eq!(notes(&reader).await.len(), 20);
    assert_eq!(outbox(&writer).await.len(), 40, "nothing was taken for published");

    proxy.set(Network::Sound);
    let back = Instant::now();
    assert_in_order(notes_when(&reader, 60).await, 60);
    assert!(back.elapsed() < RECOVERY, "{:?}", back.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_at_start_is_waited_for() {
    let (world, proxy) = world_behind(Network::Gone).await;
    let writer = world.database("identity-svc").await;
    let reader = world.database("audit-svc").await;
    let _relay = world.relay(&writer, world.bus());
    let _consumer = world.start(note_taker(&reader), &reader);
    let events: Vec<_> = (0..8).map(|number| updated("u0", number)).collect();
    publish(&writer, &events).await;
    let bus = KafkaBus::open(&world.settings).unwrap();
    let error = bus.prepare(&[TopicSpec::new("any")]).await.unwrap_err();
    assert_eq!(error.code(), &UNAVAILABLE);

    proxy.set(Network::Sound);
    let back = Instant::now();
    assert_in_order(notes_when(&reader, 8).await, 8);
    assert!(back.elapsed() < RECOVERY, "{:?}", back.elapsed());
}

/// Each of the events left one note, those of a user in their order.
fn assert_in_order(notes: Vec<String>, count: usize) {
    assert_eq!(notes.len(), count, "{notes:?}");
    for user in 0..4 {
        let prefix = format!("u{user}:");
        let numbers: Vec<usize> = notes
            .iter()
            .filter_map(|note| note.strip_prefix(&prefix))
            .map(|number| number.parse().unwrap())
            .collect();
        assert!(numbers.is_sorted_by(|earlier, later| earlier < later), "{user}: {numbers:?}");
    }
}
