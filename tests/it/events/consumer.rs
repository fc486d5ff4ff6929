//! What a handler may rely on, and what becomes of events it cannot handle.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use mainstay::contract::proto::mainstay::auth::v1::AccountRegistered;
use mainstay::contract::proto::mainstay::identity::v1::{UserCreated, UserUpdated};
use mainstay::kernel::call;
use mainstay::kernel::database::Database;
use mainstay::kernel::error::{Error, FAILED_PRECONDITION, NOT_FOUND, Result};
use mainstay::kernel::events::{
    Consumer, Consumers, DeadLetter, Envelope, EventBus as _, Received, dead_letter_topic,
};
use prost::{Message as _, Name as _};

use super::faults::{FaultyBus, Garbles, Panics};
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
    let letter = dead_letters_when(&reader, 1).await.remove(0);
    // Order holds within an aggregate alone.
    let original = world.retained(USERS).await.into_iter().find(|event| event.subject == "u1");
    assert_eq!(letter.event, original, "with its own id");
    assert_eq!((letter.consumer.as_str(), letter.attempts), ("audit-svc.notes", 1));
    assert_eq!(letter.code, "FAILED_PRECONDITION");
    assert_eq!(letter.reason, "FAILED_PRECONDITION: cannot swallow this");
    assert_eq!(letter.history.len(), 1);
    assert!(letter.history[0].instance.ends_with(&format!("/{}", std::process::id())));
}

#[tokio::test]
async fn a_dead_letter_is_on_its_topic_and_a_repeated_delivery_of_its_event_changes_nothing() {
    let world = World::new();
    let reader = world.database("audit-svc").await;
    let poison = envelope("u1", b"\xff\xff");
    world.bus().publish(vec![poison.clone()]).await.unwrap();
    let consumer = world.start(note_taker(&reader), &reader);
    let letter = dead_letters_when(&reader, 1).await.remove(0);
    assert_eq!(letter.attempts, 1, "what cannot be decoded is not tried again");
    assert!(letter.reason.contains("the payload cannot be decoded"), "{}", letter.reason);

    let mended = Envelope { data: updated("u1", "a").encode_to_vec(), ..poison.clone() };
    let next = envelope("u1", &updated("u1", "b").encode_to_vec());
    world.bus().publish(vec![poison, mended, next]).await.unwrap();
    assert_eq!(notes_when(&reader, 1).await, ["u1:b"]);
    consumer.stop().await;
    assert_eq!(dead_letters(&reader).await.len(), 1);

    let _relay = world.relay(&reader, world.bus());
    let record =
        eventually("the record", async || world.retained(&dead_letter_topic(USERS)).await.pop())
            .await;
    let published = DeadLetter::decode(&*record.data).unwrap();
    assert_eq!((record.id, record.subject.as_str()), (published.id.clone(), "u1"));
    assert_eq!(published, letter);
}

#[tokio::test]
async fn attempts_are_counted_over_restarts() {
    let mut world = World::new();
    world.settings.retry_backoff = Duration::from_secs(100_000);
    world.settings.max_retry_backoff = Duration::from_secs(100_000);
    let reader = world.database("audit-svc").await;
    let event = envelope("u1", &updated("u1", "a").encode_to_vec());
    world.bus().publish(vec![event]).await.unwrap();

    let attempts = Arc::new(AtomicU32::new(0));
    for expected in 1..=3 {
        let counted = attempts.clone();
        let failing = Consumer::new("notes").on(move |_: Received<UserUpdated>| {
            counted.fetch_add(1, Ordering::SeqCst);
            std::future::ready(Err(Error::new(NOT_FOUND, "not here yet")))
        });
        let consumer = world.start(failing, &reader);
        let tried = async || (attempts.load(Ordering::SeqCst) == expected).then_some(());
        eventually(&format!("attempt {expected}"), tried).await;
        consumer.stop().await;
    }
    let letter = dead_letters_when(&reader, 1).await.remove(0);
    assert_eq!((letter.attempts, attempts.load(Ordering::SeqCst)), (3, 3));
    assert_eq!(letter.history.len(), 1, "equal ones are one entry: {:?}", letter.history);
    assert_eq!(letter.history[0].count, 3);
}

#[tokio::test]
async fn an_event_that_ends_its_process_reaches_the_dead_letters_and_the_others_go_on() {
    let world = World::new();
    let reader = world.database("audit-svc").await;
    let event = |user: &str, text: &str| envelope(user, &updated(user, text).encode_to_vec());
    world.bus().publish(vec![event("u1", "kill"), event("u1", "after")]).await.unwrap();

    let entered = Arc::new(AtomicU32::new(0));
    // One more than what is counted: of the first death nobody knows which event it was.
    for life in 1..=4 {
        let (counted, database) = (entered.clone(), reader.clone());
        let deadly = Consumer::new("notes").on(move |received: Received<UserUpdated>| {
            let (counted, database) = (counted.clone(), database.clone());
            async move {
                let text = text_of(&received.payload);
                if text == "u1:kill" {
                    counted.fetch_add(1, Ordering::SeqCst);
                    std::future::pending::<()>().await;
                }
                write(&database, &text).await
            }
        });
        let consumer = world.start(deadly, &reader);
        let killed = async || (entered.load(Ordering::SeqCst) == life).then_some(());
        eventually(&format!("death {life}"), killed).await;
        if life == 1 {
            world.bus().publish(vec![event("u2", "b")]).await.unwrap();
        } else {
            // Long enough for the other aggregate's event to wait for its turn.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        // As a process that dies: nothing is finished, nothing is said.
        drop(consumer);
    }
    let _consumer = world.start(note_taker(&reader), &reader);
    let letter = dead_letters_when(&reader, 1).await.remove(0);
    assert_eq!((letter.code.as_str(), letter.attempts), ("PROCESS_ENDED", 3));
    let mut notes = notes_when(&reader, 2).await;
    notes.sort();
    assert_eq!(notes, ["u1:after", "u2:b"]);
    assert_eq!(dead_letters(&reader).await.len(), 1, "who only waited has ended nothing");
}

#[tokio::test]
async fn an_aggregate_is_parked_behind_its_dead_letter_where_the_consumer_says_so() {
    let world = World::new();
    let reader = world.database("audit-svc").await;
    let event = |user: &str, text: &str| envelope(user, &updated(user, text).encode_to_vec());
    let events = vec![event("u1", "poison"), event("u1", "after"), event("u2", "b")];
    world.bus().publish(events).await.unwrap();
    let strict = handler(&reader, |text| match text {
        "u1:poison" => Err(Error::new(FAILED_PRECONDITION, "cannot swallow this")),
        _ => Ok(()),
    });
    let _consumer = world.start(strict.park_aggregate(), &reader);
    let letters = dead_letters_when(&reader, 2).await;
    let codes: Vec<_> = letters.iter().map(|letter| letter.code.as_str()).collect();
    assert_eq!(codes, ["FAILED_PRECONDITION", "AGGREGATE_PARKED"]);
    assert_eq!(notes_when(&reader, 1).await, ["u2:b"]);
}

#[tokio::test]
async fn reasons_hold_nothing_personal() {
    let world = World::new();
    let reader = world.database("audit-svc").await;
    let consumer = Consumer::new("accounts").on(|received: Received<AccountRegistered>| {
        let email = received.payload.email.to_uppercase();
        let error = Error::new(FAILED_PRECONDITION, format!("{email} is known"));
        std::future::ready(Err(error.because(anyhow::anyhow!("key ({email}) exists"))))
    });
    let registered = AccountRegistered {
        user_id: "u1".into(),
        email: "ada@example.org".into(),
        ..AccountRegistered::default()
    };
    let event = Envelope {
        r#type: AccountRegistered::full_name(),
        topic: "auth.accounts".into(),
        ..envelope("u1", &registered.encode_to_vec())
    };
    world.bus().publish(vec![event]).await.unwrap();
    let _consumer = world.start(consumer, &reader);
    let letter = dead_letters_when(&reader, 1).await.remove(0);
    let expected = "FAILED_PRECONDITION: [redacted] is known: key ([redacted]) exists";
    assert_eq!((letter.reason.as_str(), letter.history[0].error.as_str()), (expected, expected));
}

#[tokio::test]
async fn a_consumer_that_dies_is_seen_and_started_again() {
    let world = World::new();
    let reader = world.database("audit-svc").await;
    let consumers = Consumers::default();
    let panics = Arc::new(AtomicBool::new(true));
    let bus = FaultyBus { bus: world.bus(), fault: Panics(panics.clone()) };
    let consumer = note_taker(&reader).listed_in(consumers.clone());
    let _consumer = world.start_on(consumer, &reader, bus);

    let reason = eventually("its death", async || consumers.check().err()).await;
    assert!(reason.starts_with("audit-svc.notes died"), "{reason}");
    assert!(reason.contains("the broker's client is out of order"), "{reason}");
    panics.store(false, Ordering::SeqCst);
    let event = envelope("u1", &updated("u1", "a").encode_to_vec());
    world.bus().publish(vec![event]).await.unwrap();
    assert_eq!(notes_when(&reader, 1).await, ["u1:a"]);
    eventually("readiness", async || consumers.check().ok()).await;
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

    let letter = dead_letters_when(&reader, 1).await.remove(0);
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
        eventually(what, async || settled(&reader).await.then_some(())).await;
        worker.stop().await;

        assert_eq!(notes(&reader).await, expected, "{what}");
        assert_eq!(dead_letters(&reader).await.len(), usize::from(dead), "{what}");
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
    assert_eq!(dead_letters(&reader).await.len(), 0);
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
        let records = world.retained(USERS).await;
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

/// The dead letters on their way to the broker, in the order of parking.
async fn dead_letters(database: &Database) -> Vec<DeadLetter> {
    let records = outbox(database).await;
    let letters = records.iter().filter(|record| record.r#type == DeadLetter::full_name());
    letters.map(|record| DeadLetter::decode(&*record.data).unwrap()).collect()
}

async fn dead_letters_when(database: &Database, count: usize) -> Vec<DeadLetter> {
    eventually(&format!("{count} dead letters"), async || {
        let letters = dead_letters(database).await;
        (letters.len() >= count).then_some(letters)
    })
    .await
}

/// Whether the one event was handled or given up.
async fn settled(database: &Database) -> bool {
    use sea_orm::ConnectionTrait as _;
    let query = sea_orm::sea_query::Query::select().column("event_id").from("inbox").take();
    database.connection().query_one(&query).await.unwrap().is_some()
}
