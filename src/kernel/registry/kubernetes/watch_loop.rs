//! Following the cluster.
//!
//! The watcher of kube-rs does the protocol: pages, bookmarks, a watch that goes on where the last one
//! broke off, and a fresh list when the server has forgotten that place (410 Gone).

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{BoxStream, StreamExt as _, select};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::PartialObjectMeta;
use kube::runtime::watcher::{self, watcher};

use super::Cluster;
use super::listing::{Objects, snapshot};
use crate::kernel::events::backoff::Backoff;
use crate::kernel::registry::view::View;
use crate::kernel::settings::KubernetesSettings;

/// Pauses after failures. The longest leaves room for recovery within 15 s.
const BACKOFF: Backoff = Backoff::between(Duration::from_millis(100), Duration::from_secs(4));

/// Seconds after which a watch is begun anew where it was, so that a connection that died in silence
/// is noticed.
const WATCH_SECONDS: u32 = 60;

/// Both watches, and what they said so far.
pub(super) struct Watch {
    news: BoxStream<'static, watcher::Result<News>>,
    settings: KubernetesSettings,
    view: Arc<View>,
    slices: Objects<EndpointSlice>,
    pods: Objects<PartialObjectMeta<Pod>>,
}

enum News {
    Slice(watcher::Event<EndpointSlice>),
    Pod(watcher::Event<PartialObjectMeta<Pod>>),
}

impl Watch {
    pub(super) fn new(cluster: &Cluster, settings: &KubernetesSettings, view: Arc<View>) -> Self {
        let config = watcher::Config::default().labels(&settings.selector).timeout(WATCH_SECONDS);
        let slices = watcher(cluster.slices.clone(), config.clone());
        let pods = watcher(cluster.pods.clone(), config);
        let news = select(
            slices.map(|event| event.map(News::Slice)),
            pods.map(|event| event.map(News::Pod)),
        );
        Self {
            news: news.boxed(),
            settings: settings.clone(),
            view,
            slices: Objects::new(),
            pods: Objects::new(),
        }
    }

    /// Keeps the view in step until the registry is dropped.
    pub(super) async fn run(mut self) {
        let mut failures = 0;
        while let Some(news) = self.news.next().await {
            let changed = match news {
                Ok(News::Slice(event)) => self.slices.take(event),
                Ok(News::Pod(event)) => self.pods.take(event),
                Err(fault) => {
                    self.view.lost(&fault);
                    failures += 1;
                    tokio::time::sleep(BACKOFF.wait(failures)).await;
                    continue;
                }
            };
            failures = 0;
            // Slices without their pods would be instances that nobody knows anything about.
            if changed && self.slices.is_complete() && self.pods.is_complete() {
                self.view.list(snapshot(&self.slices, &self.pods, &self.settings));
            }
        }
    }
}
