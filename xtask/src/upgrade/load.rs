//! The steady traffic: people who write and read all the while, each of whom reads what was written
//! just before, through whichever version answers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::edge::Edge;
use super::person::Person;
use super::wait;
use crate::home::Home;
use crate::infra::random_uuid;

/// How many people do each of the two things that are done without an end. Several at once: a channel
/// sends calls to whoever has the fewest, and one instance always has a stream of changes.
const OF_EACH: usize = 3;

/// How long people rest between two rounds.
const REST: Duration = Duration::from_millis(20);

/// How long before the next newcomer: hashing passwords is the platform's hardest work here.
const REST_OF_NEWCOMERS: Duration = Duration::from_millis(400);

/// How long what follows from a call of the preparations may take.
const ARRIVAL: Duration = Duration::from_secs(60);

/// How many calls are made before anything is changed.
const WARM: usize = 100;

/// Plans between which a member changes.
const PAID: [&str; 2] = ["paid", "ai"];

/// After how many rounds a member exchanges their tokens.
const REFRESH_EVERY: u64 = 5;

/// What was written, and must be there at the end, once.
#[derive(Clone, Debug, Default)]
pub(super) struct Written {
    /// Id and e-mail address of everybody who registered.
    pub(super) users: Vec<(String, String)>,
    /// Id and name of every role.
    pub(super) roles: Vec<(String, String)>,
    /// Ids of all bindings; each was taken away again.
    pub(super) bindings: Vec<String>,
}

/// The traffic; it ends when it is dropped.
pub(super) struct Load {
    shared: Arc<Shared>,
    people: Vec<JoinHandle<()>>,
}

struct Shared {
    edge: Arc<Edge>,
    written: Mutex<Written>,
    is_over: AtomicBool,
}

impl Load {
    /// Lets everybody begin, and waits until all of them do what they do.
    pub(super) fn begin(edge: &Arc<Edge>, home: &Home) -> anyhow::Result<Self> {
        let shared = Shared {
            edge: Arc::clone(edge),
            written: Mutex::default(),
            is_over: AtomicBool::new(false),
        };
        let mut load = Self { shared: Arc::new(shared), people: Vec::new() };
        for _ in 0..OF_EACH {
            let home = home.clone();
            load.start(move |shared| administrate(shared, &home));
            load.start(be_a_member);
        }
        load.start(come_and_come);
        wait::until(ARRIVAL, || {
            let record = edge.record();
            record.require_none_failed()?;
            Ok((record.calls < WARM).then(|| format!("only {} calls were made", record.calls)))
        })?;
        Ok(load)
    }

    /// Ends it; what was written.
    pub(super) fn end(mut self) -> Written {
        self.stop();
        self.shared.written().clone()
    }

    fn start(&mut self, work: impl FnOnce(&Shared) -> anyhow::Result<()> + Send + 'static) {
        let shared = Arc::clone(&self.shared);
        self.people.push(std::thread::spawn(move || {
            if let Err(error) = work(&shared) {
                shared.edge.object(format!("somebody gave up: {error:#}"));
            }
        }));
    }

    fn stop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        for person in self.people.drain(..) {
            if person.join().is_err() {
                self.shared.edge.object("somebody of the traffic died".to_owned());
            }
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn written(&self) -> std::sync::MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Round after round until the end. What fails is on record, and the next round begins.
    fn rounds(&self, rest: Duration, mut round: impl FnMut(u64) -> anyhow::Result<()>) {
        for number in 0.. {
            if self.is_over() {
                return;
            }
            let _ = round(number);
            std::thread::sleep(rest);
        }
    }

    /// Waits for what follows from a call by an event.
    fn eventually(&self, what: &str, mut has_come: impl FnMut() -> bool) -> anyhow::Result<()> {
        let mut object = || (!self.is_over() && !has_come()).then(|| format!("no {what}"));
        wait::until(ARRIVAL, || Ok(object()))
    }

    fn join(&self) -> anyhow::Result<Person<'_>> {
        let person = Person::register(&self.edge)?;
        self.written().users.push((person.id.clone(), person.email.clone()));
        Ok(person)
    }
}

/// Changes a name and a plan over and over, in one session.
fn be_a_member(shared: &Shared) -> anyhow::Result<()> {
    let mut me = shared.join()?;
    shared.eventually("user after a registration", || me.ask("/api/v1/users/me").is_ok())?;
    me.post("/api/v1/billing/subscription", &json!({"plan": PAID[0]}))?;
    // The plan travels in the token, which a gateway believes that has heard of no other.
    shared.eventually("plan in the token", || me.refresh().is_ok() && me.plan() == PAID[0])?;
    shared.rounds(REST, |round| {
        let name = format!("round {round}");
        me.patch("/api/v1/users/me", &json!({"display_name": name}))?;
        let found = me.get("/api/v1/users/me")?;
        me.expect("a display name", &found["display_name"], &json!(name));
        let plan = PAID[usize::from(round % 2 == 0)];
        me.patch("/api/v1/billing/subscription", &json!({"plan": plan}))?;
        let found = me.get("/api/v1/billing/subscription")?;
        me.expect("a plan", &found["plan"], &json!(plan));
        // Takes a feature of both plans, which the gateway knows without asking.
        me.get("/api/v1/audit/activity?page_size=1")?;
        if round % REFRESH_EVERY == 0 {
            me.refresh()?;
        }
        Ok(())
    });
    Ok(())
}

/// Makes roles, gives them and takes them away, with one token from before the roll to its end.
fn administrate(shared: &Shared, home: &Home) -> anyhow::Result<()> {
    let admin = Person::administrator(&shared.edge, home)?;
    shared.eventually("role of the administrator", || admin.ask("/api/v1/roles").is_ok())?;
    let member = shared.join()?;
    let subject = format!("user:{}", member.id);
    shared.rounds(REST, |_| {
        let name = format!("role-{}", random_uuid());
        let body = json!({"name": name, "permissions": ["identity.users.list"]});
        let role = id(&admin.post("/api/v1/roles", &body)?)?;
        shared.written().roles.push((role.clone(), name.clone()));
        let found = admin.get(&format!("/api/v1/roles/{role}"))?;
        admin.expect("a role's name", &found["name"], &json!(name));

        let body = json!({"role_id": role, "subject": subject});
        let binding = id(&admin.post("/api/v1/role-bindings", &body)?)?;
        let of_role = format!("/api/v1/role-bindings?role_id={role}");
        let found = admin.get(&of_role)?;
        admin.expect("a binding", &found[0]["id"], &json!(binding));
        admin.delete(&format!("/api/v1/role-bindings/{binding}"))?;
        shared.written().bindings.push(binding);
        let found = admin.get(&of_role)?;
        admin.expect("the bindings of a role", &found, &json!([]));

        let found = admin.get("/api/v1/audit/events?page_size=1")?;
        admin.get(&format!("/api/v1/audit/events/{}", id(&found[0])?))?;
        Ok(())
    });
    Ok(())
}

/// Registers, logs in, and looks at the own sessions, each time as somebody else.
fn come_and_come(shared: &Shared) -> anyhow::Result<()> {
    shared.rounds(REST_OF_NEWCOMERS, |_| {
        let newcomer = shared.join()?;
        newcomer.get("/api/v1/auth/sessions").map(drop)
    });
    Ok(())
}

fn id(object: &Value) -> anyhow::Result<String> {
    Ok(object["id"].as_str().context("an object without id")?.to_owned())
}
