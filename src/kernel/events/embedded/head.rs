//! The head of the log, watched once for each process, and the pruning of its tail.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::{Broker, log, topics};
use crate::kernel::error::Result;
use crate::kernel::events::dead_letter::describe;

/// How often records past their retention are deleted.
const PRUNE_INTERVAL: Duration = Duration::from_secs(10 * 60);

/// How long to wait after a look that failed.
const FAILURE_WAIT: Duration = Duration::from_secs(1);

/// The offset of the newest record, as far as this process knows.
pub(super) struct Head {
    newest: watch::Sender<i64>,
    poll_interval: Duration,
    retention: Duration,
    watched: AtomicBool,
}

impl Head {
    pub(super) fn new(poll_interval: Duration, retention: Duration) -> Self {
        let newest = watch::Sender::new(0);
        Self { newest, poll_interval, retention, watched: AtomicBool::new(false) }
    }

    pub(super) fn receiver(&self) -> watch::Receiver<i64> {
        self.newest.subscribe()
    }

    /// This process has published: its own subscriptions need not wait for the next look.
    pub(super) fn moved_to(&self, offset: i64) {
        self.newest.send_if_modified(|newest| {
            let moved = offset > *newest;
            *newest = offset.max(*newest);
            moved
        });
    }

    /// Starts to look for other processes' records, for as long as the broker is used.
    pub(super) fn watch(&self, broker: &Arc<Broker>) {
        if !self.watched.swap(true, Ordering::Relaxed) {
            tokio::spawn(poll(Arc::downgrade(broker), self.poll_interval));
        }
    }
}

async fn poll(broker: Weak<Broker>, interval: Duration) {
    let mut pruned: Option<Instant> = None;
    while let Some(broker) = broker.upgrade() {
        let looked = look(&broker, &mut pruned).await;
        drop(broker);
        let wait = match looked {
            Ok(()) => interval,
            Err(error) => {
                tracing::warn!(error = describe(&error), "cannot look for new events");
                FAILURE_WAIT
            }
        };
        tokio::time::sleep(wait).await;
    }
}

async fn look(broker: &Broker, pruned: &mut Option<Instant>) -> Result<()> {
    broker.head.moved_to(log::head(&broker.positions).await?);
    if pruned.is_none_or(|at| at.elapsed() > PRUNE_INTERVAL) {
        *pruned = Some(Instant::now());
        let (transaction, _turn) = broker.begin(&broker.positions).await?;
        topics::prune(&transaction, broker.head.retention).await?;
        transaction.commit().await?;
    }
    Ok(())
}
