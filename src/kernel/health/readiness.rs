//! The conditions under which a process may take traffic.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, join_all};
use serde::Serialize;

/// A check that takes longer has failed.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);

/// What must hold for the process to take traffic. Clones share their state; a new one is starting.
#[derive(Clone, Default)]
pub struct Readiness(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    phase: Phase,
    checks: Vec<(String, Check)>,
    dispensable: Vec<(String, Check)>,
    /// The checks that failed when somebody last asked.
    failing: BTreeSet<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Starting,
    Ready,
    Draining,
}

type Check = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// Why a process is not ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// The check that failed; `lifecycle` when the process starts or drains.
    pub name: String,
    /// What is wrong, a lower-case fragment.
    pub reason: String,
}

impl Readiness {
    /// Adds a check. It returns what is wrong, for the operator; asked whenever somebody probes, so
    /// it should be cheap.
    pub fn add<F, Fut>(&self, name: impl Into<String>, check: F)
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), String>> + Send + 'static,
    {
        let check: Check = Arc::new(move || check().boxed());
        self.lock().checks.push((name.into(), check));
    }

    /// Adds a check of something that the process can do without: it stays ready when the check
    /// fails, and says what is wrong.
    pub fn add_dispensable<F, Fut>(&self, name: impl Into<String>, check: F)
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), String>> + Send + 'static,
    {
        let check: Check = Arc::new(move || check().boxed());
        self.lock().dispensable.push((name.into(), check));
    }

    /// The start is done. A process that drains stays unready.
    pub fn set_ready(&self) {
        let mut state = self.lock();
        if state.phase == Phase::Starting {
            state.phase = Phase::Ready;
        }
    }

    /// The process ends: unready from now on.
    pub fn drain(&self) {
        self.lock().phase = Phase::Draining;
    }

    /// Why the process is not ready; empty when it is.
    pub async fn reasons(&self) -> Vec<Reason> {
        let (phase, checks) = {
            let state = self.lock();
            (state.phase, state.checks.clone())
        };
        let lifecycle = match phase {
            Phase::Starting => Some("the process is starting"),
            Phase::Draining => Some("the process is draining"),
            Phase::Ready => None,
        };
        let lifecycle = lifecycle.map(|reason| Reason::new("lifecycle", reason));
        let failed = failed(&checks).await;
        self.tell_changes(&failed);
        lifecycle.into_iter().chain(failed).collect()
    }

    /// Logs which checks began to fail, and which hold again.
    fn tell_changes(&self, failed: &[Reason]) {
        let failing = failed.iter().map(|reason| reason.name.clone()).collect();
        let before = std::mem::replace(&mut self.lock().failing, failing);
        for Reason { name, reason } in failed.iter().filter(|new| !before.contains(&new.name)) {
            tracing::warn!(check = name, reason, "not ready");
        }
        for check in before.iter().filter(|name| failed.iter().all(|new| new.name != **name)) {
            tracing::info!(check, "ready again");
        }
    }

    /// What is wrong though the process can do without it; empty when nothing is.
    pub async fn degradations(&self) -> Vec<Reason> {
        let checks = self.lock().dispensable.clone();
        failed(&checks).await
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Readiness {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Readiness").field("phase", &self.lock().phase).finish()
    }
}

impl Reason {
    fn new(name: &str, reason: impl Into<String>) -> Self {
        Self { name: name.to_owned(), reason: reason.into() }
    }
}

async fn failed(checks: &[(String, Check)]) -> Vec<Reason> {
    let checks = checks.iter().map(|(name, check)| run(name, check));
    join_all(checks).await.into_iter().flatten().collect()
}

async fn run(name: &str, check: &Check) -> Option<Reason> {
    match tokio::time::timeout(CHECK_TIMEOUT, check()).await {
        Ok(Ok(())) => None,
        Ok(Err(reason)) => Some(Reason::new(name, reason)),
        Err(_) => Some(Reason::new(name, format!("no answer within {CHECK_TIMEOUT:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn names(readiness: &Readiness) -> Vec<String> {
        readiness.reasons().await.into_iter().map(|reason| reason.name).collect()
    }

    #[tokio::test]
    async fn a_process_is_ready_between_start_and_drain_while_its_checks_hold() {
        let readiness = Readiness::default();
        assert_eq!(names(&readiness).await, ["lifecycle"]);
        readiness.set_ready();
        assert!(names(&readiness).await.is_empty());
        readiness.add("database", || async { Err("it is away".to_owned()) });
        assert_eq!(names(&readiness).await, ["database"]);
        readiness.drain();
        readiness.set_ready();
        assert_eq!(names(&readiness).await, ["lifecycle", "database"]);
    }

    #[tokio::test]
    async fn what_can_be_done_without_is_told_and_changes_nothing() {
        let readiness = Readiness::default();
        readiness.set_ready();
        readiness.add_dispensable("redis", || async { Err("it is away".to_owned()) });
        assert!(readiness.reasons().await.is_empty());
        let degradations = readiness.degradations().await;
        assert_eq!(degradations, [Reason::new("redis", "it is away")]);
    }

    #[tokio::test]
    async fn a_check_that_hangs_has_failed() {
        let readiness = Readiness::default();
        readiness.set_ready();
        readiness.add("broker", std::future::pending);
        assert_eq!(names(&readiness).await, ["broker"]);
    }
}
