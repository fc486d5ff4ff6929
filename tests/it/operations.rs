//! What operators see of a service, and do about it, over its own mTLS port.

mod unfinished;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mainstay::contract::audit;
use mainstay::contract::operations::{GrpcOperationsClient, OPERATOR, OperationsClient, proto};
use mainstay::contract::proto::mainstay::auth::v1::AccountRegistered;
use mainstay::kernel::database::Database;
use mainstay::kernel::error::{Error, FAILED_PRECONDITION, INVALID_ARGUMENT, PERMISSION_DENIED};
use mainstay::kernel::events::{Consumer, Received};
use mainstay::kernel::lifecycle::{self, Module, Platform, Running};
use mainstay::kernel::proto::events::CallAudited;
use mainstay::kernel::settings::EventKind;
use mainstay_testing::{NoSettings, TestMesh};
use proto::{DeadLetter, DeadLetterFilter, DeadLetterState};

use crate::lifecycle::{SlowTrail, sound_module};
use crate::world::{CreateNotes, eventually, note, notes, notes_when};

const ACCOUNTS: &str = "auth.accounts";
const GROUP: &str = "audit-svc.accounts";

/// A service whose one consumer notes users, and takes none for as long as it is broken.
struct Service {
    operated: Operated,
    broken: Arc<AtomicBool>,
}

/// A service, and an operator who calls it.
struct Operated {
    mesh: TestMesh,
    _running: Running,
    database: Database,
    client: GrpcOperationsClient,
}

impl Operated {
    /// Starts a service of this module, which is made on its database.
    async fn start(module: impl FnOnce(Database) -> Module + Send) -> Self {
        let mesh = TestMesh::new();
        let handed = Arc::new(std::sync::OnceLock::new());
        let given = handed.clone();
        let running = mesh
            .start(audit::SERVICE, NoSettings {}, async move |platform: Platform<NoSettings>| {
                let _ = given.set(platform.database());
                Ok(module(platform.database()))
            })
            .await;
        let client = GrpcOperationsClient::new(mesh.channel(OPERATOR, audit::SERVICE));
        let database = handed.get().unwrap().clone();
        Self { mesh, _running: running, database, client }
    }
}

impl std::ops::Deref for Service {
    type Target = Operated;

    fn deref(&self) -> &Operated {
        &self.operated
    }
}

impl Service {
    async fn start(broken: bool) -> Self {
        Self::start_with(broken, |consumer| consumer).await
    }

    async fn start_with(broken: bool, told: fn(Consumer) -> Consumer) -> Self {
        let broken = Arc::new(AtomicBool::new(broken));
        let faulty = broken.clone();
        let operated = Operated::start(|database| module(database, faulty, told)).await;
        Self { operated, broken }
    }

    async fn register(&self, user: &str) {
        self.mesh.publish(&registered(user)).await;
    }

    async fn letters(&self, state: DeadLetterState) -> Vec<DeadLetter> {
        let filter = DeadLetterFilter { state: state.into(), ..DeadLetterFilter::default() };
        let request = proto::ListDeadLettersRequest {
            filter: Some(filter),
            ..proto::ListDeadLettersRequest::default()
        };
        self.client.list_dead_letters(request).await.unwrap().dead_letters
    }

    async fn letters_when(&self, state: DeadLetterState, count: usize) -> Vec<DeadLetter> {
        eventually(&format!("{count} letters"), async || {
            let letters = self.letters(state).await;
            (letters.len() == count).then_some(letters)
        })
        .await
    }

    async fn audited(&self, method: &str, count: usize) -> Vec<CallAudited> {
        audited(&self.mesh, method, count).await
    }
}

/// The audited calls of a method, with who made them and how they ended.
async fn audited(mesh: &TestMesh, method: &str, count: usize) -> Vec<CallAudited> {
    eventually(&format!("{count} records of {method}"), async || {
        let mut calls = mesh.events::<CallAudited>().await;
        calls.retain(|call| call.method.ends_with(&format!("/{method}")));
        (calls.len() == count).then_some(calls)
    })
    .await
}

fn module(database: Database, broken: Arc<AtomicBool>, told: fn(Consumer) -> Consumer) -> Module {
    let consumer = Consumer::new("accounts").on(move |received: Received<AccountRegistered>| {
        let (database, broken) = (database.clone(), broken.load(Ordering::SeqCst));
        async move {
            if broken {
                let reason = format!("{} is not welcome", received.payload.email);
                return Err(Error::new(FAILED_PRECONDITION, reason));
            }
            let transaction = database.begin().await?;
            let AccountRegistered { user_id, display_name, .. } = received.payload;
            note(&transaction, &format!("{user_id}{display_name}")).await?;
            transaction.commit().await
        }
    });
    sound_module(SlowTrail::new()).migrations(vec![Box::new(CreateNotes)]).consumer(told(consumer))
}

fn registered(user: &str) -> AccountRegistered {
    AccountRegistered {
        user_id: user.to_owned(),
        email: format!("{user}@example.org"),
        ..AccountRegistered::default()
    }
}

#[tokio::test]
async fn a_dead_letter_is_listed_shown_mended_and_replayed_with_one_effect() {
    let service = Service::start(true).await;
    service.register("ada").await;
    let listed = service.letters_when(DeadLetterState::Parked, 1).await.remove(0);
    assert_eq!(listed.reason, "FAILED_PRECONDITION: [redacted] is not welcome");
    assert_eq!((listed.consumer.as_str(), listed.attempts), (GROUP, 1));

    let request = || proto::GetDeadLetterRequest { letter_id: listed.id.clone() };
    let shown = service.client.get_dead_letter(request()).await.unwrap();
    let payload = shown.event.clone().unwrap().payload_json;
    assert!(payload.contains("ada") && !payload.contains("example.org"), "{payload}");
    assert_eq!(shown.history.len(), 1);
    let revealed = service.client.reveal_dead_letter(request()).await.unwrap();
    assert!(revealed.event.unwrap().payload_json.contains("ada@example.org"));
    let record = service.audited("RevealDeadLetter", 1).await.remove(0);
    assert_eq!(record.resource, format!("dead-letters/{}", listed.id));
    assert_eq!((record.caller.as_str(), record.outcome.as_str()), (OPERATOR, "OK"));

    // Not mended yet: it comes back, and keeps its id.
    let replay = async |dry_run: bool| {
        let filter = DeadLetterFilter { topic: ACCOUNTS.into(), ..DeadLetterFilter::default() };
        let request = proto::ReplayDeadLettersRequest {
            filter: Some(filter),
            dry_run,
            ..proto::ReplayDeadLettersRequest::default()
        };
        let reply = service.client.replay_dead_letters(request).await.unwrap();
        (reply.dead_letters.len(), reply.changed)
    };
    assert_eq!(replay(true).await, (1, 0), "a dry run changes nothing");
    assert_eq!(replay(false).await, (1, 1));
    eventually("it is parked again", async || {
        let parked = service.letters(DeadLetterState::Parked).await.pop()?;
        (parked.park_time != listed.park_time && parked.id == listed.id).then_some(())
    })
    .await;

    service.broken.store(false, Ordering::SeqCst);
    assert_eq!(replay(false).await, (1, 1));
    assert_eq!(notes_when(&service.database, 1).await, ["ada"]);
    let replayed = service.letters_when(DeadLetterState::Replayed, 1).await.remove(0);
    assert_eq!(replayed.updated_by, "service:operator");
    assert_eq!(replay(false).await, (0, 0), "what was replayed is not replayed again");
    assert_eq!(notes(&service.database).await, ["ada"]);
    service.audited("ReplayDeadLetters", 4).await;
}

#[tokio::test]
async fn a_parked_aggregate_is_replayed_in_order() {
    let service = Service::start_with(true, Consumer::park_aggregate).await;
    let event =
        |number: u32| AccountRegistered { display_name: number.to_string(), ..registered("ada") };
    service.mesh.publish(&event(1)).await;
    service.letters_when(DeadLetterState::Parked, 1).await;
    service.broken.store(false, Ordering::SeqCst);
    for number in 2..=5 {
        service.mesh.publish(&event(number)).await;
    }
    let letters = service.letters_when(DeadLetterState::Parked, 5).await;
    let codes: Vec<_> = letters.iter().map(|letter| letter.code.as_str()).collect();
    assert_eq!(codes[..2], ["FAILED_PRECONDITION", "AGGREGATE_PARKED"]);
    service.register("bob").await;
    assert_eq!(notes_when(&service.database, 1).await, ["bob"], "others go on");

    let filter = DeadLetterFilter { consumer: GROUP.into(), ..DeadLetterFilter::default() };
    let request = proto::ReplayDeadLettersRequest { filter: Some(filter), ..Default::default() };
    assert_eq!(service.client.replay_dead_letters(request).await.unwrap().changed, 5);
    let notes = notes_when(&service.database, 6).await;
    assert_eq!(notes, ["bob", "ada1", "ada2", "ada3", "ada4", "ada5"]);
    service.letters_when(DeadLetterState::Replayed, 5).await;
}

#[tokio::test]
async fn a_discarded_letter_says_who_and_why_and_the_trail_does_too() {
    let service = Service::start(true).await;
    service.register("ada").await;
    service.register("bob").await;
    service.letters_when(DeadLetterState::Parked, 2).await;
    let request = |subject: &str| proto::DiscardDeadLettersRequest {
        filter: Some(DeadLetterFilter { subject: subject.into(), ..DeadLetterFilter::default() }),
        reason: "a test account".into(),
        ..proto::DiscardDeadLettersRequest::default()
    };
    let reply = service.client.discard_dead_letters(request("ada")).await.unwrap();
    assert_eq!(reply.changed, 1);
    let discarded = service.letters_when(DeadLetterState::Discarded, 1).await.remove(0);
    assert_eq!(discarded.event.unwrap().subject, "ada");
    assert_eq!(
        (discarded.updated_by.as_str(), discarded.note.as_str()),
        ("service:operator", "a test account")
    );
    assert_eq!(service.letters(DeadLetterState::Parked).await.len(), 1);
    let record = service.audited("DiscardDeadLetters", 1).await.remove(0);
    assert!(record.request_json.contains("a test account"), "{}", record.request_json);

    let unexplained = proto::DiscardDeadLettersRequest { reason: String::new(), ..request("bob") };
    let refused = service.client.discard_dead_letters(unexplained).await.unwrap_err();
    assert!(refused.is(&INVALID_ARGUMENT), "{refused}");
}

#[tokio::test]
async fn letters_are_found_by_what_is_stated_and_in_pages() {
    let service = Service::start(true).await;
    for user in ["ada", "bob", "cyd"] {
        service.register(user).await;
    }
    service.letters_when(DeadLetterState::Parked, 3).await;
    let find = async |filter: DeadLetterFilter, page_size: i32, page_token: &str| {
        let page_token = page_token.to_owned();
        let filter = Some(filter);
        let request = proto::ListDeadLettersRequest { filter, page_size, page_token };
        service.client.list_dead_letters(request).await.unwrap()
    };
    let all = DeadLetterFilter::default;
    let mut seen = Vec::new();
    let mut token = String::new();
    loop {
        let page = find(all(), 2, &token).await;
        seen.extend(page.dead_letters.into_iter().map(|letter| letter.event.unwrap().subject));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    seen.sort();
    assert_eq!(seen, ["ada", "bob", "cyd"]);
    let table = [
        (DeadLetterFilter { reason: "IS NOT welcome".into(), ..all() }, 3),
        (DeadLetterFilter { reason: "100%".into(), ..all() }, 0),
        (DeadLetterFilter { consumer: GROUP.into(), subject: "bob".into(), ..all() }, 1),
        (DeadLetterFilter { code: "FAILED_PRECONDITION".into(), ..all() }, 3),
        (DeadLetterFilter { topic: "identity.users".into(), ..all() }, 0),
        (DeadLetterFilter { end_time: Some(prost_types::Timestamp::default()), ..all() }, 0),
        (DeadLetterFilter { start_time: Some(prost_types::Timestamp::default()), ..all() }, 3),
    ];
    for (filter, expected) in table {
        assert_eq!(find(filter.clone(), 0, "").await.dead_letters.len(), expected, "{filter:?}");
    }
}

#[tokio::test]
async fn a_topic_is_read_and_replayed_without_new_effects() {
    let service = Service::start(false).await;
    for user in ["ada", "bob", "cyd"] {
        service.register(user).await;
    }
    notes_when(&service.database, 3).await;
    let read = proto::ReadEventsRequest { topic: ACCOUNTS.into(), ..Default::default() };
    let page = service.client.read_events(read.clone()).await.unwrap();
    assert_eq!(page.events.len(), 3);
    assert!(page.events.iter().all(|event| !event.payload_json.contains("example.org")));
    let revealed = service.client.reveal_events(read.clone()).await.unwrap();
    assert!(revealed.events.iter().all(|event| event.payload_json.contains("example.org")));
    service.audited("RevealEvents", 1).await;

    let to_group = proto::ReplayEventsRequest {
        topic: ACCOUNTS.into(),
        consumer: GROUP.into(),
        ..proto::ReplayEventsRequest::default()
    };
    let reply = service.client.replay_events(to_group.clone()).await.unwrap();
    assert_eq!((reply.read, reply.selected, reply.replayed), (3, 0, 0), "all were handled");
    let to_all = proto::ReplayEventsRequest { consumer: String::new(), ..to_group };
    let endless = service.client.replay_events(to_all.clone()).await.unwrap_err();
    assert_eq!(endless.violations()[0].field, "end_time");
    let end_time = Some(std::time::SystemTime::now().into());
    let to_all = proto::ReplayEventsRequest { end_time, ..to_all };
    let reply = service.client.replay_events(to_all).await.unwrap();
    assert_eq!((reply.read, reply.replayed), (3, 3));

    service.register("dan").await;
    let mut noted = notes_when(&service.database, 4).await;
    noted.sort();
    assert_eq!(noted, ["ada", "bob", "cyd", "dan"]);
    let tail = proto::ReadEventsRequest { position: page.next_position, ..read };
    let page = service.client.read_events(tail).await.unwrap();
    let mut subjects: Vec<_> = page.events.iter().map(|event| event.subject.as_str()).collect();
    subjects.sort_unstable();
    assert_eq!(subjects, ["ada", "bob", "cyd", "dan"], "published once more, and the new one");
}

#[tokio::test]
async fn nobody_but_an_operator_is_answered() {
    let service = Service::start(false).await;
    for identity in ["gateway", "billing-svc", "developer"] {
        let channel = service.mesh.channel(identity, audit::SERVICE);
        let client = GrpcOperationsClient::new(channel);
        let refused = client.get_outbox(proto::GetOutboxRequest {}).await.unwrap_err();
        assert!(refused.is(&PERMISSION_DENIED), "{identity}: {refused}");
    }
}

#[tokio::test]
async fn the_state_of_consumers_and_topics_is_told() {
    let service = Service::start(false).await;
    let consumer = eventually("the lag is known", async || {
        let reply = service.client.list_consumers(proto::ListConsumersRequest {}).await.unwrap();
        let consumer = reply.consumers.into_iter().next()?;
        consumer.lag.is_some().then_some(consumer)
    })
    .await;
    assert_eq!((consumer.consumer.as_str(), consumer.state.as_str()), (GROUP, "consuming"));
    assert_eq!((consumer.retrying, consumer.redeliveries, consumer.parked), (0, 0, 0));
    let topics = service.client.list_topics(proto::ListTopicsRequest {}).await.unwrap().topics;
    let accounts = topics.iter().find(|topic| topic.name == ACCOUNTS).unwrap();
    assert_eq!(accounts.consumers, [GROUP]);
    assert!(accounts.types.contains(&"mainstay.auth.v1.AccountRegistered".to_owned()));
}

#[tokio::test]
async fn the_outbox_tells_what_waits_while_the_broker_is_away() {
    let mesh = TestMesh::new();
    let mut settings = mesh.settings(audit::SERVICE, NoSettings {});
    // A folder where the broker's file should be.
    settings.kernel.events.kind = EventKind::Embedded;
    settings.kernel.events.path = mesh.path().to_owned();
    let _running = lifecycle::start(audit::SERVICE, settings, async |_: Platform<NoSettings>| {
        Ok(sound_module(SlowTrail::new()))
    })
    .await
    .unwrap();
    let client = GrpcOperationsClient::new(mesh.channel(OPERATOR, audit::SERVICE));
    let outbox = eventually("a failing event", async || {
        let outbox = client.get_outbox(proto::GetOutboxRequest {}).await.unwrap();
        (!outbox.failing.is_empty()).then_some(outbox)
    })
    .await;
    assert_eq!((outbox.service.as_str(), outbox.backlog), (audit::SERVICE, 1));
    assert!(outbox.oldest_time.is_some());
    assert_eq!(outbox.failing[0].topic, "platform.services");
    assert!(outbox.failing[0].reason.starts_with("UNAVAILABLE"), "{:?}", outbox.failing);
}
