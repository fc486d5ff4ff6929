//! Every metric of the kernel, on one page.
//!
//! Names are those of the OpenTelemetry semantic conventions, in the form that Prometheus gives
//! them: `rpc.server.call.duration` is `rpc_server_call_duration_seconds`. What has no convention
//! begins with `mainstay_`. Label values are bounded: methods and routes that no contract knows
//! are `_OTHER`. What is measured of kept answers stands on a page of its own, `kept`.

mod kept;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};
use tonic::Code;

use kept::Kept;
pub use kept::{CacheMetrics, WatchMetrics};

/// The label value of what no contract knows.
pub const OTHER: &str = "_OTHER";

/// The content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Bucket bounds in seconds, as the conventions advise for durations of calls and requests.
const DURATION_BUCKETS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// The metrics of one process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Mutex<Registry>,
    rpc_server: Durations<RpcLabels>,
    rpc_client: Durations<RpcLabels>,
    http_server: Durations<HttpLabels>,
    outbox_backlog: Gauge,
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

type Durations<L> = Family<L, Histogram, fn() -> Histogram>;

/// Labels of `rpc.server.call.duration` and `rpc.client.call.duration`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RpcLabels {
    /// Always `grpc`.
    rpc_system_name: &'static str,
    /// Full name such as `mainstay.auth.v1.AuthService/Login`, or `_OTHER`.
    rpc_method: String,
    /// gRPC status code name such as `NOT_FOUND`.
    rpc_response_status_code: &'static str,
}

/// Labels of `http.server.request.duration`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HttpLabels {
    /// The HTTP method, or `_OTHER`.
    http_request_method: String,
    /// The route's template such as `/api/v1/users/{user_id}`, or `_OTHER`.
    http_route: String,
    /// The HTTP status.
    http_response_status_code: u16,
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
    /// The job's name.
    job: String,
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
        let inner = Inner {
            registry: Mutex::new(Registry::default()),
            rpc_server: Family::new_with_constructor(durations),
            rpc_client: Family::new_with_constructor(durations),
            http_server: Family::new_with_constructor(durations),
            outbox_backlog: Gauge::default(),
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

    /// A call was served: `method` is the full name, [`OTHER`] where no contract knows it.
    pub fn rpc_server_call(&self, method: &str, code: Code, elapsed: Duration) {
        observe(&self.0.rpc_server, &RpcLabels::new(method, code), elapsed);
    }

    /// A call was made, its retries included.
    pub fn rpc_client_call(&self, method: &str, code: Code, elapsed: Duration) {
        observe(&self.0.rpc_client, &RpcLabels::new(method, code), elapsed);
    }

    /// An HTTP request was answered: `route` is the template, [`OTHER`] where there was none.
    pub fn http_server_request(
        &self,
        method: &http::Method,
        route: &str,
        status: u16,
        elapsed: Duration,
    ) {
        let labels = HttpLabels {
            http_request_method: known_method(method).to_owned(),
            http_route: route.to_owned(),
            http_response_status_code: status,
        };
        observe(&self.0.http_server, &labels, elapsed);
    }

    /// How many events wait in the outbox to be published.
    pub fn outbox_backlog(&self, events: i64) {
        self.0.outbox_backlog.set(events);
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
        self.0.job_runs.get_or_create(&JobLabels { job: job.to_owned(), outcome }).inc();
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
        page
    }
}

impl Inner {
    fn register_all(&self, service: &'static str, version: &'static str) {
        let mut registry = self.lock();
        let build = Info::new(vec![("service", service), ("version", version)]);
        registry.register("mainstay_build", "What runs here", build);
        for (name, help, family) in [
            ("rpc_server_call_duration", "Duration of calls served", &self.rpc_server),
            ("rpc_client_call_duration", "Duration of calls made", &self.rpc_client),
        ] {
            registry.register_with_unit(name, help, Unit::Seconds, family.clone());
        }
        registry.register_with_unit(
            "http_server_request_duration",
            "Duration of HTTP requests answered",
            Unit::Seconds,
            self.http_server.clone(),
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
        self.kept.register(&mut registry);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RpcLabels {
    fn new(method: &str, code: Code) -> Self {
        Self {
            rpc_system_name: "grpc",
            rpc_method: method.trim_start_matches('/').to_owned(),
            rpc_response_status_code: code_name(code),
        }
    }
}

impl ConsumerLabels {
    fn new(consumer: &str) -> Self {
        Self { consumer: consumer.to_owned() }
    }
}

fn durations() -> Histogram {
    Histogram::new(DURATION_BUCKETS)
}

fn observe<L>(family: &Durations<L>, labels: &L, elapsed: Duration)
where
    L: Clone + std::hash::Hash + Eq,
{
    family.get_or_create(labels).observe(elapsed.as_secs_f64());
}

fn known_method(method: &http::Method) -> &str {
    match method.as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS" | "CONNECT"
        | "TRACE" | "QUERY") => known,
        _ => OTHER,
    }
}

/// The name of a status code as `google.rpc.Code` spells it.
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_the_names_that_dashboards_read() {
        let metrics = Metrics::new("auth-svc", "1.2.3");
        let elapsed = Duration::from_millis(20);
        metrics.rpc_server_call("/mainstay.auth.v1.AuthService/Login", Code::Ok, elapsed);
        metrics.rpc_client_call("mainstay.authz.v1.AuthzService/Check", Code::NotFound, elapsed);
        metrics.http_server_request(&http::Method::GET, "/api/v1/users/me", 200, elapsed);
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
            "mainstay_dead_letters_total{consumer=\"auth-svc.accounts\"} 1",
            "mainstay_consumer_lag{consumer=\"auth-svc.accounts\"} 3",
            "mainstay_build_info{service=\"auth-svc\",version=\"1.2.3\"} 1",
        ] {
            assert!(page.contains(line), "no line {line} in\n{page}");
        }
        assert!(page.ends_with("# EOF\n"), "OpenMetrics ends so");
    }

    #[test]
    fn a_method_that_nobody_knows_makes_no_label_of_its_own() {
        let metrics = Metrics::new("gateway", "1.2.3");
        let method = http::Method::from_bytes(b"HACK").expect("a token");
        metrics.http_server_request(&method, OTHER, 404, Duration::ZERO);
        assert!(metrics.render().contains("http_request_method=\"_OTHER\""));
    }
}
