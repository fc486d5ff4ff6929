//! PostgreSQL: who may see what, what is said when it cannot be used, and the outbox with many
//! writers at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mainstay::contract::proto::mainstay::identity::v1::UserUpdated;
use mainstay::kernel::database::Database;
use mainstay::kernel::events::{Consumer, Received, Relay};
use mainstay::kernel::settings::{DatabaseSettings, EventSettings};
use sea_orm::ConnectionTrait as _;
use tokio::sync::Semaphore;

use crate::infra;
use crate::suite_relay::MemoryBus;
use crate::world::{World, eventually, note, notes, notes_when, outbox, publish, text_of, updated};

/// How many rows wait in the story of the large backlog.
const BACKLOG: usize = 20_000;

#[tokio::test]
async fn no_service_reads_the_tables_of_another() {
    infra();
    let world = World::new();
    let _identity = world.database("identity-svc").await;
    let audit = world.database("audit-svc").await;
    let schema = world.database_settings("identity-svc").schema;
    for statement in [
        "SELECT * FROM identity.notes",
        "INSERT INTO identity.notes (text) VALUES ('x')",
        "CREATE TABLE identity.mine (id bigint)",
        "CREATE TABLE public.mine (id bigint)",
        "CREATE SCHEMA mine",
    ] {
        let statement = &statement.replace("identity.", &format!("{schema}."));
        let error = audit.connection().execute_unprepared(statement).await.unwrap_err();
        assert!(error.to_string().contains("permission denied"), "{statement}: {error}");
    }
    audit.connection().execute_unprepared("SELECT * FROM notes").await.unwrap();
}

#[tokio::test]
async fn a_database_that_cannot_be_used_says_how_to_mend_it() {
    infra();
    let world = World::new();
    let sound = world.database_settings("identity-svc").url.expose().clone();
    let password = sound.split(['@', ':']).nth(2).unwrap().to_owned();
    let (before, _) = sound.rsplit_once('/').unwrap();
    let (_, address) = before.rsplit_once('@').unwrap();
    for (url, schema, words) in [
        (sound.replace(address, "127.0.0.1:1"), "", "check that it runs, and host and port"),
        (sound.replace(&password, "guessed"), "", "correct the user and the password"),
        (format!("{before}/no_such_database"), "", "create the database and run"),
        (sound.clone(), "nothing", "it has no schema nothing: run deploy/postgres/provision.sql"),
        (sound.clone(), "pg_catalog", "may not create tables in the schema pg_catalog"),
        (format!("{sound}?sslmode=require"), "", "correct sslmode"),
    ] {
        let url = url.into();
        let settings = DatabaseSettings { url, schema: schema.into(), ..Default::default() };
        let database = Database::open("identity-svc", &settings).unwrap();
        let text = format!("{:#}", database.migrate(Vec::new()).await.unwrap_err());
        assert!(text.contains(words), "{words:?} is not in {text:?}");
        assert!(!text.contains(&password) && !text.contains("guessed"), "{text}");
    }
}

#[tokio::test]
async fn production_refuses_a_role_that_may_do_everything() {
    let url = infra().postgres.url.clone().into();
    let settings = DatabaseSettings { url, schema: "public".into(), ..Default::default() };
    let all_powerful = Database::open("identity-svc", &settings).unwrap();
    let text = format!("{:#}", all_powerful.refuse_privileged_role().await.unwrap_err());
    assert!(text.contains("is a superuser") && text.contains("provision.sql"), "{text}");

    let world = World::new();
    world.database("identity-svc").await.refuse_privileged_role().await.unwrap();
}

/// On SQLite this cannot come about: it has one writer, so positions commit in their order.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_whose_transaction_was_held_open_while_a_thousand_later_ones_went_arrives() {
    infra();
    let world = World::new();
    let database = world.database("identity-svc").await;
    let bus = MemoryBus::default();
    let _relay = world.relay(&database, bus.clone());

    let held = database.begin().await.unwrap();
    held.publish(&updated("held", "x")).await.unwrap();
    for number in 0..100 {
        let later: Vec<_> = (0..10).map(|user| updated(format!("u{user}"), number)).collect();
        publish(&database, &later).await;
    }
    eventually("the later ones", async || (bus.count() == 1000).then_some(())).await;
    held.commit().await.unwrap();
    eventually("the held one", async || (bus.texts("held") == ["x"]).then_some(())).await;
}

/// On SQLite there is one writer anyway.
#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_of_events_leaves_half_of_the_pool_to_calls() {
    infra();
    let world = World::new();
    let writer = world.database("identity-svc").await;
    let reader = world.database("audit-svc").await;
    let _relay = world.relay(&writer, world.bus());
    let users: Vec<_> = (0..20).map(|user| updated(format!("u{user}"), "x")).collect();
    publish(&writer, &users).await;

    let (held, gate) = (Arc::<AtomicUsize>::default(), Arc::new(Semaphore::new(0)));
    let (holding, database, opened) = (held.clone(), reader.clone(), gate.clone());
    let slow = Consumer::new("notes").on(move |received: Received<UserUpdated>| {
        let (holding, database, opened) = (holding.clone(), database.clone(), opened.clone());
        async move {
            let transaction = database.begin().await?;
            holding.fetch_add(1, Ordering::SeqCst);
            note(&transaction, &text_of(&received.payload)).await?;
            drop(opened.acquire().await.unwrap());
            transaction.commit().await
        }
    });
    let _consumer = world.start(slow, &reader);
    let half = DatabaseSettings::default().max_connections as usize / 2;
    eventually("their share", async || (held.load(Ordering::SeqCst) == half).then_some(())).await;
    let mut calls = Vec::new();
    for _ in 0..half {
        calls.push(reader.begin().await.unwrap());
    }
    assert_eq!(held.load(Ordering::SeqCst), half, "no event took what is for calls");
    drop(calls);
    gate.add_permits(users.len());
    assert_eq!(notes_when(&reader, users.len()).await.len(), users.len());
}

#[tokio::test]
async fn a_writer_in_another_process_wakes_the_relay() {
    infra();
    let world = World::new();
    let writer = world.database("identity-svc").await;
    let elsewhere = world.database("identity-svc").await;
    let bus = MemoryBus::default();
    // It never looks by itself within this story.
    let seldom =
        EventSettings { outbox_interval: Duration::from_secs(3600), ..world.settings.clone() };
    let _relay = Relay::new(elsewhere, Arc::new(bus.clone()), &seldom).spawn();
    for number in 0..5 {
        publish(&writer, &[updated("u1", number)]).await;
        let count = number + 1;
        eventually("the event", async || (bus.count() == count).then_some(())).await;
    }
}

#[tokio::test]
async fn an_announced_commit_is_heard_of_in_another_process() {
    infra();
    let world = World::new();
    let writer = world.database("identity-svc").await;
    let elsewhere = world.database("identity-svc").await;
    let news = elsewhere.news();
    let heard = async || {
        let next = tokio::time::timeout(Duration::from_secs(10), news.next()).await;
        next.expect("nobody looks by himself, so it is told");
    };
    heard().await; // that somebody listens
    for number in 0..5 {
        let transaction = writer.begin().await.unwrap();
        note(&transaction, &number.to_string()).await.unwrap();
        transaction.announce();
        transaction.commit().await.unwrap();
        heard().await;
        assert_eq!(notes(&elsewhere).await.len(), number + 1, "what is told of can be read");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_backlog_is_published_in_order_and_at_speed() {
    infra();
    let world = World::new();
    let database = world.database("identity-svc").await;
    fill(&database, BACKLOG).await;
    let bus = MemoryBus::default();
    let begin = Instant::now();
    let _relay = world.relay(&database, bus.clone());
    eventually("all events", async || (bus.count() >= BACKLOG).then_some(())).await;
    let per_second = BACKLOG as f64 / begin.elapsed().as_secs_f64();
    println!("{per_second:.0} events/s");
    eventually("an empty outbox", async || outbox(&database).await.is_empty().then_some(())).await;
    for user in ["u0", "u999"] {
        let texts = bus.texts(user);
        let mut in_order = texts.clone();
        in_order.sort();
        assert_eq!(texts, in_order, "user {user}");
        assert_eq!(texts.len(), BACKLOG / 1000, "user {user}");
    }
    assert_eq!(bus.count(), BACKLOG);
}

/// Writes many events of a thousand users at once. Their payloads are `UserUpdated` by hand: field 2
/// with the number in ten digits.
async fn fill(database: &Database, count: usize) {
    let insert = format!(
        "INSERT INTO outbox (id, aggregatetype, aggregateid, type, payload, topic, source, \
             traceparent, actor, request_id) \
         SELECT gen_random_uuid(), 'identity.users', 'u' || (n % 1000), \
             'mainstay.identity.v1.UserUpdated', '\\x120a'::bytea || lpad(n::text, 10, '0')::bytea, \
             'identity.users', '/identity-svc', '', '', '' \
         FROM generate_series(1, {count}) AS n"
    );
    database.connection().execute_unprepared(&insert).await.unwrap();
}
