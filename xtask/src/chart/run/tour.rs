//! A short tour through the edge: the first administrator logs in and is told who they are.

use std::cell::Cell;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

use super::interrupt;
use crate::chart::objects::{list, of_kind, text};
use crate::http::{Answer, Request};

/// How long what follows from events may take to be true.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long to wait before asking again.
const PAUSE: Duration = Duration::from_millis(300);

/// A route of each service.
const ROUTES: [&str; 5] = [
    "/api/v1/auth/login",
    "/api/v1/users/me",
    "/api/v1/roles",
    "/api/v1/audit/events",
    "/api/v1/billing/plans",
];

/// Where the gateways are, and what stands before them says with each request.
pub(super) struct Edge {
    addresses: Vec<SocketAddr>,
    headers: Vec<(&'static str, String)>,
    /// How many requests there have been.
    sent: Cell<usize>,
}

impl Edge {
    /// A gateway with nothing before it.
    pub(super) fn at(address: SocketAddr) -> Self {
        Self::of(vec![address], Vec::new())
    }

    /// Gateways, of which each has its turn.
    pub(super) fn of(addresses: Vec<SocketAddr>, headers: Vec<(&'static str, String)>) -> Self {
        Self { addresses, headers, sent: Cell::new(0) }
    }

    fn send(&self, request: &Request<'_>) -> std::io::Result<Answer> {
        let turn = self.sent.get();
        self.sent.set(turn + 1);
        self.ask(self.addresses[turn % self.addresses.len()], request)
    }

    fn ask(&self, gateway: SocketAddr, request: &Request<'_>) -> std::io::Result<Answer> {
        let headers = self.headers.iter();
        headers.fold(request.clone(), |it, (name, value)| it.header(name, value)).send(gateway)
    }
}

/// Takes it, with the administrator's password.
pub(super) fn take(edge: &Edge, objects: &[Value], password: &str) -> anyhow::Result<()> {
    let email = administrator(objects)?;
    // All start at once here, so that a gateway may be ready before it has found everybody.
    let deadline = Instant::now() + PATIENCE;
    for gateway in &edge.addresses {
        while let Some(path) = unknown_route(edge, *gateway)? {
            ensure!(Instant::now() < deadline, "{gateway} does not know {path} in {PATIENCE:?}");
            interrupt::pause(PAUSE)?;
        }
    }
    let wrong = json!({"email": email, "password": "not the password"});
    until(401, || edge.send(&Request::post("/api/v1/auth/login", &wrong)))?;
    let right = json!({"email": email, "password": password});
    let tokens = until(200, || edge.send(&Request::post("/api/v1/auth/login", &right)))?;
    let token = text(&tokens, "/data/access_token");
    let bearer = format!("Bearer {token}");
    let get = |path| edge.send(&Request::get(path).header("authorization", &bearer));
    let me = until(200, || get("/api/v1/users/me"))?;
    ensure!(text(&me, "/data/email") == email, "the edge takes {email} for {me}");
    // Takes authz, and what it has heard of the administrator.
    until(200, || get("/api/v1/roles"))?;
    until(200, || get("/api/v1/billing/plans"))?;
    // Audit knows by events alone, so that this takes the broker.
    let deadline = Instant::now() + PATIENCE;
    while list(&until(200, || get("/api/v1/audit/events"))?, "/data").is_empty() {
        ensure!(Instant::now() < deadline, "audit has no record within {PATIENCE:?}");
        interrupt::pause(PAUSE)?;
    }
    println!("chart: {email} logged in through the edge, and may administer");
    Ok(())
}

/// A route of one of the services that a gateway has not found yet.
fn unknown_route(edge: &Edge, gateway: SocketAddr) -> anyhow::Result<Option<&'static str>> {
    let document = until(200, || edge.ask(gateway, &Request::get("/openapi.json")))?;
    Ok(ROUTES.into_iter().find(|path| document["paths"].get(path).is_none()))
}

/// Asks again until the answer has this status, and returns its body.
fn until(status: u16, ask: impl Fn() -> std::io::Result<Answer>) -> anyhow::Result<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = ask();
        match &answer {
            Ok(answer) if answer.status == status => {
                return serde_json::from_str(&answer.body).context("an answer that is no JSON");
            }
            _ if Instant::now() > deadline => {
                bail!("the edge does not answer {status} within {PATIENCE:?}, but {answer:?}")
            }
            _ => interrupt::pause(PAUSE)?,
        }
    }
}

/// The address that auth's settings file states.
fn administrator(objects: &[Value]) -> anyhow::Result<String> {
    let settings = of_kind(objects, "ConfigMap").map(|map| text(map, "/data/settings.toml"));
    let mut emails = settings.filter_map(|text| {
        let settings: toml::Table = toml::from_str(text).ok()?;
        Some(settings.get("auth")?.get("bootstrap_admin_email")?.as_str()?.to_owned())
    });
    emails.next().context("no administrator is asked for")
}
