//! Callers of the gateway who never stop, and what became of what they did.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mainstay_testing::{Account, Platform, Reply, Rest, within};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::RECOVERY;

/// How long a caller waits between two calls: the machine has room beside them, so that what is measured is
/// how soon a server's return is noticed, not how soon a busy machine works off what has piled up.
const PAUSE: Duration = Duration::from_millis(150);

/// So many answers of each kind of call are waited for.
const SOME: usize = 5;

/// The kinds of calls: a write to several services by way of events, one to a single service, reads.
const KINDS: [&str; 4] = ["register", "update", "me", "plans"];

/// Callers who never stop.
pub(super) struct Load {
    told: Arc<Told>,
    stop: Arc<AtomicBool>,
    callers: Vec<JoinHandle<()>>,
    ada: Account,
}

/// What the callers were told.
#[derive(Default)]
struct Told {
    answers: Mutex<BTreeMap<&'static str, Answers>>,
    /// Ids of the users whose registration was acknowledged.
    registered: Mutex<Vec<String>>,
    /// When somebody was told to come back last.
    last_deferred: Mutex<Option<Instant>>,
    /// What nobody should be told.
    wrong: Mutex<Vec<String>>,
}

/// The answers to one kind of call.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Answers {
    /// Done.
    pub(super) done: usize,
    /// Told to come back: 503 with `Retry-After`.
    pub(super) deferred: usize,
}

impl Load {
    pub(super) async fn start(platform: &Platform) -> Self {
        let ada = platform.sign_up("ada@example.com").await;
        let (told, stop) = (Arc::new(Told::default()), Arc::<AtomicBool>::default());
        let callers = KINDS.map(|kind| {
            let caller = Caller {
                kind,
                anybody: platform.rest(),
                ada: ada.rest.clone(),
                told: told.clone(),
                stop: stop.clone(),
            };
            tokio::spawn(caller.call())
        });
        Self { told, stop, callers: callers.into(), ada }
    }

    /// Waits until some more calls of each kind were done.
    pub(super) async fn goes_on(&self) {
        let before = self.answers();
        for kind in KINDS {
            within(RECOVERY, &format!("{kind} goes on"), async || {
                (self.answers()[kind].done >= before[kind].done + SOME).then_some(())
            })
            .await;
        }
    }

    /// Waits until some calls of these kinds were told to come back.
    pub(super) async fn is_deferred(&self, kinds: &[&str]) {
        let before = self.answers();
        for kind in kinds {
            within(RECOVERY, &format!("{kind} is told to come back"), async || {
                (self.answers()[kind].deferred >= before[kind].deferred + SOME).then_some(())
            })
            .await;
        }
    }

    /// Waits until calls of each kind are done again and nobody is told to come back; says when
    /// somebody was last.
    pub(super) async fn all_succeed(&self) -> Option<Instant> {
        loop {
            let before = self.deferred();
            self.goes_on().await;
            if self.deferred() == before {
                return *self.told.last_deferred.lock().unwrap();
            }
        }
    }

    /// Waits until a registration of now has taken effect everywhere.
    pub(super) async fn events_arrive(&self, platform: &Platform) {
        let email = format!("{}@example.com", uuid::Uuid::now_v7().simple());
        let account = platform.sign_up(&email).await;
        is_registered_once(&platform.admin().await.rest, &account.id).await;
    }

    /// How many calls were told to come back so far.
    pub(super) fn deferred(&self) -> usize {
        self.answers().values().map(|answers| answers.deferred).sum()
    }

    /// Ends the calls; then everything that was acknowledged is there, and once.
    pub(super) async fn end(mut self, platform: &Platform) {
        self.stop.store(true, Ordering::SeqCst);
        for caller in std::mem::take(&mut self.callers) {
            caller.await.unwrap();
        }
        let wrong = self.told.wrong.lock().unwrap().clone();
        assert!(wrong.is_empty(), "{} answers nobody should get: {wrong:#?}", wrong.len());
        let admin = platform.admin().await;
        let registered = self.told.registered.lock().unwrap().clone();
        println!("{} registrations are looked for; {:?}", registered.len(), self.answers());
        for id in &registered {
            is_registered_once(&admin.rest, id).await;
        }
        let Answers { done, deferred } = self.answers()["update"];
        let updates = within(RECOVERY, "every update is on record", async || {
            let path = format!("/api/v1/audit/events?resource=users/{}", self.ada.id);
            let updates = all(&admin.rest, &path).await;
            let updates = updates.iter().filter(|event| is_of(event, "UserUpdated")).count();
            (updates >= done).then_some(updates)
        })
        .await;
        // One that was told to come back may have been done all the same.
        assert!(updates <= done + deferred, "{updates} on record, {done} done");
    }

    fn answers(&self) -> BTreeMap<&'static str, Answers> {
        let mut answers = self.told.answers.lock().unwrap().clone();
        for kind in KINDS {
            answers.entry(kind).or_default();
        }
        answers
    }
}

/// Somebody who makes one kind of call.
struct Caller {
    kind: &'static str,
    anybody: Rest,
    ada: Rest,
    told: Arc<Told>,
    stop: Arc<AtomicBool>,
}

impl Caller {
    async fn call(self) {
        for number in 0.. {
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            let begin = Instant::now();
            let reply = self.one(number).await;
            self.note(&reply, begin.elapsed());
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn one(&self, number: u32) -> Reply {
        match self.kind {
            "register" => {
                let request = json!({
                    "email": format!("user-{number}@example.com"),
                    "password": "a long enough password",
                    "display_name": "User",
                });
                self.anybody.post("/api/v1/auth/register", request).await
            }
            "update" => {
                let bio = json!({ "bio": format!("version {number}") });
                self.ada.patch("/api/v1/users/me", bio).await
            }
            "me" => self.ada.get("/api/v1/users/me").await,
            _ => self.ada.get("/api/v1/billing/plans").await,
        }
    }

    fn note(&self, reply: &Reply, took: Duration) {
        let mut answers = self.told.answers.lock().unwrap();
        let answers = answers.entry(self.kind).or_default();
        match reply.status {
            200 => {
                answers.done += 1;
                if self.kind == "register" {
                    let id = reply.data()["id"].as_str().unwrap().to_owned();
                    self.told.registered.lock().unwrap().push(id);
                }
            }
            503 if reply.headers.contains_key("retry-after") => {
                answers.deferred += 1;
                *self.told.last_deferred.lock().unwrap() = Some(Instant::now());
            }
            _ => {
                let wrong = format!("{} after {took:?}: {reply:?}", self.kind);
                self.told.wrong.lock().unwrap().push(wrong);
            }
        }
    }
}

/// Waits until a registration has taken effect in every service that hears of it, and sees that
/// it did so once.
async fn is_registered_once(admin: &Rest, id: &str) {
    within(RECOVERY, &format!("identity knows {id}"), async || {
        (admin.get(&format!("/api/v1/users/{id}")).await.status == 200).then_some(())
    })
    .await;
    let bindings = format!("/api/v1/role-bindings?subject=user:{id}");
    let bindings = within(RECOVERY, &format!("{id} has a role"), async || {
        Some(all(admin, &bindings).await).filter(|bindings| !bindings.is_empty())
    })
    .await;
    assert_eq!(bindings.len(), 1, "{bindings:?}");
    let events = format!("/api/v1/audit/events?resource=users/{id}");
    let events = within(RECOVERY, &format!("the registration of {id} is on record"), async || {
        let mut events = all(admin, &events).await;
        events.retain(|event| is_of(event, "AccountRegistered"));
        Some(events).filter(|events| !events.is_empty())
    })
    .await;
    assert_eq!(events.len(), 1, "{events:?}");
}

fn is_of(event: &Value, kind: &str) -> bool {
    event["action"].as_str().is_some_and(|action| action.ends_with(kind))
}

/// Every entry of a list, page by page.
async fn all(rest: &Rest, path: &str) -> Vec<Value> {
    let (mut entries, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = rest.get(&format!("{path}&page_size=200{cursor}")).await;
        let page = page.expect(200);
        entries.extend(page["data"].as_array().unwrap().clone());
        match page["meta"]["next_cursor"].as_str().filter(|next| !next.is_empty()) {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return entries,
        }
    }
}
