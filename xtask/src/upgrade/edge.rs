//! Calls through the gateways, as one address in front of them gives them out, and what became of
//! each.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::http::{Answer, Request};

/// An answer slower than this is none, on a machine that builds beside it.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many failed calls are kept with their answers.
const KEPT: usize = 10;

/// The gateways and the record of the calls.
pub(crate) struct Edge {
    begun: Instant,
    addresses: RwLock<Vec<SocketAddr>>,
    turn: AtomicUsize,
    record: Mutex<Record>,
}

/// What became of the calls.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    pub(crate) calls: usize,
    pub(crate) failed: usize,
    /// The first of them, each with its time, its call and its answer.
    pub(crate) failures: Vec<String>,
    pub(crate) slowest: Duration,
}

impl Edge {
    /// Without gateways yet.
    pub(crate) fn new() -> Self {
        Self {
            begun: Instant::now(),
            addresses: RwLock::default(),
            turn: AtomicUsize::new(0),
            record: Mutex::default(),
        }
    }

    /// New calls go to these, in turn.
    pub(crate) fn lead_to(&self, addresses: Vec<SocketAddr>) {
        *self.addresses.write().unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    /// Makes a call that must not fail, and is put down where it does; `data` of its reply.
    pub(crate) fn call(&self, what: &str, request: Request<'_>) -> anyhow::Result<Value> {
        Ok(self.reply(what, request)?["data"].take())
    }

    /// As [`Self::call`], with all of the reply.
    pub(crate) fn reply(&self, what: &str, request: Request<'_>) -> anyhow::Result<Value> {
        let begun = Instant::now();
        let answer = self.send(request);
        let outcome = judge(answer);
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        record.calls += 1;
        record.slowest = record.slowest.max(begun.elapsed());
        if let Err(fault) = &outcome {
            let at = begun.duration_since(self.begun).as_secs_f64();
            record.fail(format!("at {at:.1} s, {what}: {fault:#}"));
        }
        outcome.with_context(|| what.to_owned())
    }

    /// A call whose refusal is an answer too; not put down.
    pub(crate) fn ask(&self, request: Request<'_>) -> anyhow::Result<Value> {
        Ok(judge(self.send(request))?["data"].take())
    }

    /// Puts down what is wrong though every call succeeded.
    pub(crate) fn object(&self, what: String) {
        let at = self.begun.elapsed().as_secs_f64();
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        record.fail(format!("at {at:.1} s, {what}"));
    }

    /// What became of the calls until now.
    pub(crate) fn record(&self) -> Record {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn send(&self, request: Request<'_>) -> anyhow::Result<Answer> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let address = {
            let addresses = self.addresses.read().unwrap_or_else(PoisonError::into_inner);
            *addresses.get(turn % addresses.len().max(1)).context("there is no gateway")?
        };
        let sent = request.patience(PATIENCE).send(address);
        sent.with_context(|| format!("no answer of {address}"))
    }
}

impl Record {
    fn fail(&mut self, failure: String) {
        self.failed += 1;
        if self.failures.len() < KEPT {
            self.failures.push(failure);
        }
    }

    /// An error if a call failed.
    pub(crate) fn require_none_failed(&self) -> anyhow::Result<()> {
        if self.failed == 0 {
            return Ok(());
        }
        let (failed, calls) = (self.failed, self.calls);
        bail!("{failed} of {calls} calls failed, and none may")
    }
}

fn judge(answer: anyhow::Result<Answer>) -> anyhow::Result<Value> {
    let answer = answer?;
    if answer.status != 200 {
        bail!("{} {}", answer.status, answer.body.trim());
    }
    serde_json::from_str(&answer.body).context("the answer is no JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_reply_of_success_is_one() {
        let answer = |status, body: &str| Ok(Answer { status, body: body.to_owned() });
        assert_eq!(judge(answer(200, r#"{"data": [1]}"#)).unwrap()["data"][0], 1);
        let refused = judge(answer(503, r#"{"error": {}}"#)).unwrap_err().to_string();
        assert!(refused.starts_with("503"), "{refused}");
    }

    #[test]
    fn every_failure_is_counted_and_the_first_are_kept() {
        let edge = Edge::new();
        for _ in 0..KEPT + 1 {
            edge.call("GET /", Request::get("/")).unwrap_err();
        }
        let record = edge.record();
        assert_eq!((record.calls, record.failed, record.failures.len()), (11, 11, KEPT));
        let fault = record.require_none_failed().unwrap_err().to_string();
        assert!(fault.starts_with("11 of 11 calls failed"), "{fault}");
    }
}
