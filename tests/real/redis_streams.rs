//! Redis Streams as the broker: the contract of all, and what is its own.

use std::sync::Arc;
use std::time::Duration;

use mainstay::kernel::events::{EventBus, ReadFrom, StreamsBus, TopicSpec};
use mainstay::kernel::settings::{EventSettings, RedisSettings};
use mainstay_testing::{PrivateRedis, eventually, within};

use crate::infra;
use crate::suite_bus::{assert_silent, bus_contract, next, records, subscribe, take, texts};

/// The Redis of the run, under a prefix of the test's own.
fn settings() -> RedisSettings {
    at(&infra().redis.url)
}

fn at(url: &str) -> RedisSettings {
    RedisSettings {
        url: url.into(),
        prefix: format!("test-{}", uuid::Uuid::now_v7()),
        ..RedisSettings::default()
    }
}

fn bus(settings: &RedisSettings) -> Arc<dyn EventBus> {
    Arc::new(StreamsBus::open(&EventSettings::default(), settings).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_streams_keep_the_contract() {
    let settings = settings();
    bus_contract(|| bus(&settings)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_one_group_one_member_consumes_and_another_takes_over_from_a_dead_one() {
    let settings = settings();
    let bus_here = bus(&settings);
    bus_here.publish(records("lease", 3)).await.unwrap();

    let there = settings.clone();
    // A process that is killed: its runtime goes away with all its tasks, and nothing is released.
    let died = std::thread::spawn(move || {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let mut subscription = subscribe(&bus(&there), "group", &["lease"]).await;
            take(&mut subscription, 1).await;
            std::mem::forget(subscription);
        });
        runtime.shutdown_background();
    });
    tokio::task::spawn_blocking(move || died.join().unwrap()).await.unwrap();

    let mut second = subscribe(&bus_here, "group", &["lease"]).await;
    assert_silent(&mut second).await;
    assert_eq!(take(&mut second, 2).await, ["1", "2"], "when the lease has lapsed");
    let mut third = subscribe(&bus_here, "group", &["lease"]).await;
    assert_silent(&mut third).await;
    second.close().await.unwrap();
    bus_here.publish(records("lease", 1)).await.unwrap();
    assert_eq!(take(&mut third, 1).await, ["0"], "at once when it was given up");
}

#[tokio::test]
async fn records_past_their_retention_are_forgotten() {
    let bus = bus(&settings());
    let spec = TopicSpec::new;
    bus.prepare(&[
        TopicSpec { retention: Some(Duration::from_millis(1)), ..spec("short") },
        TopicSpec { compacted: true, retention: Some(Duration::ZERO), ..spec("compacted") },
        spec("unstated"),
    ])
    .await
    .unwrap();
    // Redis forgets in blocks of a hundred entries, so that forgetting costs nothing.
    for topic in ["short", "compacted", "unstated"] {
        bus.publish(records(topic, 300)).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    for (topic, forgets) in [("short", true), ("compacted", false), ("unstated", false)] {
        bus.publish(records(topic, 1)).await.unwrap();
        let kept = bus.retained(&[topic.to_owned()]).await.unwrap().len();
        assert!(if forgets { kept < 150 } else { kept == 301 }, "{topic}: {kept}");
    }
}

#[tokio::test]
async fn a_damaged_record_is_handed_out_as_what_it_is() {
    let settings = settings();
    let bus = bus(&settings);
    let client = redis::Client::open(infra().redis.url.as_str()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut add = redis::cmd("XADD");
    add.arg(format!("{}:events:damaged", settings.prefix)).arg("*").arg("envelope").arg(b"\xff");
    add.query_async::<String>(&mut connection).await.unwrap();
    bus.publish(records("damaged", 1)).await.unwrap();

    let mut subscription = subscribe(&bus, "group", &["damaged"]).await;
    let damaged = next(&mut subscription).await;
    assert!(damaged.fault.as_ref().unwrap().contains("it is no envelope"), "{damaged:?}");
    assert_eq!(damaged.envelope.topic, "damaged");
    subscription.acknowledge(damaged).await.unwrap();
    assert_eq!(take(&mut subscription, 1).await, ["0"]);
    let page = bus.read("damaged", ReadFrom::Earliest, 10).await.unwrap();
    assert_eq!(page.records.iter().filter(|record| record.fault.is_some()).count(), 1);
}

/// Publishes a record, again until it is taken.
async fn publish_at_last(bus: &Arc<dyn EventBus>, number: usize) {
    let record = crate::suite_bus::record("outage", number);
    within(Duration::from_secs(15), "redis takes events again", async || {
        bus.publish(vec![record.clone()]).await.ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_was_killed_or_stalled_has_lost_nothing() {
    let mut server = PrivateRedis::start().await;
    let settings = at(&server.url());
    let bus = bus(&settings);
    bus.publish(records("outage", 10)).await.unwrap();
    let mut subscription = subscribe(&bus, "group", &["outage"]).await;
    assert_eq!(take(&mut subscription, 4).await, ["0", "1", "2", "3"]);

    server.kill();
    assert!(bus.publish(records("outage", 1)).await.is_err(), "nothing is acknowledged meanwhile");
    let ended = eventually("the subscription tells of the outage", async || {
        subscription.next().await.err()
    });
    assert!(ended.await.is(&mainstay::kernel::error::UNAVAILABLE));
    drop(subscription);
    server.restart().await;
    publish_at_last(&bus, 10).await;
    let mut subscription = subscribe(&bus, "group", &["outage"]).await;
    let rest = take(&mut subscription, 7).await;
    assert_eq!(rest, ["4", "5", "6", "7", "8", "9", "10"]);

    server.stall();
    let begin = std::time::Instant::now();
    assert!(bus.publish(records("outage", 1)).await.is_err());
    assert!(begin.elapsed() < Duration::from_secs(10));
    server.resume();
    publish_at_last(&bus, 11).await;
    drop(subscription);
    let mut subscription = subscribe(&bus, "group", &["outage"]).await;
    let mut last = next(&mut subscription).await;
    // What was published during the stall may have come through though nobody was told.
    while texts(std::slice::from_ref(&last)) != ["11"] {
        assert_eq!(texts(std::slice::from_ref(&last)), ["0"]);
        subscription.acknowledge(last).await.unwrap();
        last = next(&mut subscription).await;
    }
}
