//! Partitions change hands: by a kill, under load, by a replay from the beginning.

use std::time::{Duration, Instant};

use mainstay::contract::proto::mainstay::identity::v1::UserUpdated;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;

use super::member::{self, MemberProcess};
use crate::infra;
use crate::world::{World, eventually, note_taker, notes, notes_when, publish, updated};

/// Users whose events keep their order.
const USERS: usize = 12;

/// The events of some rounds, one for each user in each of them.
fn rounds(rounds: std::ops::Range<usize>) -> Vec<UserUpdated> {
    let of_round = |round| (0..USERS).map(move |user| updated(format!("u{user}"), round));
    rounds.flat_map(of_round).collect()
}

/// Each event of these rounds left one note, those of a user in their order.
fn assert_once_and_in_order(notes: &[String], rounds: usize) {
    for user in 0..USERS {
        let prefix = format!("u{user}:");
        let of_user: Vec<_> = notes.iter().filter_map(|note| note.strip_prefix(&prefix)).collect();
        let expected: Vec<_> = (0..rounds).map(|round| round.to_string()).collect();
        assert_eq!(of_user, expected, "user {user}");
    }
    assert_eq!(notes.len(), rounds * USERS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_killed_in_a_rebalance_loses_and_doubles_nothing() {
    infra();
    let world = World::new();
    let writer = world.database("identity-svc").await;
    let _relay = world.relay(&writer, world.bus());
    let reader = member::database(&world).await;
    publish(&writer, &rounds(0..5)).await;

    let mut first = MemberProcess::start(&world, &world.settings);
    notes_when(&reader, USERS).await;
    publish(&writer, &rounds(5..15)).await;
    // The second joins, and while partitions move the first is gone.
    let _second = MemberProcess::start(&world, &world.settings);
    tokio::time::sleep(Duration::from_millis(300)).await;
    first.kill();
    publish(&writer, &rounds(15..20)).await;
    notes_after_session(&reader, 20 * USERS).await;
    publish(&writer, &rounds(20..21)).await;
    assert_once_and_in_order(&notes_after_session(&reader, 21 * USERS).await, 21);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_member_that_is_restarted_goes_on_at_once() {
    infra();
    let world = World::new();
    let writer = world.database("identity-svc").await;
    let _relay = world.relay(&writer, world.bus());
    let reader = member::database(&world).await;
    let mut settings = world.settings.clone();
    settings.kafka.instance_id = "audit-svc-0".to_owned();
    settings.kafka.session_timeout = Duration::from_secs(30);

    let mut member = MemberProcess::start(&world, &settings);
    publish(&writer, &rounds(0..2)).await;
    notes_when(&reader, 2 * USERS).await;
    member.kill();
    publish(&writer, &rounds(2..4)).await;
    let restarted = Instant::now();
    let _member = MemberProcess::start(&world, &settings);
    assert_once_and_in_order(&notes_when(&reader, 4 * USERS).await, 4);
    let took = restarted.elapsed();
    assert!(took < settings.kafka.session_timeout / 2, "waited for the session: {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rebalances_under_load_keep_order_and_effect() {
    infra();
    let world = World::new();
    let writer = world.database("identity-svc").await;
    let reader = world.database("audit-svc").await;
    let _relay = world.relay(&writer, world.bus());
    let _steady = world.start(note_taker(&reader), &reader);
    let load = async {
        for round in 0..40 {
            publish(&writer, &rounds(round..round + 1)).await;
        }
    };
    let coming_and_going = async {
        for _ in 0..4 {
            let member = world.start(note_taker(&reader), &reader);
            tokio::time::sleep(Duration::from_millis(700)).await;
            member.stop().await;
        }
    };
    tokio::join!(load, coming_and_going);
    assert_once_and_in_order(&notes_after_session(&reader, 40 * USERS).await, 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_replayed_from_its_beginning_has_no_new_effect() {
    infra();
    let world = World::new();
    let writer = world.database("identity-svc").await;
    let reader = world.database("audit-svc").await;
    let _relay = world.relay(&writer, world.bus());
    let consumer = world.start(note_taker(&reader), &reader);
    publish(&writer, &rounds(0..10)).await;
    notes_when(&reader, 10 * USERS).await;
    consumer.stop().await;
    forget_positions(&world, "audit-svc.notes").await;

    let _consumer = world.start(note_taker(&reader), &reader);
    // The last event of each user comes behind everything that is replayed.
    publish(&writer, &rounds(10..11)).await;
    assert_once_and_in_order(&notes_when(&reader, 11 * USERS).await, 11);
}

/// The notes once there are as many; a member that was killed is missed after its session only.
async fn notes_after_session(
    database: &mainstay::kernel::database::Database,
    count: usize,
) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let notes = notes(database).await;
        if notes.len() >= count {
            return notes;
        }
        assert!(Instant::now() < deadline, "still waiting: {} of {count} notes", notes.len());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Deletes what a group has committed, so that it begins anew.
async fn forget_positions(world: &World, group: &str) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &infra().kafka.brokers).create().unwrap();
    let group = format!("{}{group}", world.settings.topic_prefix);
    eventually("a group without members", async || {
        let deleted = admin.delete_groups(&[&group], &AdminOptions::new()).await.unwrap();
        deleted[0].is_ok().then_some(())
    })
    .await;
}
