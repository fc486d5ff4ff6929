//! State and event commit together; what is said about a database that cannot be used.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use futures::FutureExt as _;
use mainstay::contract::proto::mainstay::identity::v1::User;
use mainstay::kernel::call::{self, Call};
use mainstay::kernel::database::Database;
use mainstay::kernel::error::INTERNAL;
use mainstay::kernel::events::audit::{self, Draft};
use mainstay::kernel::proto::events::CallAudited;
use mainstay::kernel::settings::{DatabaseSettings, Secret};
use prost::Message as _;
use tonic::Code;

use crate::world::{World, note, notes, outbox, updated};

#[tokio::test]
async fn state_and_event_commit_together_or_not_at_all() {
    let world = World::new();
    let database = world.database("identity-svc").await;

    let dropped = database.begin().await.unwrap();
    note(&dropped, "dropped").await.unwrap();
    dropped.publish(&updated("u1", "dropped")).await.unwrap();
    drop(dropped);
    assert_eq!(notes(&database).await, Vec::<String>::new());
    assert_eq!(outbox(&database).await.len(), 0);

    let committed = database.begin().await.unwrap();
    note(&committed, "committed").await.unwrap();
    committed.publish(&updated("u1", "committed")).await.unwrap();
    committed.commit().await.unwrap();
    assert_eq!(notes(&database).await, ["committed"]);
    let events = outbox(&database).await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].r#type, "mainstay.identity.v1.UserUpdated");
    assert_eq!(
        (events[0].topic.as_str(), events[0].subject.as_str(), events[0].source.as_str()),
        ("identity.users", "u1", "/identity-svc"),
    );
}

#[tokio::test]
async fn an_announced_commit_is_heard_of_and_no_other() {
    let world = World::new();
    let database = world.database("identity-svc").await;
    let news = database.news();
    let dropped = database.begin().await.unwrap();
    dropped.announce();
    drop(dropped);
    let quiet = database.begin().await.unwrap();
    note(&quiet, "quiet").await.unwrap();
    quiet.commit().await.unwrap();
    // On PostgreSQL whoever begins to listen looks once.
    if mainstay_testing::infra().is_none() {
        assert!(news.next().now_or_never().is_none(), "nothing was announced and committed");
    }
    let told = database.begin().await.unwrap();
    note(&told, "told").await.unwrap();
    told.announce();
    told.commit().await.unwrap();
    news.next().await;
    assert_eq!(notes(&database).await, ["quiet", "told"]);
}

#[tokio::test]
async fn an_event_names_who_caused_it_in_which_request() {
    let world = World::new();
    let database = world.database("identity-svc").await;
    let publish = async || {
        let transaction = database.begin().await.unwrap();
        transaction.publish(&updated("u1", "x")).await.unwrap();
        transaction.commit().await.unwrap();
    };

    publish().await;
    call::scope(gateway_call(), publish()).await;

    let events = outbox(&database).await;
    let origins: Vec<_> =
        events.iter().map(|event| (event.actor.as_str(), event.request_id.as_str())).collect();
    assert_eq!(origins, [("", ""), ("user:u9", "r1")]);
}

#[tokio::test]
async fn a_message_that_is_no_event_cannot_be_published() {
    let world = World::new();
    let database = world.database("identity-svc").await;
    let transaction = database.begin().await.unwrap();
    let error = transaction.publish(&User::default()).await.unwrap_err();
    assert!(error.is(&INTERNAL));
    assert!(error.cause().unwrap().to_string().contains("mainstay.identity.v1.User is no event"));
}

#[tokio::test]
async fn writers_wait_for_each_other() {
    let world = World::new();
    let database = world.database("identity-svc").await;
    let writers = (0..50).map(async |number: u32| {
        let transaction = database.begin().await?;
        note(&transaction, &number.to_string()).await?;
        transaction.commit().await
    });
    futures::future::try_join_all(writers).await.unwrap();
    assert_eq!(notes(&database).await.len(), 50);
}

#[tokio::test]
async fn a_call_cut_off_at_any_point_leaves_the_database_usable() {
    let world = World::new();
    let database = world.database("identity-svc").await;
    let mut calls_cut_off = 0;
    for round in 0..20 {
        // How often a call waits depends on who is faster, it or the database.
        for waits in 0.. {
            let write = std::pin::pin!(async {
                let transaction = database.begin().await.unwrap();
                note(&transaction, "state").await.unwrap();
                transaction.publish(&updated("u1", round)).await.unwrap();
                transaction.commit().await.unwrap();
            });
            if cut_off(write, waits).await.is_some() {
                break;
            }
            calls_cut_off += 1;
        }
    }
    assert!(calls_cut_off > 0, "no call was cut off");

    let transaction = database.begin().await.expect("no lock was left behind");
    note(&transaction, "last").await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(notes(&database).await.len() - 1, outbox(&database).await.len());
}

/// What `call` gives, or `None` if it still waits after it was woken so many times: it is dropped.
async fn cut_off<T>(mut call: Pin<&mut impl Future<Output = T>>, waits: usize) -> Option<T> {
    let mut polled = 0;
    std::future::poll_fn(|context| match call.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if polled == waits => Poll::Ready(None),
        Poll::Pending => {
            polled += 1;
            Poll::Pending
        }
    })
    .await
}

#[tokio::test]
async fn the_audit_record_of_a_call_commits_with_its_change() {
    // What the handler does, the outcome it reports, the outcome on record.
    let cases = [
        (vec![Step::Commit], Code::Ok, "OK"),
        (vec![Step::Commit, Step::Commit], Code::Ok, "OK"),
        (vec![Step::Roll], Code::NotFound, "NOT_FOUND"),
        (vec![Step::Roll, Step::Commit], Code::Ok, "OK"),
        (vec![Step::Commit], Code::Unavailable, "OK"),
        (vec![], Code::PermissionDenied, "PERMISSION_DENIED"),
        (vec![], Code::Ok, "OK"),
    ];
    for (steps, outcome, recorded) in cases {
        let world = World::new();
        let database = world.database("identity-svc").await;
        let served = audit::scope(draft(), async {
            for step in &steps {
                let transaction = database.begin().await?;
                if *step == Step::Commit {
                    transaction.commit().await?;
                }
            }
            audit::finish(&database, outcome).await
        });
        call::scope(gateway_call(), served).await.unwrap();

        let events = outbox(&database).await;
        assert_eq!(events.len(), 1, "{steps:?} {outcome:?}");
        assert_eq!(events[0].actor, "user:u9");
        let record = CallAudited::decode(&*events[0].data).unwrap();
        assert_eq!(record.outcome, recorded, "{steps:?} {outcome:?}");
        assert_eq!((record.method.as_str(), record.resource.as_str()), ("m.S/Update", "users/u1"));
    }
}

#[tokio::test]
async fn a_call_that_is_not_audited_leaves_no_record() {
    let world = World::new();
    let database = world.database("identity-svc").await;
    database.begin().await.unwrap().commit().await.unwrap();
    audit::finish(&database, Code::Ok).await.unwrap();
    assert_eq!(outbox(&database).await.len(), 0);
}

#[tokio::test]
async fn a_database_that_cannot_be_opened_says_how_to_mend_it() {
    let world = World::new();
    std::fs::write(world.file("plain"), "this is no database, but it is long enough to be read")
        .unwrap();
    std::fs::create_dir(world.file("folder.db")).unwrap();
    for (file, mend) in [
        ("plain", "move it away or restore a backup"),
        ("plain/a.db", "make its parent writable"),
        ("folder.db", "check that its folder exists"),
        ("missing.db", "ends in ?mode=rwc"),
    ] {
        let mode = if file == "missing.db" { "rw" } else { "rwc" };
        let url = format!("sqlite://{}?mode={mode}", world.file(file).display());
        let settings = DatabaseSettings { url: Secret::from(url), ..DatabaseSettings::default() };
        let opened = match Database::open("a", &settings) {
            Ok(database) => database.migrate(Vec::new()).await,
            Err(error) => Err(error),
        };
        let text = format!("{:#}", opened.unwrap_err());
        assert!(text.contains(mend), "{file}: {mend:?} is not in {text:?}");
    }
}

#[tokio::test]
async fn reads_go_on_while_a_transaction_is_open() {
    let world = World::new();
    let database = world.database("identity-svc").await;
    let transaction = database.begin().await.unwrap();
    note(&transaction, "open").await.unwrap();
    assert_eq!(notes(&database).await, Vec::<String>::new());
    transaction.commit().await.unwrap();
    assert_eq!(notes(&database).await, ["open"]);
}

#[derive(Debug, PartialEq)]
enum Step {
    Commit,
    Roll,
}

fn draft() -> Draft {
    Draft {
        method: "m.S/Update".into(),
        resource: "users/u1".into(),
        caller: "gateway".into(),
        request_json: String::new(),
    }
}

fn gateway_call() -> Arc<Call> {
    Arc::new(Call {
        request_id: "r1".into(),
        peer: "gateway".into(),
        user: Some(call::User { id: "u9".into(), plan: "free".into(), session_id: None }),
        deadline: None,
    })
}
