//! The contract of an event bus. Every implementation passes the same suite.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mainstay::kernel::events::{
    Cursor, Delivery, Envelope, EventBus, ReadFrom, Subscription, TopicSpec,
};

/// The suite. `open` connects to the broker as another process would.
pub(crate) async fn bus_contract(open: impl Fn() -> Arc<dyn EventBus>) {
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
    a_topic_is_read_page_by_page_without_a_group(&open).await;
    reading_begins_at_a_time(&open).await;
    what_is_retained_comes_oldest_first(&open).await;
    preparing_again_changes_nothing(&open).await;
}

/// A bus on which these topics are prepared.
async fn prepared(open: &impl Fn() -> Arc<dyn EventBus>, topics: &[&str]) -> Arc<dyn EventBus> {
    let bus = open();
    let topics: Vec<_> = topics.iter().map(|topic| TopicSpec::new(*topic)).collect();
    bus.prepare(&topics).await.unwrap();
    bus
}

async fn each_group_gets_every_record_in_order(open: &impl Fn() -> Arc<dyn EventBus>) {
    let bus = prepared(open, &["each.a", "each.b"]).await;
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
    let bus = prepared(open, &["early"]).await;
    bus.publish(records("early", 2)).await.unwrap();
    let mut old = subscribe(&bus, "old", &["early"]).await;
    take(&mut old, 2).await;
    bus.publish(records("early", 1)).await.unwrap();
    let mut new = subscribe(&bus, "new", &["early"]).await;
    assert_eq!(take(&mut new, 3).await, ["0", "1", "0"]);
    assert_eq!(take(&mut old, 1).await, ["0"]);
}

async fn what_was_not_acknowledged_is_delivered_again(open: &impl Fn() -> Arc<dyn EventBus>) {
    let bus = prepared(open, &["again"]).await;
    bus.publish(records("again", 3)).await.unwrap();
    let mut subscription = subscribe(&bus, "group", &["again"]).await;
    assert_eq!(take(&mut subscription, 1).await, ["0"]);
    assert_eq!(text(&next(&mut subscription).await), "1");
    drop(subscription);
    let mut subscription = subscribe(&bus, "group", &["again"]).await;
    assert_eq!(take(&mut subscription, 2).await, ["1", "2"]);
}

async fn acknowledgements_may_come_in_any_order(open: &impl Fn() -> Arc<dyn EventBus>) {
    let bus = prepared(open, &["order"]).await;
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
    let bus = prepared(open, &["restart"]).await;
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
    let bus = prepared(open, &["known", "added"]).await;
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
    let (writer, reader) = (prepared(open, &["soon"]).await, open());
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
    let (writer, reader) = (prepared(open, &["many"]).await, open());
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
    let bus = prepared(open, &["dropped"]).await;
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
    let bus = prepared(open, &["lag"]).await;
    bus.publish(records("lag", 5)).await.unwrap();
    let mut subscription = subscribe(&bus, "group", &["lag"]).await;
    take(&mut subscription, 2).await;
    next(&mut subscription).await;
    assert_eq!(subscription.lag().await.unwrap(), 3);
}

async fn a_topic_is_read_page_by_page_without_a_group(open: &impl Fn() -> Arc<dyn EventBus>) {
    let bus = prepared(open, &["read"]).await;
    let before = bus.end("read").await.unwrap();
    assert!(bus.read("read", ReadFrom::Earliest, 10).await.unwrap().records.is_empty());
    bus.publish((0..30).map(|number| keyed("read", number % 3, number)).collect()).await.unwrap();

    let mut subscription = subscribe(&bus, "group", &["read"]).await;
    let pages = pages(&bus, "read", ReadFrom::Earliest).await;
    assert!(pages.iter().all(|page| (1..=4).contains(&page.len())), "{pages:?}");
    let read: Vec<Delivery> = pages.into_iter().flatten().collect();
    assert_eq!(read.len(), 30);
    for key in 0..3 {
        let of_key = read.iter().filter(|record| record.envelope.subject == format!("key{key}"));
        let expected: Vec<_> = (key..30).step_by(3).map(|number| number.to_string()).collect();
        assert_eq!(of_key.map(text).collect::<Vec<_>>(), expected);
    }
    take(&mut subscription, 30).await;

    let end = bus.end("read").await.unwrap();
    assert!(bus.read("read", ReadFrom::Cursor(end.clone()), 10).await.unwrap().records.is_empty());
    bus.publish(vec![record("read", 30)]).await.unwrap();
    let end: Cursor = end.to_string().parse().unwrap();
    let tail = bus.read("read", ReadFrom::Cursor(end), 10).await.unwrap();
    assert_eq!(texts(&tail.records), ["30"]);
    let all = bus.read("read", ReadFrom::Cursor(before), 100).await.unwrap();
    assert_eq!(all.records.len(), 31, "the end was before them");
}

async fn reading_begins_at_a_time(open: &impl Fn() -> Arc<dyn EventBus>) {
    let bus = prepared(open, &["time"]).await;
    bus.publish(records("time", 3)).await.unwrap();
    // A broker's clock may tick in milliseconds.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let begin = SystemTime::now();
    tokio::time::sleep(Duration::from_millis(20)).await;
    bus.publish(vec![record("time", 3)]).await.unwrap();
    let page = bus.read("time", ReadFrom::Time(begin), 10).await.unwrap();
    assert_eq!(texts(&page.records), ["3"]);
    assert!(page.records[0].published >= begin);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let page = bus.read("time", ReadFrom::Time(SystemTime::now()), 10).await.unwrap();
    assert!(page.records.is_empty());
    bus.publish(vec![record("time", 4)]).await.unwrap();
    let page = bus.read("time", ReadFrom::Cursor(page.next), 10).await.unwrap();
    assert_eq!(texts(&page.records), ["4"]);
}

async fn what_is_retained_comes_oldest_first(open: &impl Fn() -> Arc<dyn EventBus>) {
    let bus = prepared(open, &["kept.a", "kept.b"]).await;
    for number in 0..6 {
        let topic = if number % 2 == 0 { "kept.a" } else { "kept.b" };
        bus.publish(vec![keyed(topic, number, number)]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let retained = bus.retained(&["kept.b".to_owned(), "kept.a".to_owned()]).await.unwrap();
    let texts: Vec<_> = retained.iter().map(|envelope| envelope.data.clone()).collect();
    assert_eq!(texts, ["0", "1", "2", "3", "4", "5"].map(|text| text.as_bytes().to_vec()));
}

async fn preparing_again_changes_nothing(open: &impl Fn() -> Arc<dyn EventBus>) {
    let bus = prepared(open, &["twice"]).await;
    bus.publish(records("twice", 2)).await.unwrap();
    let bus = prepared(open, &["twice", "new"]).await;
    let mut subscription = subscribe(&bus, "group", &["twice"]).await;
    assert_eq!(take(&mut subscription, 2).await, ["0", "1"]);
}

pub(crate) fn record(topic: &str, number: usize) -> Envelope {
    Envelope {
        id: uuid::Uuid::now_v7().to_string(),
        topic: topic.into(),
        subject: "key".into(),
        data: number.to_string().into_bytes(),
        ..Envelope::default()
    }
}

/// A record of one of several keys.
pub(crate) fn keyed(topic: &str, key: usize, number: usize) -> Envelope {
    Envelope { subject: format!("key{key}"), ..record(topic, number) }
}

pub(crate) fn records(topic: &str, count: usize) -> Vec<Envelope> {
    (0..count).map(|number| record(topic, number)).collect()
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

/// The pages of a topic, four records at a time.
async fn pages(bus: &Arc<dyn EventBus>, topic: &str, mut from: ReadFrom) -> Vec<Vec<Delivery>> {
    let mut pages = Vec::new();
    loop {
        let page = bus.read(topic, from, 4).await.unwrap();
        if page.records.is_empty() {
            return pages;
        }
        pages.push(page.records);
        from = ReadFrom::Cursor(page.next);
    }
}

pub(crate) fn texts(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(text).collect()
}

fn text(delivery: &Delivery) -> String {
    String::from_utf8(delivery.envelope.data.clone()).unwrap()
}

pub(crate) async fn subscribe(
    bus: &Arc<dyn EventBus>,
    group: &str,
    topics: &[&str],
) -> Box<dyn Subscription> {
    let topics: Vec<_> = topics.iter().map(|topic| (*topic).to_owned()).collect();
    // Groups are told apart by their topics too, so that no check meets another's positions.
    bus.subscribe(&format!("{}.{group}", topics[0]), &topics).await.unwrap()
}

pub(crate) async fn next(subscription: &mut Box<dyn Subscription>) -> Delivery {
    let next = tokio::time::timeout(Duration::from_secs(20), subscription.next()).await;
    next.expect("a record in time").unwrap()
}

/// Takes and acknowledges records, and returns their texts.
pub(crate) async fn take(subscription: &mut Box<dyn Subscription>, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    for _ in 0..count {
        let delivery = next(subscription).await;
        texts.push(text(&delivery));
        subscription.acknowledge(delivery).await.unwrap();
    }
    texts
}

/// Nothing arrives for a while.
pub(crate) async fn assert_silent(subscription: &mut Box<dyn Subscription>) {
    let next = tokio::time::timeout(Duration::from_millis(300), subscription.next()).await;
    assert!(next.is_err(), "unexpected {next:?}");
}
