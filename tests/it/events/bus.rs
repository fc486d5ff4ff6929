//! The embedded bus: the contract of all, and what is its own.

use std::sync::Arc;
use std::time::Duration;

use mainstay::kernel::events::{EmbeddedBus, EventBus, ReadFrom, TopicSpec};
use mainstay::kernel::settings::EventSettings;
use sea_orm::ConnectionTrait as _;

use crate::suite_bus::{assert_silent, bus_contract, keyed, next, records, subscribe, take};
use crate::world::{World, eventually};

#[tokio::test]
async fn the_embedded_bus_keeps_the_contract() {
    let world = World::new();
    let settings =
        EventSettings { poll_interval: Duration::from_millis(50), ..world.settings.clone() };
    bus_contract(|| Arc::new(EmbeddedBus::open(&settings).unwrap())).await;
}

/// The embedded broker of a world, also where its stories run on another.
fn bus(world: &World) -> Arc<dyn EventBus> {
    Arc::new(EmbeddedBus::open(&world.settings).unwrap())
}

/// Where a process that consumes finds its broker; where it is not set, the test below is none.
const CONSUME: &str = "MAINSTAY_TEST_CONSUME";

#[tokio::test]
async fn of_one_group_one_process_consumes_and_another_takes_over_from_a_dead_one() {
    let world = World::new();
    let bus = bus(&world);
    bus.publish(records("lease", 3)).await.unwrap();
    let mut process = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "events::bus::a_process_consumes", "--nocapture"])
        .env(CONSUME, &world.settings.path)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    eventually("a record taken by the process", async || {
        world.file("taken").exists().then_some(())
    })
    .await;

    let mut second = subscribe(&bus, "group", &["lease"]).await;
    assert_silent(&mut second).await;
    process.kill().unwrap();
    process.wait().unwrap();
    assert_eq!(take(&mut second, 2).await, ["1", "2"], "at once, from behind what was done");
}

#[tokio::test]
async fn a_process_consumes() {
    let Some(path) = std::env::var_os(CONSUME) else { return };
    let path = std::path::PathBuf::from(path);
    let settings = EventSettings { path: path.clone(), ..EventSettings::default() };
    let bus: Arc<dyn EventBus> = Arc::new(EmbeddedBus::open(&settings).unwrap());
    let mut subscription = subscribe(&bus, "group", &["lease"]).await;
    take(&mut subscription, 1).await;
    std::fs::write(path.with_file_name("taken"), "").unwrap();
    // Killed long before, unless the test that started it is gone.
    tokio::time::sleep(Duration::from_secs(60)).await;
}

#[tokio::test]
async fn records_past_their_retention_are_forgotten() {
    let world = World::new();
    let bus = EmbeddedBus::open(&world.settings).unwrap();
    let spec = TopicSpec::new;
    let hour = Some(Duration::from_secs(3600));
    bus.prepare(&[
        TopicSpec { retention: Some(Duration::ZERO), ..spec("stated.short") },
        TopicSpec { retention: hour, ..spec("stated.long") },
        TopicSpec { compacted: true, ..spec("compacted") },
    ])
    .await
    .unwrap();
    for topic in ["stated.short", "stated.long", "compacted", "unstated"] {
        let records = (0..4).map(|number| keyed(topic, number % 2, number)).collect();
        bus.publish(records).await.unwrap();
    }

    let settings = EventSettings { retention: Duration::ZERO, ..world.settings.clone() };
    let forgetful: Arc<dyn EventBus> = Arc::new(EmbeddedBus::open(&settings).unwrap());
    let _pruning = subscribe(&forgetful, "group", &["nothing"]).await;
    for (topic, left) in [
        ("unstated", &[][..]),
        ("stated.short", &[]),
        ("stated.long", &["0", "1", "2", "3"]),
        ("compacted", &["2", "3"]),
    ] {
        eventually(&format!("what is left of {topic}"), async || {
            let retained = bus.retained(&[topic.to_owned()]).await.unwrap();
            let texts: Vec<_> = retained.iter().map(|record| record.data.as_slice()).collect();
            (texts == left.iter().map(|text| text.as_bytes()).collect::<Vec<_>>()).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_damaged_record_is_handed_out_as_what_it_is() {
    let world = World::new();
    let bus = bus(&world);
    bus.publish(records("damaged", 2)).await.unwrap();
    let url = format!("sqlite://{}", world.file("broker.db").display());
    let file = sea_orm::Database::connect(url).await.unwrap();
    file.execute_unprepared("UPDATE records SET envelope = x'ff' WHERE offset = 1").await.unwrap();

    let mut subscription = subscribe(&bus, "group", &["damaged"]).await;
    let damaged = next(&mut subscription).await;
    assert!(damaged.fault.as_ref().unwrap().contains("it is no envelope"), "{damaged:?}");
    assert_eq!((&*damaged.envelope.topic, &*damaged.envelope.id), ("damaged", "damaged:1"));
    subscription.acknowledge(damaged).await.unwrap();
    assert_eq!(take(&mut subscription, 1).await, ["1"]);
    let page = bus.read("damaged", ReadFrom::Earliest, 10).await.unwrap();
    assert_eq!(page.records.iter().filter(|record| record.fault.is_some()).count(), 1);
}

#[tokio::test]
async fn a_broker_that_cannot_be_used_says_why() {
    let world = World::new();
    std::fs::create_dir(world.file("broker.db")).unwrap();
    let error =
        EmbeddedBus::open(&world.settings).unwrap().publish(records("t", 1)).await.unwrap_err();
    let cause = format!("{:#}", error.cause().unwrap());
    for part in ["broker.db", "events.path", "check that its folder exists"] {
        assert!(cause.contains(part), "{part:?} is not in {cause:?}");
    }
}
