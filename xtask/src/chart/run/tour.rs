//! A short tour through the edge: the first administrator logs in and is told who they are.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

use super::sandbox::Sandbox;
use crate::chart::objects::of_kind;
use crate::chart::objects::text;
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

/// Takes it, with the password that was generated.
pub(super) fn take(edge: SocketAddr, objects: &[Value]) -> anyhow::Result<()> {
    let email = administrator(objects)?;
    let password = Sandbox::generated(objects, "admin-password")?;
    // All start at once here, so that the edge may be ready before it has found everybody.
    let deadline = Instant::now() + PATIENCE;
    while let Some(path) = unknown_route(edge)? {
        ensure!(Instant::now() < deadline, "the edge does not know {path} within {PATIENCE:?}");
        std::thread::sleep(PAUSE);
    }
    let wrong = json!({"email": email, "password": "not the password"});
    until(401, || Request::post("/api/v1/auth/login", &wrong).send(edge))?;
    let right = json!({"email": email, "password": password});
    let tokens = until(200, || Request::post("/api/v1/auth/login", &right).send(edge))?;
    let token = text(&tokens, "/data/access_token");
    let bearer = format!("Bearer {token}");
    let get = |path| Request::get(path).header("authorization", &bearer).send(edge);
    let me = until(200, || get("/api/v1/users/me"))?;
    ensure!(text(&me, "/data/email") == email, "the edge takes {email} for {me}");
    // Takes authz, and what it has heard of the administrator.
    until(200, || get("/api/v1/roles"))?;
    println!("chart: {email} logged in through the edge, and may administer");
    Ok(())
}

/// A route of one of the services that the edge has not found yet.
fn unknown_route(edge: SocketAddr) -> anyhow::Result<Option<&'static str>> {
    let document = until(200, || Request::get("/openapi.json").send(edge))?;
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
            _ => std::thread::sleep(PAUSE),
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
