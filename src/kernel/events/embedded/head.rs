//! The head of the log, watched once for each process, and the pruning of its tail.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;

use super::{Broker, beside, log, topics};
use crate::kernel::error::Result;

/// How often records past their retention are deleted.
const PRUNE_INTERVAL: Duration = Duration::from_secs(10 * 60);

/// For how long after a write every look goes to the log itself.
const SETTLED: Duration = Duration::from_millis(500);

/// How often the log itself is looked at whatever its file says.
const LONGEST_QUIET: Duration = Duration::from_secs(2);

/// How long to wait after a look that failed.
const FAILURE_WAIT: Duration = Duration::from_secs(1);

/// The offset of the newest record, as far as this process knows.
pub(super) struct Head {
    newest: watch::Sender<i64>,
    /// SQLite's write-ahead log: every commit appends to it.
    wal: PathBuf,
    poll_interval: Duration,
    retention: Duration,
    watched: AtomicBool,
}

impl Head {
    pub(super) fn new(log: &Path, poll_interval: Duration, retention: Duration) -> Self {
        let (newest, wal) = (watch::Sender::new(0), beside(log, "-wal"));
        Self { newest, wal, poll_interval, retention, watched: AtomicBool::new(false) }
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
    let mut quiet = Quiet::default();
    while let Some(broker) = broker.upgrade() {
        let looked = match quiet.holds(&broker.head.wal) {
            true => Ok(()),
            false => look(&broker, &mut pruned).await,
        };
        drop(broker);
        let wait = match looked {
            Ok(()) => interval,
            Err(error) => {
                tracing::warn!(error = error.with_causes(), "cannot look for new events");
                FAILURE_WAIT
            }
        };
        tokio::time::sleep(wait).await;
    }
}

/// Whether nothing was written since the last look. Asking the file system costs microseconds, where
/// a query costs a hundred times that; an idle process is to cost nothing.
#[derive(Default)]
struct Quiet {
    seen: Option<(SystemTime, u64)>,
    looked: Option<Instant>,
}

impl Quiet {
    /// Asks the file system; `false` also notes that the log is looked at now.
    fn holds(&mut self, wal: &Path) -> bool {
        let stamp = stamp(wal);
        // Two writes may bear one time: what was written just now is looked at again.
        let settled =
            stamp.is_some_and(|(time, _)| time.elapsed().is_ok_and(|elapsed| elapsed > SETTLED));
        let recent = self.looked.is_some_and(|looked| looked.elapsed() < LONGEST_QUIET);
        let quiet = settled && recent && stamp == self.seen;
        if !quiet {
            self.looked = Some(Instant::now());
            self.seen = stamp;
        }
        quiet
    }
}

/// When a file was last written, and its length; `None` while there is none.
fn stamp(file: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(file).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
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
