//! What a registry over the network was last known to hold.
//!
//! An error never empties the view. A server that comes back may have lost its memory, or may not
//! have looked at anybody's health yet; so whatever was known before and is not listed again is held
//! for a grace period, in which the instances announce themselves anew. One that is truly gone costs
//! callers nothing: the channel leaves out what cannot be reached.

use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::{Snapshot, publish};

/// The state that watchers see, and what it is made of.
pub(super) struct View {
    /// Name of the registry, for the log.
    registry: &'static str,
    grace: Duration,
    state: watch::Sender<Arc<Snapshot>>,
    /// Turns true with the first answer.
    answered: watch::Sender<bool>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    away: bool,
    /// What the registry lists.
    listed: Snapshot,
    /// What it listed before it was away and does not list again.
    held: Snapshot,
    /// Counts recoveries, so that only the last one's grace ends what is held.
    recovery: u64,
}

impl View {
    pub(super) fn new(registry: &'static str, grace: Duration) -> Arc<Self> {
        Arc::new(Self {
            registry,
            grace,
            state: watch::Sender::default(),
            answered: watch::Sender::new(false),
            known: Mutex::default(),
        })
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.state.subscribe()
    }

    /// Waits for the first answer, as long as `patience` lasts.
    pub(super) async fn answered(&self, patience: Duration) {
        let mut answered = self.answered.subscribe();
        // Neither silence nor a registry that is dropped meanwhile is an error here.
        let _ = tokio::time::timeout(patience, answered.wait_for(|answered| *answered)).await;
    }

    /// The registry does not answer, or has lost its memory. Logged once for each outage.
    pub(super) fn lost(&self, reason: &dyn Display) {
        if !std::mem::replace(&mut self.known().away, true) {
            let registry = self.registry;
            tracing::warn!(registry, %reason, "the registry is away; what was known holds");
        }
    }

    /// All that the registry lists now.
    pub(super) fn list(self: &Arc<Self>, listed: Snapshot) {
        let mut known = self.known();
        if std::mem::take(&mut known.away) {
            tracing::info!(registry = self.registry, "the registry answers again");
            known.held = Snapshot::clone(&self.state.borrow());
            known.recovery += 1;
            self.release_later(known.recovery);
        }
        known.listed = listed;
        known.let_go_of_listed();
        publish(&self.state, known.seen());
        self.answered.send_replace(true);
    }

    fn release_later(self: &Arc<Self>, recovery: u64) {
        let (view, grace) = (Arc::downgrade(self), self.grace);
        tokio::spawn(async move {
            tokio::time::sleep(grace).await;
            let Some(view) = view.upgrade() else { return };
            let mut known = view.known();
            if known.recovery == recovery && !known.away {
                known.held.clear();
                publish(&view.state, known.seen());
            }
        });
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// What is listed again is the registry's own from now on: it goes when the registry says so.
    fn let_go_of_listed(&mut self) {
        for (service, held) in &mut self.held {
            let listed = self.listed.get(service).map(Vec::as_slice).unwrap_or_default();
            held.retain(|instance| listed.iter().all(|other| other.id != instance.id));
        }
    }

    fn seen(&self) -> Snapshot {
        let mut seen = self.listed.clone();
        for (service, held) in &self.held {
            seen.entry(service.clone()).or_default().extend(held.iter().cloned());
        }
        seen
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test fails by panicking
mod tests {
    use super::*;
    use crate::kernel::registry::Instance;

    const GRACE: Duration = Duration::from_millis(50);

    fn snapshot(ids: &[&str]) -> Snapshot {
        let instance = |id: &&str| Instance { id: (*id).into(), ..Instance::default() };
        Snapshot::from([("a-svc".into(), ids.iter().map(instance).collect())])
    }

    fn ids(view: &View) -> Vec<String> {
        let state = view.state.borrow();
        let instances = state.get("a-svc").into_iter().flatten();
        instances.map(|instance| instance.id.clone()).collect()
    }

    #[tokio::test]
    async fn what_an_outage_hides_is_held_until_it_is_listed_again_or_the_grace_is_over() {
        let view = View::new("test", GRACE);
        view.list(snapshot(&["1", "2", "3"]));
        view.list(snapshot(&["1", "2"]));
        assert_eq!(ids(&view), ["1", "2"], "a registry that answers is believed");

        view.lost(&"killed");
        assert_eq!(ids(&view), ["1", "2"], "an error empties nothing");
        view.list(snapshot(&[]));
        assert_eq!(ids(&view), ["1", "2"], "it may have lost its memory");
        view.list(snapshot(&["1"]));
        view.list(snapshot(&[]));
        assert_eq!(ids(&view), ["2"], "1 was listed again and is gone by the registry's word");

        let mut state = view.subscribe();
        let gone = state.wait_for(|snapshot| snapshot.is_empty());
        tokio::time::timeout(GRACE * 20, gone).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_grace_of_an_earlier_outage_ends_nothing() {
        let view = View::new("test", GRACE);
        view.list(snapshot(&["1"]));
        view.lost(&"killed");
        view.list(snapshot(&[]));
        view.lost(&"killed again");
        tokio::time::sleep(GRACE * 3).await;
        assert_eq!(ids(&view), ["1"], "it is away");
    }
}
