//! The contract of an event bus. Every implementation passes the same suite.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mainstay::kernel::events::{Delivery, EmbeddedBus, Envelope, EventBus, Subscription};
use mainstay::kernel::settings::EventSettings;

use crate::world::World;

/// The suite. `open` connects to the broker as another process would.
async fn bus_contract(open: impl Fn() -> Arc<dyn EventBus>) {
    each_group_gets_every_record_in_order(&open).await;
    a_new_group_starts_from_the_earliest_record(&open).await;
    what_was_not_acknowledged_is_delivered_again(&open).await;
    acknowledgements_may_come_in_any_order(&open).await;
    positions_survive_a_restart(&open).await;
    a_topic_that_a_group_adds_is_read_from_its_beginning(&open).await;
    a_record_of_another_process_arrives_soon(&open).await;
    a_thousand_records_arrive_complete_and_in_order(&open).await;
    a_dropped_next_loses_nothing(&open).await;
    the_lag_counts_what_is_not_acknowledged(&open).await;
}

#[tokio::test]
async fn the_embedded_bus_keeps_the_contract() {
    let world = World::new();
    let settings =
        EventSettings { poll_interval: Duration::from_millis(50), ..world.settings.clone() };
    bus_contract(|| Arc::new(EmbeddedBus::open(&settings).unwrap())).await;
}

async fn each_group_gets_every_record_in_order(open: &impl Fn() -> Arc<dyn EventBus>) {
    let bus = open();
    bus.publish(records("each.a", 3)).await.unwrap();
    bus.publish(records("each.b", 2)).await.unwrap();
    for group in ["one", "two"] {
        let mut subscription = subscribe(&bus, group, &["each.a", "each.b"]).await;
        let mut got = Vec::new();
        for _ in 0..5 {
            let delivery = next(&mut subscription).await;
            got.push((delivery.envelope.topic.clone(), text(&delivery)));
            subscription.acknowledge(delivery).await.unwrap();
        }
        for (topic, count) in [("each.a", 3), ("each.b", 2)] {
            let of_topic: Vec<_> =
                got.iter().filter(|(of, _)| of == topic).map(|(_, text)| text.clone()).collect();
            assert_eq!(of_topic, numbers(count), "{group} {topic}");
        }
        assert_silent(&mut subscription).await;
    }
}

async fn a_new_group_starts_from_the_earliest_record(open: &impl Fn() -> Arc<dyn EventBus>) {
    let bus = open();
    bus.publish(records("early", 2)).await.unwrap();
    let mut old = subscribe(&bus, "old", &["early"]).await;
    take(&mut old, 2).await;
    bus.publish(records("early", 1)).await.unwrap();
    let mut new = subscribe(&bus, "new", &["early"]).await;
    assert_eq!(take(&mut new, 3).await, ["0", "1", "0"]);
    assert_eq!(take(&mut old, 1).await, ["0"]);
}

async fn what_was_not_acknowledged_is_delivered_again(open: &impl Fn() -> Arc<dyn EventBus>) {
    let bus = open();
    bus.publish(records("again", 3)).await.unwrap();
    let mut subscription = subscribe(&bus, "group", &["again"]).await;
    assert_eq!(take(&mut subscription, 1).await, ["0"]);
    assert_eq!(text(&next(&mut subscription).await), "1");
    drop(subscription);
    let mut subscription = subscribe(&bus, "group", &["again"]).await;
    assert_eq!(take(&mut subscription, 2).await, ["1", "2"]);
}

async fn acknowledgements_may_come_in_any_order(open: &impl Fn() -> Arc<dyn EventBus>) {
    let bus = open();
    bus.publish(records("order", 4)).await.unwrap();
    let mut subscription = subscribe(&bus, "group", &["order"]).await;
    let mut deliveries = Vec::new();
    for _ in 0..4 {
        deliveries.push(next(&mut subscription).await);
    }
    // 0, 2 and 3 are done, 1 is not: the position may not pass it.
    for index in [3, 2, 0] {
        subscription.acknowledge(deliveries[index].clone()).await.unwrap();
    }
    subscription.close().await.unwrap();
    let mut subscription = subscribe(&bus, "group", &["order"]).await;
    assert_eq!(text(&next(&mut subscription).await), "1");
}

async fn positions_survive_a_restart(open: &impl Fn() -> Arc<dyn EventBus>) {
    let bus = open();
    bus.publish(records("restart", 3)).await.unwrap();
    let mut subscription = subscribe(&bus, "group", &["restart"]).await;
    assert_eq!(take(&mut subscription, 2).await, ["0", "1"]);
    subscription.close().await.unwrap();
    drop((subscription, bus));
    let mut subscription = subscribe(&open(), "group", &["restart"]).await;
    assert_eq!(take(&mut subscription, 1).await, ["2"]);
}

async fn a_topic_that_a_group_adds_is_read_from_its_beginning(
    open: &impl Fn() -> Arc<dyn EventBus>,
) {
    let bus = open();
    bus.publish(records("known", 1)).await.unwrap();
    bus.publish(records("added", 2)).await.unwrap();
    bus.publish(records("known", 1)).await.unwrap();
    let mut subscription = subscribe(&bus, "group", &["known"]).await;
    take(&mut subscription, 2).await;
    subscription.close().await.unwrap();
    let mut subscription = subscribe(&bus, "group", &["known", "added"]).await;
    assert_eq!(take(&mut subscription, 2).await, ["0", "1"]);
    assert_silent(&mut subscription).await;
}

async fn a_record_of_another_process_arrives_soon(open: &impl Fn() -> Arc<dyn EventBus>) {
    let (writer, reader) = (open(), open());
    let mut subscription = subscribe(&reader, "group", &["soon"]).await;
    assert_silent(&mut subscription).await;
    let mut waits = Vec::new();
    for number in 0..9 {
        writer.publish(vec![record("soon", number)]).await.unwrap();
        let begin = Instant::now();
        assert_eq!(take(&mut subscription, 1).await, [number.to_string()]);
        waits.push(begin.elapsed());
    }
    waits.sort();
    assert!(waits[4] < Duration::from_millis(150), "{waits:?}");
}

async fn a_thousand_records_arrive_complete_and_in_order(open: &impl Fn() -> Arc<dyn EventBus>) {
    let (writer, reader) = (open(), open());
    let mut subscription = subscribe(&reader, "group", &["many"]).await;
    let publish = async {
        for begin in (0..1000).step_by(100) {
            let batch = (begin..begin + 100).map(|number| record("many", number)).collect();
            writer.publish(batch).await.unwrap();
        }
    };
    let ((), got) = tokio::join!(publish, take(&mut subscription, 1000));
    assert_eq!(got, numbers(1000));
}

async fn a_dropped_next_loses_nothing(open: &impl Fn() -> Arc<dyn EventBus>) {
    let bus = open();
    let mut subscription = subscribe(&bus, "group", &["dropped"]).await;
    bus.publish(records("dropped", 20)).await.unwrap();
    let mut got = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(20);
    for micros in (0..).map(|round| round % 40 * 50) {
        let waited = tokio::time::timeout(Duration::from_micros(micros), subscription.next()).await;
        if let Ok(delivery) = waited {
            got.push(text(&delivery.unwrap()));
        }
        if got.len() == 20 {
            break;
        }
        assert!(Instant::now() < deadline, "{got:?}");
    }
    assert_eq!(got, numbers(20));
}

async fn the_lag_counts_what_is_not_acknowledged(open: &impl Fn() -> Arc<dyn EventBus>) {
    let bus = open();
    bus.publish(records("lag", 5)).await.unwrap();
    let mut subscription = subscribe(&bus, "group", &["lag"]).await;
    take(&mut subscription, 2).await;
    next(&mut subscription).await;
    assert_eq!(subscription.lag().await.unwrap(), 3);
}

#[tokio::test]
async fn of_one_group_one_process_consumes_and_another_takes_over_from_a_dead_one() {
    let world = World::new();
    let bus: Arc<dyn EventBus> = Arc::new(world.bus());
    bus.publish(records("lease", 3)).await.unwrap();

    let settings = world.settings.clone();
    let (died, seen) = std::sync::mpsc::channel();
    // A process that is killed: its runtime goes away with all its tasks, and nothing is released.
    std::thread::spawn(move || {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        runtime.block_on(async {
            let bus: Arc<dyn EventBus> = Arc::new(EmbeddedBus::open(&settings).unwrap());
            let mut subscription = subscribe(&bus, "group", &["lease"]).await;
            take(&mut subscription, 1).await;
            std::mem::forget(subscription);
        });
        runtime.shutdown_background();
        died.send(()).unwrap();
    });
    tokio::task::spawn_blocking(move || seen.recv().unwrap()).await.unwrap();

    let mut second = subscribe(&bus, "group", &["lease"]).await;
    assert_silent(&mut second).await;
    assert_eq!(take(&mut second, 2).await, ["1", "2"], "when the lease has lapsed");
}

#[tokio::test]
async fn records_past_their_retention_are_forgotten() {
    let world = World::new();
    let settings = EventSettings { retention: Duration::ZERO, ..world.settings.clone() };
    world.bus().publish(records("old", 3)).await.unwrap();
    let forgetful: Arc<dyn EventBus> = Arc::new(EmbeddedBus::open(&settings).unwrap());
    let _pruning = subscribe(&forgetful, "group", &["nothing"]).await;
    crate::world::eventually("an empty log", async || {
        world.bus().retained(&["old".to_owned()]).await.unwrap().is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_broker_that_cannot_be_used_says_why() {
    let world = World::new();
    std::fs::create_dir(world.file("broker.db")).unwrap();
    let error = world.bus().publish(records("t", 1)).await.unwrap_err();
    let cause = format!("{:#}", error.cause().unwrap());
    for part in ["broker.db", "events.path", "check that its folder exists"] {
        assert!(cause.contains(part), "{part:?} is not in {cause:?}");
    }
}

fn record(topic: &str, number: usize) -> Envelope {
    Envelope {
        id: uuid::Uuid::now_v7().to_string(),
        topic: topic.into(),
        subject: "key".into(),
        data: number.to_string().into_bytes(),
        ..Envelope::default()
    }
}

fn records(topic: &str, count: usize) -> Vec<Envelope> {
    (0..count).map(|number| record(topic, number)).collect()
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

fn text(delivery: &Delivery) -> String {
    String::from_utf8(delivery.envelope.data.clone()).unwrap()
}

async fn subscribe(bus: &Arc<dyn EventBus>, group: &str, topics: &[&str]) -> Box<dyn Subscription> {
    let topics: Vec<_> = topics.iter().map(|topic| (*topic).to_owned()).collect();
    // Groups are told apart by their topics too, so that no check meets another's positions.
    bus.subscribe(&format!("{}.{group}", topics[0]), &topics).await.unwrap()
}

async fn next(subscription: &mut Box<dyn Subscription>) -> Delivery {
    let next = tokio::time::timeout(Duration::from_secs(20), subscription.next()).await;
    next.expect("a record in time").unwrap()
}

/// Takes and acknowledges records, and returns their texts.
async fn take(subscription: &mut Box<dyn Subscription>, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    for _ in 0..count {
        let delivery = next(subscription).await;
        texts.push(text(&delivery));
        subscription.acknowledge(delivery).await.unwrap();
    }
    texts
}

/// Nothing arrives for a while.
async fn assert_silent(subscription: &mut Box<dyn Subscription>) {
    let next = tokio::time::timeout(Duration::from_millis(300), subscription.next()).await;
    assert!(next.is_err(), "unexpected {next:?}");
}
