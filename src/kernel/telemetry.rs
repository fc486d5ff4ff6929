//! What a process tells about itself: logs, traces and metrics.
//!
//! Logs go to standard output, one line for each event, as JSON or for people. Every line carries
//! the trace, the span and the request it belongs to. Spans always have ids, exported or not, so
//! that logs of one request can be joined without a collector. With an OTLP endpoint set, spans are
//! sent there in the background; a collector that is away costs nothing but the spans, and a
//! line when that begins and another when it is over.

pub(in crate::kernel) mod busy;
mod exporter;
pub(in crate::kernel) mod in_flight;
mod level;
mod log;
pub mod metrics;
pub(in crate::kernel) mod profile;
pub mod propagation;
pub mod report;
mod subject;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{FilterFn, LevelFilter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

pub use in_flight::{CallInFlight, CallsInFlight, Listed};
pub use level::{LogFilter, LogLevel, Unfit};
pub use metrics::{CacheMetrics, Metrics, WatchMetrics};
pub use subject::hashed as hashed_subject;

use crate::kernel::settings::{ReporterSettings, TelemetrySettings};
use exporter::Patient;
use report::{ReportLayer, Reports, Sentry};
use subject::Subjects;

/// How long the end of a process waits for spans that are still to be sent.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// What is said at every start and tells nothing; `telemetry.log_filter` can ask for it.
const QUIET: &str = "sea_orm_migration=warn";

/// The target of the records of the access log.
pub const ACCESS: &str = "access";

/// How long one export may take.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(3);

/// The telemetry of this process while it runs. [`Telemetry::flush`] it at the end.
#[derive(Debug)]
pub struct Telemetry {
    provider: SdkTracerProvider,
    reports: Option<Reports>,
}

impl Telemetry {
    /// Installs logging and tracing for the whole process. To be called once, within the runtime.
    pub fn init(
        service: &'static str,
        version: &'static str,
        settings: &TelemetrySettings,
    ) -> anyhow::Result<Self> {
        let stated = &settings.log_filter;
        let (filter, level) = LogLevel::new(QUIET, stated)
            .with_context(|| format!("telemetry.log_filter `{stated}` is no tracing filter"))?;
        let provider = tracer_provider(service, version, settings)?;
        opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
        let spans = tracing_opentelemetry::layer()
            .with_tracer(provider.tracer(service))
            .with_location(false)
            .with_threads(false)
            // Who asks for the place in a trace asks the span for it. To make it known by other means, and to
            // time each poll, would cost every request more than all else that is done for its span.
            .with_context_activation(false)
            .with_tracked_inactivity(false)
            .with_filter(FilterFn::new(is_traced).with_max_level_hint(LevelFilter::INFO));
        let bursts = log::Bursts::new(settings.log_burst);
        let log = log::LogLayer::new(service, settings.log_format, Arc::clone(&bursts));
        let (reporting, reports) = reporting(service, version, &settings.reporter)?.unzip();
        tracing_subscriber::registry()
            .with(spans)
            .with(log.with_filter(filter))
            .with(reporting)
            .try_init()
            .context("telemetry was installed before in this process")?;
        level.install();
        Subjects::new(settings.subject_key.expose()).install();
        tokio::spawn(bursts.tell());
        Ok(Self { provider, reports })
    }

    /// Sends the error reports and the spans that are still to be sent, for two seconds each at most.
    pub async fn flush(self) {
        if let Some(reports) = &self.reports {
            // What is not sent by then is lost, and stands in the log.
            let _ = tokio::time::timeout(FLUSH_TIMEOUT, reports.flush()).await;
        }
        let provider = self.provider;
        let flushed =
            tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FLUSH_TIMEOUT));
        if let Ok(Err(error)) = flushed.await {
            tracing::debug!(%error, "spans were lost at the end of the process");
        }
    }
}

/// What becomes a span, or an event of one. A record of the access log says what stands in the span of
/// its request, and would be put together for every trace, kept or not.
fn is_traced(metadata: &tracing::Metadata<'_>) -> bool {
    *metadata.level() <= LevelFilter::INFO && metadata.target() != ACCESS
}

/// The layer that tells of errors, if the settings name somebody to tell.
fn reporting(
    service: &'static str,
    version: &'static str,
    settings: &ReporterSettings,
) -> anyhow::Result<Option<(ReportLayer, Reports)>> {
    let dsn = settings.dsn.expose();
    if dsn.is_empty() {
        return Ok(None);
    }
    let reporter = Arc::new(Sentry::new(dsn, version)?);
    Ok(Some(ReportLayer::new(service, version, settings, reporter)))
}

/// A real provider even with no exporter: ids come from it.
fn tracer_provider(
    service: &'static str,
    version: &'static str,
    settings: &TelemetrySettings,
) -> anyhow::Result<SdkTracerProvider> {
    let resource = Resource::builder()
        .with_service_name(service)
        .with_attribute(opentelemetry::KeyValue::new("service.version", version))
        .build();
    let begun_here = Sampler::TraceIdRatioBased(settings.trace_ratio);
    let builder = SdkTracerProvider::builder()
        .with_resource(resource)
        .with_sampler(Sampler::ParentBased(Box::new(begun_here)));
    let Some(endpoint) = &settings.otlp_endpoint else { return Ok(builder.build()) };
    propagation::note_exporter();
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(EXPORT_TIMEOUT)
        .build()
        .with_context(|| format!("telemetry.otlp_endpoint {endpoint} cannot be used"))?;
    Ok(builder.with_batch_exporter(Patient::new(exporter)).build())
}

/// Makes every panic of this process a log line like any other, and counts it.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        metrics::panicked();
        let message = panic.payload_as_str().unwrap_or("no message");
        let location = panic.location().map(ToString::to_string);
        // Whether or not the environment asks for one: without it nobody finds the defect.
        let backtrace = std::backtrace::Backtrace::force_capture().to_string();
        tracing::error!(panic = message, location, backtrace, "a task panicked");
    }));
}
