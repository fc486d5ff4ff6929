//! A process dies between two steps, or was never there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use mainstay::contract::proto::mainstay::identity::v1::UserUpdated;
use mainstay::kernel::Error;
use mainstay::kernel::events::{Consumer, Envelope, Received, Relay};
use prost::Message as _;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::faults::{Breaks, FaultyBus, Holds, Refuses, Silent};
use crate::world::{
    USERS, World, eventually, note, note_taker, notes, notes_when, outbox, publish, text_of,
    updated,
};

#[tokio::test]
async fn a_relay_that_dies_after_publishing_publishes_again_and_the_effect_is_there_once() {
    let world = World::new();
    let writer = world.database("identity-svc").await;
    let reader = world.database("audit-svc").await;
    publish(&writer, &[updated("u1", "a")]).await;

    let published = Arc::new(Notify::new());
    let fault = Silent { published: published.clone() };
    let silent = FaultyBus { bus: world.bus(), fault };
    // A third of it must be enough for a client that Kafka sees for the first time.
    let lease = Duration::from_secs(5);
    let dying = Relay::new(writer.clone(), Arc::new(silent), &world.settings).lease(lease).spawn();
    published.notified().await;
    drop(dying);
    assert_eq!(outbox(&writer).await.len(), 1, "the row is still there");

    let _relay = world.relay(&writer, world.bus());
    let _consumer = world.start(note_taker(&reader), &reader);
    let records = eventually("a second record", async || {
        let records = world.retained(USERS).await;
        (records.len() >= 2).then_some(records)
    })
    .await;
    assert!(records.iter().all(|record| record.id == records[0].id), "{records:?}");

    publish(&writer, &[updated("u1", "b")]).await;
    assert_eq!(notes_when(&reader, 2).await, ["u1:a", "u1:b"]);
}

#[tokio::test]
async fn events_published_while_a_consumer_was_down_reach_it_in_order() {
    let world = World::new();
    let writer = world.database("identity-svc").await;
    let reader = world.database("audit-svc").await;
    let _relay = world.relay(&writer, world.bus());

    let consumer = world.start(note_taker(&reader), &reader);
    publish(&writer, &[updated("u1", 0)]).await;
    notes_when(&reader, 1).await;
    consumer.stop().await;

    let missed: Vec<_> = (1..40).map(|number| updated("u1", number)).collect();
    publish(&writer, &missed).await;
    eventually("an empty outbox", async || outbox(&writer).await.is_empty().then_some(())).await;
    assert_eq!(notes(&reader).await.len(), 1);

    let _consumer = world.start(note_taker(&reader), &reader);
    let expected: Vec<_> = (0..40).map(|number| format!("u1:{number}")).collect();
    assert_eq!(notes_when(&reader, 40).await, expected);
}

#[tokio::test]
async fn a_consumer_killed_in_a_handler_handles_the_event_again() {
    let world = World::new();
    let writer = world.database("identity-svc").await;
    let reader = world.database("audit-svc").await;
    let _relay = world.relay(&writer, world.bus());
    publish(&writer, &[updated("u1", "a")]).await;

    let written = Arc::new(Notify::new());
    let (database, wrote) = (reader.clone(), written.clone());
    let hanging = Consumer::new("notes").on(move |received: Received<UserUpdated>| {
        let (database, wrote) = (database.clone(), wrote.clone());
        async move {
            let transaction = database.begin().await?;
            note(&transaction, &text_of(&received.payload)).await?;
            transaction.commit().await?;
            wrote.notify_one();
            std::future::pending().await
        }
    });
    let dying = world.start(hanging, &reader);
    written.notified().await;
    drop(dying);

    let _consumer = world.start(note_taker(&reader), &reader);
    assert_eq!(notes_when(&reader, 1).await, ["u1:a"]);
}

#[tokio::test]
async fn a_consumer_that_loses_its_subscription_goes_on_although_an_event_waits() {
    let world = World::new();
    let writer = world.database("identity-svc").await;
    let reader = world.database("audit-svc").await;
    let _relay = world.relay(&writer, world.bus());
    let (away, tried) = (Arc::new(AtomicU32::new(1)), Arc::new(Notify::new()));
    let (database, is_away, trying) = (reader.clone(), away.clone(), tried.clone());
    let consumer = Consumer::new("notes").on(move |received: Received<UserUpdated>| {
        let (database, trying) = (database.clone(), trying.clone());
        let is_away = is_away.load(Ordering::SeqCst) == 1 && received.payload.user_id == "u1";
        async move {
            if is_away {
                trying.notify_one();
                return Err(Error::unavailable("what the handler needs is away"));
            }
            let transaction = database.begin().await?;
            note(&transaction, &text_of(&received.payload)).await?;
            transaction.commit().await
        }
    });
    let broken = Arc::new(Notify::new());
    let bus = FaultyBus { bus: world.bus(), fault: Breaks { broken: broken.clone() } };
    let _consumer = world.start_on(consumer, &reader, bus);
    publish(&writer, &[updated("u1", "a")]).await;
    tried.notified().await;

    broken.notify_one();
    publish(&writer, &[updated("u2", "b")]).await;
    assert_eq!(notes_when(&reader, 1).await, ["u2:b"]);
    away.store(0, Ordering::SeqCst);
    assert_eq!(notes_when(&reader, 2).await, ["u2:b", "u1:a"]);
}

#[tokio::test]
async fn two_relays_on_one_outbox_keep_the_order_and_the_effect_is_there_once() {
    let world = World::new();
    let writer = world.database("identity-svc").await;
    let reader = world.database("audit-svc").await;
    let other = world.database("identity-svc").await;
    let _relays = [
        world.relay(&writer, world.bus()),
        world.relay(&other, world.bus()),
        world.relay(&other, world.bus()),
    ];
    let _consumer = world.start(note_taker(&reader), &reader);

    for number in 0..30 {
        let users: Vec<_> = (0..5).map(|user| updated(format!("u{user}"), number)).collect();
        publish(&writer, &users).await;
    }

    let notes = notes_when(&reader, 150).await;
    for user in 0..5 {
        let prefix = format!("u{user}:");
        let of_user: Vec<_> = notes.iter().filter_map(|note| note.strip_prefix(&prefix)).collect();
        let expected: Vec<_> = (0..30).map(|number| number.to_string()).collect();
        assert_eq!(of_user, expected, "user {user}");
    }
    eventually("an empty outbox", async || outbox(&writer).await.is_empty().then_some(())).await;
    assert_eq!(notes.len(), 150);
}

#[tokio::test]
async fn an_event_the_bus_refuses_holds_back_its_own_aggregate_only() {
    let world = World::new();
    let writer = world.database("identity-svc").await;
    let (refusing, refused) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU32::new(0)));
    let fault = Refuses {
        // Only the first one: the second waits because it comes after, not because it is refused.
        refuses: |record| text(record) == "bad:1",
        refusing: refusing.clone(),
        refused: refused.clone(),
    };
    publish(&writer, &[updated("bad", 1), updated("good", 1), updated("bad", 2)]).await;
    let _relay = world.relay(&writer, FaultyBus { bus: world.bus(), fault });

    let published = async || -> Vec<String> {
        let records = world.retained(USERS).await;
        records.iter().map(text).collect()
    };
    let published_when = async |expected: &[&str]| {
        eventually(&format!("{expected:?}"), async || {
            let published = published().await;
            assert!(published.len() <= expected.len(), "{published:?}");
            (published == expected).then_some(())
        })
        .await
    };
    published_when(&["good:1"]).await;
    publish(&writer, &[updated("good", 2), updated("bad", 3)]).await;
    published_when(&["good:1", "good:2"]).await;
    // Often enough that the waits between attempts are long: the later ones had their chance.
    eventually("20 refusals", async || (refused.load(Ordering::SeqCst) >= 20).then_some(())).await;
    assert_eq!(published().await, ["good:1", "good:2"]);

    refusing.store(false, Ordering::SeqCst);
    published_when(&["good:1", "good:2", "bad:1", "bad:2", "bad:3"]).await;
}

fn text(record: &Envelope) -> String {
    text_of(&UserUpdated::decode(&*record.data).unwrap())
}

#[tokio::test]
async fn a_relay_that_is_stopped_publishes_what_is_due_first() {
    let world = World::new();
    let writer = world.database("identity-svc").await;
    let events: Vec<_> = (0..20).map(|number| updated("u1", number)).collect();
    let relay = world.relay(&writer, world.bus());
    publish(&writer, &events).await;
    relay.stop().await;
    assert_eq!(outbox(&writer).await.len(), 0);
    assert_eq!(world.retained(USERS).await.len(), 20);
}

#[tokio::test]
async fn what_is_written_while_a_relay_that_is_stopped_fails_goes_out_too() {
    let world = World::new();
    let writer = world.database("identity-svc").await;
    let (held, go_on) = (Arc::new(Notify::new()), CancellationToken::new());
    let fault = Holds { held: held.clone(), go_on: go_on.clone() };
    publish(&writer, &[updated("held", 1)]).await;
    let relay = world.relay(&writer, FaultyBus { bus: world.bus(), fault });

    held.notified().await;
    publish(&writer, &[updated("u1", 1)]).await;
    tokio::join!(relay.stop(), async { go_on.cancel() });
    let records = world.retained(USERS).await;
    assert_eq!(records.iter().map(text).collect::<Vec<_>>(), ["u1:1"]);
    assert_eq!(outbox(&writer).await.len(), 1, "what was refused waits for the next relay");
}
