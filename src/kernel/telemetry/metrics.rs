//! Every metric of the kernel, on one page.
//!
//! Names are those of the OpenTelemetry semantic conventions, in the form that Prometheus gives
//! them: `rpc.server.call.duration` is `rpc_server_call_duration_seconds`. What has no convention
//! begins with `mainstay_`. Label values are bounded: methods and routes that no contract knows
//! are `_OTHER`. What belongs together stands on a page of its own: `http`, `calls`, `resources`, `kept`.

mod active;
mod calls;
mod exemplars;
mod histogram;
mod http;
mod kept;
mod resources;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::trace::TraceId;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};
use tonic::Code;

use super::in_flight::CallsInFlight;
use crate::kernel::error::{Error, ErrorClass};

pub use active::Active;
pub(in crate::kernel) use calls::panicked;
pub use calls::{RefusedBy, code_name};
pub use http::{HttpRoute, HttpSizes};
pub use kept::{CacheMetrics, WatchMetrics};
pub use resources::{EndpointStates, PoolState};

use calls::Calls;
use http::Http;
use kept::Kept;
use resources::Resources;

/// The label value of what no contract knows.
pub const OTHER: &str = "_OTHER";

/// The content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The metrics of one process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Mutex<Registry>,
    exemplars: Registry,
    calls: Calls,
    http: Http,
    resources: Resources,
    in_flight: CallsInFlight,
    outbox_backlog: Gauge,
    outbox_oldest_age: Gauge<f64, AtomicU64>,
    consumer_lag: Family<ConsumerLabels, Gauge>,
    dead_letters: Family<ConsumerLabels, Counter>,
    consumer_retries: Family<RetryLabels, Counter>,
    consumer_waiting: Family<ConsumerLabels, Gauge>,
    consumer_up: Family<ConsumerLabels, Gauge>,
    job_runs: Family<JobLabels, Counter>,
    jobs_oldest_due: Gauge,
    jobs_failed: Gauge,
    sagas_stuck: Gauge,
    redis_away: Gauge,
    settings_refused: Gauge,
    redis_fallbacks: Family<RedisLabels, Counter>,
    kept: Kept,
}

/// Labels of what is counted for each consumer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConsumerLabels {
    /// The consumer's group such as `identity-svc.accounts`.
    consumer: String,
}

/// Labels of `mainstay_consumer_retries_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RetryLabels {
    /// The consumer's group.
    consumer: String,
    /// Name of the gRPC status with which the attempt failed, such as `UNAVAILABLE`.
    code: &'static str,
}

/// Labels of `mainstay_job_runs_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JobLabels {
    /// The job's name. A label `job` would be Prometheus' own, of the target.
    job_name: String,
    /// `ok`, `failed`, `lost` or `released`.
    outcome: &'static str,
}

/// Labels of `mainstay_redis_fallbacks_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RedisLabels {
    /// What did without Redis: `cache`, `limit`, `revocations` or `entitlements`.
    purpose: &'static str,
}

impl Metrics {
    /// The metrics of a service, with its build information.
    pub fn new(service: &'static str, version: &'static str) -> Self {
        let mut inner = Inner {
            registry: Mutex::default(),
            exemplars: Registry::default(),
            calls: Calls::new(),
            http: Http::new(),
            resources: Resources::new(),
            in_flight: CallsInFlight::default(),
            outbox_backlog: Gauge::default(),
            outbox_oldest_age: Gauge::default(),
            consumer_lag: Family::default(),
            dead_letters: Family::default(),
            consumer_retries: Family::default(),
            consumer_waiting: Family::default(),
            consumer_up: Family::default(),
            job_runs: Family::default(),
            jobs_oldest_due: Gauge::default(),
            jobs_failed: Gauge::default(),
            sagas_stuck: Gauge::default(),
            redis_away: Gauge::default(),
            settings_refused: Gauge::default(),
            redis_fallbacks: Family::default(),
            kept: Kept::default(),
        };
        inner.register_all(service, version);
        Self(Arc::new(inner))
    }

    /// Adds a metric of the service's own; the name begins with the service's area.
    pub fn register(&self, name: &str, help: &str, metric: impl Metric) {
        self.0.lock().register(name, help, metric);
    }

    /// A call was served: `name` is that of its method in full, [`OTHER`] where no contract knows it;
    /// `trace` is one that somebody can look at.
    pub fn rpc_server_call(&self, name: &str, code: Code, took: Duration, trace: Option<TraceId>) {
        self.0.calls.served(name, code, took, trace);
    }

    /// A call begins to be served.
    pub fn rpc_server_begin(&self) -> Active {
        self.0.calls.begin()
    }

    /// The calls that are being answered, one by one.
    pub fn calls_in_flight(&self) -> &CallsInFlight {
        &self.0.in_flight
    }

    /// A call was made, its retries included; `trace` is one that somebody can look at.
    pub fn rpc_client_call(&self, name: &str, code: Code, took: Duration, trace: Option<TraceId>) {
        self.0.calls.made(name, code, took, trace);
    }

    /// A call was refused before it was made.
    pub fn rejected(&self, policy: RefusedBy, error: &Error) {
        self.0.calls.rejected(policy, error);
    }

    /// A call, an event or a job failed. Panics are counted where they happen.
    pub fn error(&self, class: ErrorClass) {
        self.0.calls.error(class);
    }

    /// What is measured of the requests of a route: `template` is one of a contract or of a page of our
    /// own, [`OTHER`] where there was none. To be kept, not asked for by each request.
    pub fn http_route(&self, template: &str) -> HttpRoute {
        self.0.http.route(template)
    }

    /// An HTTP request begins to be answered.
    pub fn http_server_begin(&self, method: &::http::Method) -> Active {
        self.0.http.begin(method)
    }

    /// Who is asked for the state of the connections to the database.
    pub fn watch_pool(&self, ask: impl Fn() -> PoolState + Send + Sync + 'static) {
        self.0.resources.pool(ask);
    }

    /// Who is asked for the states of a service's instances.
    pub fn watch_endpoints(
        &self,
        service: &str,
        ask: impl Fn() -> EndpointStates + Send + Sync + 'static,
    ) {
        self.0.resources.endpoints(service, ask);
    }

    /// A transaction waited so long before it had begun.
    pub fn connection_wait(&self, waited: Duration) {
        self.0.resources.connection_wait(waited);
    }

    /// When a certificate ends, in seconds of Unix time: `mesh`, `mesh-authority` or `edge`.
    pub fn certificate_not_after(&self, certificate: &'static str, not_after: i64) {
        self.0.resources.certificate(certificate, not_after);
    }

    /// Whether the files of a certificate, `mesh` or `edge`, hold one that is not used.
    pub fn certificate_refused(&self, certificate: &'static str, refused: bool) {
        self.0.resources.certificate_refused(certificate, refused);
    }

    /// A job of this name was claimed for the so-many-eth time.
    pub fn lease_epoch(&self, lease: &str, epoch: i64) {
        self.0.resources.lease_epoch(lease, epoch);
    }

    /// The part of the time, between 0 and 1, in which the threads of the runtime were at work.
    pub fn runtime_busy(&self, ratio: f64) {
        self.0.resources.runtime_busy(ratio);
    }

    /// How many events wait in the outbox to be published.
    pub fn outbox_backlog(&self, events: i64) {
        self.0.outbox_backlog.set(events);
    }

    /// How long the event has been waiting that has done so for longest; zero when none waits.
    pub fn outbox_oldest_age(&self, age: Duration) {
        self.0.outbox_oldest_age.set(age.as_secs_f64());
    }

    /// How many events a consumer has yet to handle.
    pub fn consumer_lag(&self, consumer: &str, events: i64) {
        self.0.consumer_lag.get_or_create(&ConsumerLabels::new(consumer)).set(events);
    }

    /// A consumer gave an event up.
    pub fn dead_letter(&self, consumer: &str) {
        self.0.dead_letters.get_or_create(&ConsumerLabels::new(consumer)).inc();
    }

    /// An attempt failed and is made again.
    pub fn consumer_retry(&self, consumer: &str, code: Code) {
        let labels = RetryLabels { consumer: consumer.to_owned(), code: code_name(code) };
        self.0.consumer_retries.get_or_create(&labels).inc();
    }

    /// How many events of a consumer wait in this process for their next attempt.
    pub fn consumer_waiting(&self, consumer: &str, events: usize) {
        let events = i64::try_from(events).unwrap_or(i64::MAX);
        self.0.consumer_waiting.get_or_create(&ConsumerLabels::new(consumer)).set(events);
    }

    /// Whether a consumer takes events: 0 while its broker is away or it died.
    pub fn consumer_up(&self, consumer: &str, up: bool) {
        self.0.consumer_up.get_or_create(&ConsumerLabels::new(consumer)).set(i64::from(up));
    }

    /// How long the job that is due for longest has been waiting for a runner.
    pub fn jobs_oldest_due(&self, age: Duration) {
        self.0.jobs_oldest_due.set(i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
    }

    /// How many jobs have failed for good.
    pub fn jobs_failed(&self, jobs: i64) {
        self.0.jobs_failed.set(jobs);
    }

    /// How many sagas are stuck.
    pub fn sagas_stuck(&self, sagas: i64) {
        self.0.sagas_stuck.set(sagas);
    }

    /// A job ran, and ended as `outcome`: `ok`, `failed`, `lost` or `released`.
    pub fn job_run(&self, job: &str, outcome: &'static str) {
        self.0.job_runs.get_or_create(&JobLabels { job_name: job.to_owned(), outcome }).inc();
    }

    /// Whether Redis is away: 0 where there is none.
    pub fn redis_away(&self, is_away: bool) {
        self.0.redis_away.set(i64::from(is_away));
    }

    /// Whether the settings file was changed to one that is refused.
    pub fn settings_refused(&self, is_refused: bool) {
        self.0.settings_refused.set(i64::from(is_refused));
    }

    /// Something was done without Redis that is done with it while it is there.
    pub fn redis_fallback(&self, purpose: &'static str) {
        self.0.redis_fallbacks.get_or_create(&RedisLabels { purpose }).inc();
    }

    /// What is measured of a cache of answers: `decisions` or `entitlements`.
    pub fn cache(&self, cache: &'static str) -> CacheMetrics {
        self.0.kept.cache(cache)
    }

    /// What is measured of a stream of changes: `decisions` or `entitlements`.
    pub fn watch(&self, watch: &'static str) -> WatchMetrics {
        self.0.kept.watch(watch)
    }

    /// Everything in the OpenMetrics text format.
    pub fn render(&self) -> String {
        let mut page = String::new();
        text::encode(&mut page, &self.0.lock()).expect("a string takes all that is written");
        exemplars::join(page, &self.0.exemplars)
    }
}

impl Inner {
    fn register_all(&mut self, service: &'static str, version: &'static str) {
        let registry = self.registry.get_mut().unwrap_or_else(PoisonError::into_inner);
        let build = Info::new(vec![("service", service), ("version", version)]);
        registry.register("mainstay_build", "What runs here", build);
        self.calls.register(registry, &mut self.exemplars);
        self.http.register(registry, &mut self.exemplars);
        self.resources.register(registry);
        registry.register_with_unit(
            "mainstay_outbox_oldest_age",
            "How long the event has been waiting to be published that has done so for longest",
            Unit::Seconds,
            self.outbox_oldest_age.clone(),
        );
        registry.register(
            "mainstay_outbox_backlog",
            "Events that wait to be published",
            self.outbox_backlog.clone(),
        );
        registry.register(
            "mainstay_consumer_lag",
            "Events that a consumer has yet to handle",
            self.consumer_lag.clone(),
        );
        registry.register(
            "mainstay_dead_letters",
            "Events that a consumer gave up",
            self.dead_letters.clone(),
        );
        registry.register(
            "mainstay_consumer_retries",
            "Attempts at an event that failed and are made again",
            self.consumer_retries.clone(),
        );
        registry.register(
            "mainstay_consumer_waiting",
            "Events that wait in this process for their next attempt",
            self.consumer_waiting.clone(),
        );
        registry.register(
            "mainstay_consumer_up",
            "1 while a consumer takes events, 0 while its broker is away or it died",
            self.consumer_up.clone(),
        );
        registry.register("mainstay_job_runs", "Runs of a job", self.job_runs.clone());
        registry.register_with_unit(
            "mainstay_jobs_oldest_due",
            "How long the job that is due for longest has been waiting for a runner",
            Unit::Seconds,
            self.jobs_oldest_due.clone(),
        );
        registry.register(
            "mainstay_jobs_failed",
            "Jobs that have failed for good",
            self.jobs_failed.clone(),
        );
        registry.register(
            "mainstay_sagas_stuck",
            "Sagas whose step has been failing for long",
            self.sagas_stuck.clone(),
        );
        registry.register(
            "mainstay_redis_away",
            "1 while a Redis that is used is away",
            self.redis_away.clone(),
        );
        registry.register(
            "mainstay_settings_refused",
            "1 while the settings file is one that would be refused at the start",
            self.settings_refused.clone(),
        );
        registry.register(
            "mainstay_redis_fallbacks",
            "What was done without Redis because it was away",
            self.redis_fallbacks.clone(),
        );
        self.kept.register(registry);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConsumerLabels {
    fn new(consumer: &str) -> Self {
        Self { consumer: consumer.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use ::http::Method;
    use tonic::Status;

    use super::*;
    use crate::kernel::error::{ErrorCode, INTERNAL, RATE_LIMITED};

    #[test]
    fn the_page_has_the_names_that_dashboards_read() {
        let metrics = Metrics::new("auth-svc", "1.2.3");
        let elapsed = Duration::from_millis(20);
        metrics.rpc_server_call("/mainstay.auth.v1.AuthService/Login", Code::Ok, elapsed, None);
        metrics.rpc_client_call(
            "mainstay.authz.v1.AuthzService/Check",
            Code::NotFound,
            elapsed,
            None,
        );
        let sizes = metrics.http_route("/api/v1/users/me");
        sizes.answered(&Method::GET, 200, elapsed).response(300);
        let _active = (metrics.http_server_begin(&Method::GET), metrics.rpc_server_begin());
        metrics.rejected(RefusedBy::Rate, &Error::new(RATE_LIMITED, "too many"));
        let elsewhere = Status::new(Code::PermissionDenied, "no");
        metrics.rejected(RefusedBy::Permission, &Error::from_status(&elsewhere));
        metrics.error(ErrorClass::System);
        metrics.outbox_oldest_age(Duration::from_millis(1500));
        metrics.watch_pool(|| PoolState { idle: 3, used: 2 });
        metrics.connection_wait(elapsed);
        metrics.certificate_not_after("mesh", 1_800_000_000);
        metrics.runtime_busy(0.25);
        metrics.lease_epoch("prune-sessions", 4);
        let states = EndpointStates { ready: 2, trial: 0, ejected: 1 };
        metrics.watch_endpoints("authz-svc", move || states);
        metrics.dead_letter("auth-svc.accounts");
        metrics.consumer_lag("auth-svc.accounts", 3);
        let page = metrics.render();
        for line in [
            "rpc_server_call_duration_seconds_count{rpc_system_name=\"grpc\",\
             rpc_method=\"mainstay.auth.v1.AuthService/Login\",\
             rpc_response_status_code=\"OK\"} 1",
            "rpc_client_call_duration_seconds_count{rpc_system_name=\"grpc\",\
             rpc_method=\"mainstay.authz.v1.AuthzService/Check\",\
             rpc_response_status_code=\"NOT_FOUND\"} 1",
            "http_server_request_duration_seconds_count{http_request_method=\"GET\",\
             http_route=\"/api/v1/users/me\",http_response_status_code=\"200\"} 1",
            "http_server_response_body_size_bytes_bucket{le=\"256.0\",http_request_method=\"GET\",\
             http_route=\"/api/v1/users/me\"} 0",
            "http_server_request_body_size_bytes_count{http_request_method=\"GET\",\
             http_route=\"/api/v1/users/me\"} 0",
            "http_server_active_requests{http_request_method=\"GET\"} 1",
            "mainstay_rpc_server_in_flight 1",
            "mainstay_rejections_total{policy=\"rate\",reason=\"RATE_LIMITED\"} 1",
            "mainstay_rejections_total{policy=\"permission\",reason=\"PERMISSION_DENIED\"} 1",
            "mainstay_errors_total{class=\"system\"} 1",
            "mainstay_errors_total{class=\"business\"} 0",
            "mainstay_outbox_oldest_age_seconds 1.5",
            "db_client_connection_count{db_client_connection_state=\"idle\"} 3",
            "db_client_connection_count{db_client_connection_state=\"used\"} 2",
            "db_client_connection_wait_time_seconds_count 1",
            "mainstay_certificate_not_after_seconds{certificate=\"mesh\"} 1800000000",
            "mainstay_runtime_busy_ratio 0.25",
            "mainstay_lease_epoch{lease=\"prune-sessions\"} 4",
            "mainstay_endpoints{service=\"authz-svc\",state=\"ready\"} 2",
            "mainstay_endpoints{service=\"authz-svc\",state=\"ejected\"} 1",
            "mainstay_dead_letters_total{consumer=\"auth-svc.accounts\"} 1",
            "mainstay_consumer_lag{consumer=\"auth-svc.accounts\"} 3",
            "mainstay_build_info{service=\"auth-svc\",version=\"1.2.3\"} 1",
        ] {
            assert!(page.contains(line), "no line {line} in\n{page}");
        }
        assert!(page.ends_with("# EOF\n"), "OpenMetrics ends so");
    }

    /// Whoever calls chooses method, path and, through a service, the name of a code.
    #[test]
    fn what_callers_make_up_makes_no_series() {
        let metrics = Metrics::new("gateway", "1.2.3");
        let flood = |number: u32| {
            let method = Method::from_bytes(format!("HACK{number}").as_bytes()).expect("a token");
            drop(metrics.http_server_begin(&method));
            metrics.http_route(OTHER).answered(&method, 404, Duration::ZERO).request(9);
            let code = ErrorCode { reason: format!("MADE_UP_{number}").into(), ..INTERNAL };
            metrics.rejected(RefusedBy::Permission, &Error::new(code, "no"));
            metrics.rpc_server_call(OTHER, Code::PermissionDenied, Duration::ZERO, None);
        };
        flood(0);
        let before = metrics.render().lines().count();
        (1..1000).for_each(flood);
        let page = metrics.render();
        assert_eq!(page.lines().count(), before, "{page}");
        assert!(page.contains("http_request_method=\"_OTHER\",http_route=\"_OTHER\""), "{page}");
    }
}
