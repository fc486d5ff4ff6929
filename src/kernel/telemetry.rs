//! What a process tells about itself: logs, traces and metrics.
//!
//! Logs go to standard output, one line for each event, as JSON or for people. Every line carries
//! the trace, the span and the request it belongs to. Spans always have ids, exported or not, so
//! that logs of one request can be joined without a collector. With an OTLP endpoint set, spans are
//! sent there in the background; a collector that is away costs nothing but the spans.

mod log;
pub mod metrics;
pub mod propagation;

use std::time::Duration;

use anyhow::Context as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

pub use metrics::{CacheMetrics, Metrics, WatchMetrics};

use crate::kernel::settings::TelemetrySettings;

/// How long the end of a process waits for spans that are still to be sent.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// What is said at every start and tells nothing; `telemetry.log_filter` can ask for it.
const QUIET: &str = "sea_orm_migration=warn";

/// How long one export may take.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(3);

/// The telemetry of this process while it runs. [`Telemetry::flush`] it at the end.
#[derive(Debug)]
pub struct Telemetry {
    provider: SdkTracerProvider,
}

impl Telemetry {
    /// Installs logging and tracing for the whole process. To be called once, within the runtime.
    pub fn init(
        service: &'static str,
        version: &'static str,
        settings: &TelemetrySettings,
    ) -> anyhow::Result<Self> {
        let filter = format!("{QUIET},{}", settings.log_filter);
        let filter = EnvFilter::try_new(filter).with_context(|| {
            format!("telemetry.log_filter `{}` is no tracing filter", settings.log_filter)
        })?;
        let provider = tracer_provider(service, version, settings.otlp_endpoint.as_deref())?;
        opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
        let spans = tracing_opentelemetry::layer()
            .with_tracer(provider.tracer(service))
            .with_location(false)
            .with_threads(false)
            .with_filter(LevelFilter::INFO);
        tracing_subscriber::registry()
            .with(spans)
            .with(log::LogLayer::new(service, settings.log_format).with_filter(filter))
            .try_init()
            .context("telemetry was installed before in this process")?;
        Ok(Self { provider })
    }

    /// Sends the spans that are still to be sent, for two seconds at most.
    pub async fn flush(self) {
        let provider = self.provider;
        let flushed =
            tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FLUSH_TIMEOUT));
        if let Ok(Err(error)) = flushed.await {
            tracing::debug!(%error, "spans were lost at the end of the process");
        }
    }
}

/// A real provider even with no exporter: ids come from it.
fn tracer_provider(
    service: &'static str,
    version: &'static str,
    endpoint: Option<&str>,
) -> anyhow::Result<SdkTracerProvider> {
    let resource = Resource::builder()
        .with_service_name(service)
        .with_attribute(opentelemetry::KeyValue::new("service.version", version))
        .build();
    let builder = SdkTracerProvider::builder()
        .with_resource(resource)
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)));
    let Some(endpoint) = endpoint else { return Ok(builder.build()) };
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(EXPORT_TIMEOUT)
        .build()
        .with_context(|| format!("telemetry.otlp_endpoint {endpoint} cannot be used"))?;
    Ok(builder.with_batch_exporter(exporter).build())
}

/// Makes every panic of this process a log line like any other.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("no message");
        let location = panic.location().map(ToString::to_string);
        let backtrace = std::backtrace::Backtrace::capture();
        let backtrace = (backtrace.status() == std::backtrace::BacktraceStatus::Captured)
            .then(|| backtrace.to_string());
        tracing::error!(panic = message, location, backtrace, "a task panicked");
    }));
}
