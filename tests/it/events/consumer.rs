//! What a handler may rely on, and what becomes of events it cannot handle.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use mainstay::contract::proto::mainstay::identity::v1::{UserCreated, UserUpdated};
use mainstay::kernel::call;
use mainstay::kernel::database::Database;
use mainstay::kernel::error::{Error, FAILED_PRECONDITION, Result};
use mainstay::kernel::events::{
    Consumer, DeadLetter, Envelope, EventBus as _, Received, dead_letter_topic,
};
use prost::{Message as _, Name as _};

use super::faults::{FaultyBus, Garbles};
use crate::world::{
    USERS, World, eventually, note, note_taker, notes, notes_when, outbox, publish, text_of,
    updated,
};

#[tokio::test]
async fn poison_goes_to_the_dead_letters_while_other_aggregates_go_on() {
    let world = World::new();
    let writer = world.database("identity-svc").await;
    let reader = world.database("audit-svc").await;
    let _relay = world.relay(&writer, world.bus());
    publish(&writer, &[updated("u1", "poison"), updated("u1", "after"), updated("u2", "b")]).await;

    let _consumer = world.start(
        handler(&reader, |text| match text {
            "u1:poison" => Err(Error::new(FAILED_PRECONDITION, "cannot swallow this")),
            _ => Ok(()),
        }),
        &reader,
    );

    let mut notes = notes_when(&reader, 2).await;
    notes.sort();
    assert_eq!(notes, ["u1:after", "u2:b"]);
    let (record, letter) = dead_letter(&world).await;
    let original = world.bus().retained(&[USERS.to_owned()]).await.unwrap().remove(0);
    assert_eq!(record.id, original.id);
    assert_eq!(letter.event, Some(original));
    assert_eq!((letter.consumer.as_str(), letter.attempts), ("audit-svc.notes", 3));
    assert_eq!(letter.reason, "FAILED_PRECONDITION: cannot swallow this");
}

#[tokio::test]
async fn a_dead_letter_can_be_replayed() {
    let world = World::new();
    let reader = world.database("audit-svc").await;
    world.bus().publish(vec![envelope("u1", b"\xff\xff")]).await.unwrap();
    let first = world.start(note_taker(&reader), &reader);
    let (_, letter) = dead_letter(&world).await;
    assert_eq!(letter.attempts, 1, "what cannot be decoded is not tried again");
    assert!(letter.reason.contains("the payload cannot be decoded"), "{}", letter.reason);
    first.stop().await;

    let mended = Envelope { data: updated("u1", "a").encode_to_vec(), ..letter.event.unwrap() };
    world.bus().publish(vec![mended.clone(), mended]).await.unwrap();
    world.bus().publish(vec![envelope("u1", &updated("u1", "b").encode_to_vec())]).await.unwrap();
    let _consumer = world.start(note_taker(&reader), &reader);
    assert_eq!(notes_when(&reader, 2).await, ["u1:a", "u1:b"]);
}

#[tokio::test]
async fn a_record_that_is_no_event_goes_to_the_dead_letters_at_once() {
    let world = World::new();
    let reader = world.database("audit-svc").await;
    let bus = FaultyBus { bus: world.bus(), fault: Garbles };
    bus.publish(vec![envelope("u1", b"garbled"), envelope("u1", b"")]).await.unwrap();
    let database = reader.clone();
    let consumer = Consumer::new("all").on_all([USERS.to_owned()], move |envelope: Envelope| {
        let database = database.clone();
        async move { write(&database, &format!("{:?}", envelope.data)).await }
    });
    let _consumer = world.start_on(consumer, &reader, bus);

    let (_, letter) = dead_letter(&world).await;
    assert_eq!(letter.reason, "INVALID_ARGUMENT: it was garbled");
    assert_eq!((letter.attempts, letter.event.unwrap().data), (0, b"garbled".to_vec()));
    assert_eq!(notes_when(&reader, 1).await, ["[]"], "the one behind it goes on");
}

#[tokio::test]
async fn a_handler_leaves_all_of_its_effect_or_none() {
    // What the handler does; the notes it leaves; whether the event becomes a dead letter.
    type Act = fn(Database, String) -> futures::future::BoxFuture<'static, Result<()>>;
    let cases: [(&str, Act, &[&str], bool); 6] = [
        (
            "commits twice",
            |db, text| {
                Box::pin(async move {
                    write(&db, &text).await?;
                    write(&db, "second").await
                })
            },
            &["u1:a", "second"],
            false,
        ),
        (
            "fails after a commit",
            |db, text| {
                Box::pin(async move {
                    write(&db, &text).await?;
                    Err(Error::new(FAILED_PRECONDITION, "too late"))
                })
            },
            &[],
            true,
        ),
        (
            "panics after a commit",
            |db, text| {
                Box::pin(async move {
                    write(&db, &text).await?;
                    panic!("out of order")
                })
            },
            &[],
            true,
        ),
        (
            "drops its transaction",
            |db, text| {
                Box::pin(async move {
                    let transaction = db.begin().await?;
                    note(&transaction, &text).await
                })
            },
            &[],
            false,
        ),
        (
            "commits one transaction and drops another",
            |db, text| {
                Box::pin(async move {
                    write(&db, &text).await?;
                    let transaction = db.begin().await?;
                    note(&transaction, "dropped").await
                })
            },
            &[],
            true,
        ),
        ("writes nothing", |_, _| Box::pin(async { Ok(()) }), &[], false),
    ];
    for (what, act, expected, dead) in cases {
        let world = World::new();
        let reader = world.database("audit-svc").await;
        let database = reader.clone();
        let consumer = Consumer::new("notes").on(move |received: Received<UserUpdated>| {
            act(database.clone(), text_of(&received.payload))
        });
        let events = [updated("u1", "a").encode_to_vec()].map(|data| envelope("u1", &data));
        world.bus().publish(events.to_vec()).await.unwrap();
        let worker = world.start(consumer, &reader);
        eventually(what, async || settled(&world, &reader).await.then_some(())).await;
        worker.stop().await;

        assert_eq!(notes(&reader).await, expected, "{what}");
        let letters = world.bus().retained(&[dead_letter_topic(USERS)]).await.unwrap();
        assert_eq!(letters.len(), usize::from(dead), "{what}");
    }
}

#[tokio::test]
async fn an_outage_never_makes_a_dead_letter() {
    let world = World::new();
    let writer = world.database("identity-svc").await;
    let reader = world.database("audit-svc").await;
    let _relay = world.relay(&writer, world.bus());
    publish(&writer, &[updated("u1", "a")]).await;

    let attempts = Arc::new(AtomicU32::new(0));
    let counted = attempts.clone();
    let database = reader.clone();
    let consumer = Consumer::new("notes").on(move |received: Received<UserUpdated>| {
        let (database, attempt) = (database.clone(), counted.fetch_add(1, Ordering::SeqCst));
        async move {
            match attempt {
                0..8 => Err(Error::unavailable("authz-svc is away")),
                _ => write(&database, &text_of(&received.payload)).await,
            }
        }
    });
    let _consumer = world.start(consumer, &reader);
    assert_eq!(notes_when(&reader, 1).await, ["u1:a"]);
    assert_eq!(attempts.load(Ordering::SeqCst), 9);
    assert_eq!(world.bus().retained(&[dead_letter_topic(USERS)]).await.unwrap().len(), 0);
}

#[tokio::test]
async fn what_a_handler_publishes_carries_the_origin_of_its_event() {
    let world = World::new();
    let reader = world.database("identity-svc").await;
    let database = reader.clone();
    let consumer = Consumer::new("chain").on(move |received: Received<UserUpdated>| {
        let database = database.clone();
        async move {
            let transaction = database.begin().await?;
            let caller = call::current().unwrap();
            let user = caller.user.as_ref().map_or("nobody", |user| &user.id);
            note(&transaction, &format!("{user} {}", caller.request_id)).await?;
            let created =
                UserCreated { user_id: received.payload.user_id, ..UserCreated::default() };
            transaction.publish(&created).await?;
            transaction.commit().await
        }
    });
    let record = |actor: &str, request_id: &str| Envelope {
        actor: actor.into(),
        request_id: request_id.into(),
        ..envelope("u1", &updated("u1", "a").encode_to_vec())
    };
    let records = vec![record("user:u7", "r7"), record("", ""), record("service:auth-svc", "r8")];
    world.bus().publish(records).await.unwrap();
    let _consumer = world.start(consumer, &reader);

    assert_eq!(notes_when(&reader, 3).await, ["u7 r7", "nobody ", "nobody r8"]);
    let caused = outbox(&reader).await;
    let origins: Vec<_> =
        caused.iter().map(|event| (event.actor.as_str(), event.request_id.as_str())).collect();
    assert_eq!(origins, [("user:u7", "r7"), ("", ""), ("service:auth-svc", "r8")]);
}

#[tokio::test]
async fn a_trace_goes_on_from_writer_to_handler() {
    crate::mesh::install_tracing();
    let world = World::new();
    let database = world.database("identity-svc").await;
    let _relay = world.relay(&database, world.bus());
    let handled = database.clone();
    let consumer = Consumer::new("chain").on(move |_: Received<UserUpdated>| {
        let database = handled.clone();
        async move {
            let transaction = database.begin().await?;
            transaction.publish(&UserCreated::default()).await?;
            transaction.commit().await
        }
    });
    let _consumer = world.start(consumer, &database);
    let write = async { publish(&database, &[updated("u1", "a")]).await };
    tracing::Instrument::instrument(write, tracing::info_span!("write")).await;

    let records = eventually("both events", async || {
        let records = world.bus().retained(&[USERS.to_owned()]).await.unwrap();
        (records.len() == 2).then_some(records)
    })
    .await;
    let trace = |record: &Envelope| record.traceparent.get(3..35).map(str::to_owned);
    assert_eq!(records[0].traceparent.len(), 55, "{:?}", records[0].traceparent);
    assert_eq!(trace(&records[0]), trace(&records[1]));
    assert_ne!(records[0].traceparent, records[1].traceparent, "another span of it");
}

#[tokio::test]
async fn a_consumer_of_whole_topics_gets_every_type() {
    let world = World::new();
    let reader = world.database("audit-svc").await;
    let database = reader.clone();
    let consumer = Consumer::new("all").on_all([USERS.to_owned()], move |envelope: Envelope| {
        let database = database.clone();
        async move { write(&database, &envelope.r#type).await }
    });
    let unknown = Envelope { r#type: "x.y.Z".into(), ..envelope("u1", b"any") };
    world.bus().publish(vec![envelope("u1", b""), unknown]).await.unwrap();
    let _consumer = world.start(consumer, &reader);
    let types = notes_when(&reader, 2).await;
    assert_eq!(types, ["mainstay.identity.v1.UserUpdated", "x.y.Z"]);
}

#[tokio::test]
async fn a_consumer_of_what_is_no_event_does_not_start() {
    let world = World::new();
    let database = world.database("audit-svc").await;
    let start = || mainstay::kernel::events::Start {
        service: "audit-svc",
        database: Some(database.clone()),
        bus: world.bus(),
        pool: mainstay::contract::pool(),
        settings: &world.settings,
    };
    let no_event = Consumer::new("odd").on(async |_: Received<DeadLetter>| Ok(()));
    for (consumer, reason) in [
        (no_event, "which no contract declares as an event"),
        (Consumer::new("idle"), "listens to nothing"),
    ] {
        let error = consumer.start(start()).err().unwrap().to_string();
        assert!(error.contains(reason), "{error}");
    }
}

/// A consumer that notes every event which `act` accepts.
fn handler(database: &Database, act: fn(&str) -> Result<()>) -> Consumer {
    let database = database.clone();
    Consumer::new("notes").on(move |received: Received<UserUpdated>| {
        let database = database.clone();
        async move {
            let text = text_of(&received.payload);
            act(&text)?;
            write(&database, &text).await
        }
    })
}

async fn write(database: &Database, text: &str) -> Result<()> {
    let transaction = database.begin().await?;
    note(&transaction, text).await?;
    transaction.commit().await
}

/// An event as another service would have published it.
fn envelope(subject: &str, data: &[u8]) -> Envelope {
    Envelope {
        id: uuid::Uuid::now_v7().to_string(),
        source: "/identity-svc".into(),
        r#type: UserUpdated::full_name(),
        subject: subject.into(),
        topic: USERS.into(),
        data: data.to_vec(),
        ..Envelope::default()
    }
}

async fn dead_letter(world: &World) -> (Envelope, DeadLetter) {
    eventually("a dead letter", async || {
        let record = world.bus().retained(&[dead_letter_topic(USERS)]).await.unwrap().pop()?;
        let letter = DeadLetter::decode(&*record.data).unwrap();
        Some((record, letter))
    })
    .await
}

/// Whether the one event was handled or given up.
async fn settled(world: &World, database: &Database) -> bool {
    use sea_orm::ConnectionTrait as _;
    let query = sea_orm::sea_query::Query::select().column("event_id").from("inbox").take();
    let handled = database.connection().query_one(&query).await.unwrap().is_some();
    handled || !world.bus().retained(&[dead_letter_topic(USERS)]).await.unwrap().is_empty()
}
