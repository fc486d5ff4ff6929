//! The way of spans to a collector, which may be away. That is told when it begins and when it is over,
//! not for each batch that is lost meanwhile.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

/// An exporter whose failures cost the spans, and nothing else.
#[derive(Debug)]
pub(super) struct Patient<E> {
    exporter: E,
    /// Spans that were lost since the collector took some.
    lost: AtomicU64,
}

impl<E> Patient<E> {
    pub(super) fn new(exporter: E) -> Self {
        Self { exporter, lost: AtomicU64::new(0) }
    }
}

impl<E: SpanExporter> SpanExporter for Patient<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        match self.exporter.export(batch).await {
            Ok(()) => {
                let lost = self.lost.swap(0, Ordering::Relaxed);
                if lost > 0 {
                    tracing::info!(lost, "the collector takes spans again");
                }
            }
            Err(error) if self.lost.fetch_add(spans, Ordering::Relaxed) == 0 => {
                tracing::warn!(%error, "the collector takes no spans; they are lost until it does");
            }
            Err(_) => {}
        }
        // Whoever calls would write a line for each failure.
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
