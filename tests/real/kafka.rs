//! Kafka: the contract of an event bus, and what only a real cluster can show.

mod member;
mod outage;
mod proxy;
mod rebalance;

use std::sync::Arc;
use std::time::Duration;

use mainstay::kernel::events::{Envelope, EventBus, KafkaBus, ReadFrom, TopicSpec};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::infra;
use crate::suite_bus::{
    assert_silent, bus_contract, keyed, next, record, records, subscribe, take,
};
use crate::world::World;

/// The bus of a world, with these topics made.
async fn bus_with(world: &World, topics: &[TopicSpec]) -> Arc<dyn EventBus> {
    let bus = KafkaBus::open(&world.settings).unwrap();
    bus.prepare(topics).await.unwrap();
    Arc::new(bus)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kafka_bus_keeps_the_contract() {
    infra();
    let world = World::new();
    bus_contract(|| Arc::new(KafkaBus::open(&world.settings).unwrap())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_a_group_share_partitions_and_each_record_reaches_one() {
    infra();
    let world = World::new();
    let bus = bus_with(&world, &[TopicSpec::new("shared")]).await;
    let mut members = Vec::new();
    for _ in 0..3 {
        members.push(subscribe(&bus, "group", &["shared"]).await);
    }
    // What is on its way while the group forms may move; from here on everybody has a share.
    let mut shares = vec![0; members.len()];
    for round in 0.. {
        bus.publish((0..60).map(|key| keyed("shared", key, round)).collect()).await.unwrap();
        for (member, share) in members.iter_mut().zip(&mut shares) {
            while let Ok(delivery) =
                tokio::time::timeout(Duration::from_millis(300), member.next()).await
            {
                *share += 1;
                member.acknowledge(delivery.unwrap()).await.unwrap();
            }
        }
        if shares.iter().all(|share| *share > 0) {
            break;
        }
        assert!(round < 30, "a member without a share: {shares:?}");
    }
    bus.publish((0..60).map(|key| keyed("shared", key, 99)).collect()).await.unwrap();
    let mut reached = Vec::new();
    for member in &mut members {
        while let Ok(delivery) =
            tokio::time::timeout(Duration::from_millis(500), member.next()).await
        {
            let delivery = delivery.unwrap();
            reached.push(delivery.envelope.id.clone());
            member.acknowledge(delivery).await.unwrap();
        }
    }
    let count = reached.len();
    reached.sort();
    reached.dedup();
    assert_eq!((count, reached.len()), (60, 60));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_made_as_its_contract_states() {
    infra();
    let world = World::new();
    let day = Duration::from_secs(24 * 60 * 60);
    let stated = [
        TopicSpec { partitions: 3, retention: Some(day), ..TopicSpec::new("made.kept") },
        TopicSpec { partitions: 1, compacted: true, ..TopicSpec::new("made.compacted") },
    ];
    bus_with(&world, &stated).await;
    let bus = bus_with(&world, &stated).await;
    assert_eq!(bus.end("made.kept").await.unwrap().0.len(), 3);
    let of = |topic| topic_config(&world, topic);
    let kept = of("made.kept").await;
    for (key, value) in [
        ("cleanup.policy", "delete"),
        ("retention.ms", "86400000"),
        ("message.timestamp.type", "LogAppendTime"),
    ] {
        assert_eq!(kept(key).as_deref(), Some(value), "{key}");
    }
    let compacted = of("made.compacted").await;
    assert_eq!(compacted("cleanup.policy").as_deref(), Some("compact"));
    assert_eq!(compacted("min.compaction.lag.ms").as_deref(), Some("604800000"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_others_is_read_or_says_what_is_wrong_with_it() {
    infra();
    let world = World::new();
    let bus = bus_with(&world, &[TopicSpec { partitions: 1, ..TopicSpec::new("foreign") }]).await;
    let sound: Vec<(&str, &[u8])> = vec![
        ("ce_specversion", b"1.0"),
        ("ce_id", b"e1"),
        ("ce_source", b"/legacy"),
        ("ce_type", b"legacy.Happened"),
        ("content-type", b"application/protobuf"),
    ];
    publish_raw(&world, "foreign", &sound).await;
    publish_raw(&world, "foreign", &[]).await;
    publish_raw(&world, "foreign", &[("ce_specversion", b"1.0"), ("ce_id", b"\xff")]).await;

    let mut subscription = subscribe(&bus, "group", &["foreign"]).await;
    let read = next(&mut subscription).await;
    assert_eq!((read.fault, read.envelope.subject.as_str()), (None, "key"));
    assert_eq!(read.envelope.data, b"payload");
    for reason in ["ce_specversion is missing", "ce_id is no text"] {
        let refused = next(&mut subscription).await;
        assert!(refused.fault.as_ref().unwrap().contains(reason), "{refused:?}");
        assert_eq!(refused.envelope.data, b"payload");
        assert!(refused.envelope.id.starts_with("foreign/0:"), "{refused:?}");
        subscription.acknowledge(refused).await.unwrap();
    }
    assert_silent(&mut subscription).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_is_slow_holds_a_bounded_number_of_records() {
    infra();
    let mut world = World::new();
    world.settings.kafka.buffer = 10;
    let bus = bus_with(&world, &[TopicSpec { partitions: 2, ..TopicSpec::new("slow") }]).await;
    bus.publish((0..500).map(|number| keyed("slow", number % 7, number)).collect()).await.unwrap();
    let mut subscription = subscribe(&bus, "group", &["slow"]).await;
    let first = next(&mut subscription).await;
    subscription.acknowledge(first).await.unwrap();
    // Polled on and paused meanwhile: nothing is lost, and nobody takes the member for dead.
    tokio::time::sleep(world.settings.kafka.session_timeout).await;
    take(&mut subscription, 499).await;
    assert_silent(&mut subscription).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_too_large_is_refused_and_others_go_on() {
    infra();
    let world = World::new();
    let bus = bus_with(&world, &[TopicSpec::new("large")]).await;
    let large = Envelope { data: vec![0; 2_000_000], ..record("large", 0) };
    let error = bus.publish(vec![large]).await.unwrap_err();
    assert_eq!(error.to_string(), "FAILED_PRECONDITION: the event is too large");
    bus.publish(records("large", 3)).await.unwrap();
    let page = bus.read("large", ReadFrom::Earliest, 10).await.unwrap();
    assert_eq!(page.records.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_made_after_its_consumer_began_is_found() {
    infra();
    let world = World::new();
    let bus = bus_with(&world, &[TopicSpec::new("early")]).await;
    let mut subscription = subscribe(&bus, "group", &["early", "late"]).await;
    bus.publish(records("early", 3)).await.unwrap();
    take(&mut subscription, 3).await;
    bus.prepare(&[TopicSpec::new("late")]).await.unwrap();
    bus.publish(records("late", 3)).await.unwrap();
    take(&mut subscription, 3).await;
}

/// Publishes a record with these headers, as a program that knows nothing of us would.
async fn publish_raw(world: &World, topic: &str, headers: &[(&str, &[u8])]) {
    let producer: FutureProducer =
        ClientConfig::new().set("bootstrap.servers", &infra().kafka.brokers).create().unwrap();
    let topic = format!("{}{topic}", world.settings.topic_prefix);
    let headers = headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
        headers.insert(Header { key, value: Some(*value) })
    });
    let record = FutureRecord::to(&topic).key("key").payload("payload").headers(headers);
    producer.send(record, Duration::from_secs(5)).await.unwrap();
}

/// What is configured for a topic.
async fn topic_config(world: &World, topic: &str) -> impl Fn(&str) -> Option<String> + use<> {
    use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
    use rdkafka::client::DefaultClientContext;
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &infra().kafka.brokers).create().unwrap();
    let topic = format!("{}{topic}", world.settings.topic_prefix);
    let asked = [ResourceSpecifier::Topic(&topic)];
    let told = admin.describe_configs(&asked, &AdminOptions::new()).await.unwrap().remove(0);
    let told = told.unwrap();
    move |key| told.get(key).and_then(|entry| entry.value.clone())
}
