//! Following what etcd holds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::client::EtcdClient;
use crate::kernel::events::backoff::Backoff;
use crate::kernel::proto::etcd::event::EventType;
use crate::kernel::proto::etcd::{Event, KeyValue, WatchResponse};
use crate::kernel::registry::announced::Fault;
use crate::kernel::registry::view::View;
use crate::kernel::registry::{Instance, Snapshot};

/// Pauses after a watch that ended. The longest leaves room for recovery within 15 s.
const BACKOFF: Backoff = Backoff::between(Duration::from_millis(100), Duration::from_secs(4));

/// What is known of the keys.
pub(super) struct Watch {
    client: Arc<EtcdClient>,
    folder: String,
    view: Arc<View>,
    /// Revision of the last answer.
    revision: i64,
    instances: BTreeMap<Vec<u8>, Instance>,
}

impl Watch {
    pub(super) fn new(client: Arc<EtcdClient>, folder: String, view: Arc<View>) -> Self {
        Self { client, folder, view, revision: 0, instances: BTreeMap::new() }
    }

    /// Keeps the view in step until the registry is dropped.
    pub(super) async fn run(mut self) {
        let mut failures = 0;
        loop {
            let before = self.revision;
            // A watch ends only by a fault, or because what it was to begin with is compacted.
            if let Err(fault) = self.follow().await {
                self.view.lost(&fault);
            }
            failures = if self.revision > before { 1 } else { failures + 1 };
            tokio::time::sleep(BACKOFF.wait(failures)).await;
        }
    }

    /// Reads everything, then takes in news until the watch ends.
    async fn follow(&mut self) -> Result<(), Fault> {
        let (revision, pairs) = self.client.list(&self.folder).await?;
        if revision < self.revision {
            self.view.lost(&"etcd's revision went back: its memory is another one");
        }
        self.revision = revision;
        self.instances.clear();
        pairs.into_iter().for_each(|pair| self.put(pair));
        self.view.list(self.snapshot());

        let mut news = self.client.watch(&self.folder, revision + 1).await?;
        while let Some(answer) = news.message().await.map_err(|status| self.client.fault(status))? {
            if answer.canceled && answer.compact_revision > 0 {
                return Ok(());
            }
            self.take(answer)?;
        }
        Err(Fault::Away(anyhow::anyhow!("the watch ended")))
    }

    fn take(&mut self, answer: WatchResponse) -> Result<(), Fault> {
        if answer.canceled {
            return Err(Fault::Away(anyhow::anyhow!("the watch ended: {}", answer.cancel_reason)));
        }
        self.revision = answer.header.map_or(self.revision, |header| header.revision);
        if !answer.events.is_empty() {
            answer.events.into_iter().for_each(|event| self.apply(event));
            self.view.list(self.snapshot());
        }
        Ok(())
    }

    fn apply(&mut self, event: Event) {
        let kind = event.r#type();
        match (kind, event.kv) {
            (EventType::Put, Some(pair)) => self.put(pair),
            (EventType::Delete, Some(pair)) => drop(self.instances.remove(&pair.key)),
            (_, None) => {}
        }
    }

    /// A value that is no instance is somebody else's.
    fn put(&mut self, pair: KeyValue) {
        match serde_json::from_slice(&pair.value) {
            Ok(instance) => drop(self.instances.insert(pair.key, instance)),
            Err(error) => {
                let key = String::from_utf8_lossy(&pair.key);
                tracing::debug!(%key, %error, "not a registry entry");
                self.instances.remove(&pair.key);
            }
        }
    }

    fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::new();
        for instance in self.instances.values() {
            snapshot.entry(instance.service.clone()).or_default().push(instance.clone());
        }
        snapshot
    }
}
