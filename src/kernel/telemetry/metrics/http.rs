//! Metrics of HTTP requests.
//!
//! A route keeps a [`HttpRoute`], in which the series of its methods and statuses are found without a lock
//! and without writing out a label.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use opentelemetry::trace::TraceId;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::OTHER;
use super::active::Active;
use super::exemplars::Exemplars;
use super::histogram::{Histogram, Histograms, durations, sizes};

/// The methods that have a label of their own, [`OTHER`] for the rest at the end.
const METHODS: [&str; 11] = [
    "GET", "POST", "PATCH", "PUT", "DELETE", "HEAD", "OPTIONS", "CONNECT", "TRACE", "QUERY", OTHER,
];

const DURATION: &str = "http_server_request_duration";

/// Labels of `http.server.request.duration`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DurationLabels {
    /// The HTTP method, or `_OTHER`.
    http_request_method: &'static str,
    /// The route's template such as `/api/v1/users/{user_id}`, or `_OTHER`.
    http_route: String,
    /// The HTTP status.
    http_response_status_code: u16,
}

/// Labels of `http.server.request.body.size` and `http.server.response.body.size`. They leave the status
/// out: with it there would be three times the series for what nobody asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SizeLabels {
    /// The HTTP method, or `_OTHER`.
    http_request_method: &'static str,
    /// The route's template, or `_OTHER`.
    http_route: String,
}

/// Labels of `http.server.active_requests`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ActiveLabels {
    /// The HTTP method, or `_OTHER`.
    http_request_method: &'static str,
}

/// What is measured of all HTTP requests.
#[derive(Debug)]
pub(super) struct Http {
    series: Arc<Series>,
    active: Family<ActiveLabels, Gauge>,
    active_by_method: [OnceLock<Gauge>; METHODS.len()],
    unrouted: HttpRoute,
}

#[derive(Debug)]
struct Series {
    duration: Histograms<DurationLabels>,
    seen: Exemplars<DurationLabels>,
    request_size: Histograms<SizeLabels>,
    response_size: Histograms<SizeLabels>,
}

impl Http {
    pub(super) fn new() -> Self {
        let series = Arc::new(Series {
            duration: durations(),
            seen: Exemplars::new(),
            request_size: sizes(),
            response_size: sizes(),
        });
        Self {
            unrouted: HttpRoute::new(&series, OTHER),
            series,
            active: Family::default(),
            active_by_method: std::array::from_fn(|_| OnceLock::new()),
        }
    }

    pub(super) fn register(&self, registry: &mut Registry, exemplars: &mut Registry) {
        self.series.seen.register(DURATION, exemplars);
        registry.register_with_unit(
            DURATION,
            "Duration of HTTP requests answered",
            Unit::Seconds,
            self.series.duration.clone(),
        );
        registry.register_with_unit(
            "http_server_request_body_size",
            "Size of the bodies of HTTP requests, as they came",
            Unit::Bytes,
            self.series.request_size.clone(),
        );
        registry.register_with_unit(
            "http_server_response_body_size",
            "Size of the bodies of HTTP replies, as they left",
            Unit::Bytes,
            self.series.response_size.clone(),
        );
        registry.register(
            "http_server_active_requests",
            "HTTP requests that are being answered, streams until they end",
            self.active.clone(),
        );
    }

    /// The series of a route; `template` is one of a contract or of a page of our own.
    pub(super) fn route(&self, template: &str) -> HttpRoute {
        match template {
            OTHER => self.unrouted.clone(),
            template => HttpRoute::new(&self.series, template),
        }
    }

    /// A request begins.
    pub(super) fn begin(&self, method: &http::Method) -> Active {
        let index = index_of(method);
        let gauge = self.active_by_method[index].get_or_init(|| {
            let labels = ActiveLabels { http_request_method: METHODS[index] };
            self.active.get_or_create_owned(&labels)
        });
        Active::begin(gauge)
    }
}

/// What is measured of the requests of one route. Clones count together.
#[derive(Clone, Debug)]
pub struct HttpRoute(Arc<Route>);

#[derive(Debug)]
struct Route {
    series: Arc<Series>,
    template: String,
    first: OnceLock<Box<Entry>>,
}

/// The series of one method and status, and those found after it. There are as many as the route has
/// ways to be answered, which is few, so that going through them is all that finding one takes.
#[derive(Debug)]
struct Entry {
    method: &'static str,
    status: u16,
    duration: Histogram,
    sizes: HttpSizes,
    next: OnceLock<Box<Entry>>,
}

/// Where the sizes of a route's bodies are counted, for those that are known only at their end.
#[derive(Clone, Debug)]
pub struct HttpSizes {
    request: Histogram,
    response: Histogram,
}

impl HttpRoute {
    fn new(series: &Arc<Series>, template: &str) -> Self {
        let (series, template) = (Arc::clone(series), template.to_owned());
        Self(Arc::new(Route { series, template, first: OnceLock::new() }))
    }

    /// A request was answered: the reply's head has left.
    pub fn answered(&self, method: &http::Method, status: u16, elapsed: Duration) -> &HttpSizes {
        let entry = self.entry(METHODS[index_of(method)], status);
        entry.duration.took(elapsed);
        &entry.sizes
    }

    /// The trace of a request that was answered, which somebody can look at.
    pub fn seen(&self, method: &http::Method, status: u16, elapsed: Duration, trace: TraceId) {
        let labels = self.0.labels(METHODS[index_of(method)], status);
        self.0.series.seen.took(&labels, elapsed, trace);
    }

    fn entry(&self, method: &'static str, status: u16) -> &Entry {
        let mut place = &self.0.first;
        loop {
            let entry = place.get_or_init(|| Box::new(self.0.series(method, status)));
            if entry.method == method && entry.status == status {
                return entry;
            }
            place = &entry.next;
        }
    }
}

impl Route {
    fn labels(&self, method: &'static str, status: u16) -> DurationLabels {
        DurationLabels {
            http_request_method: method,
            http_route: self.template.clone(),
            http_response_status_code: status,
        }
    }

    fn series(&self, method: &'static str, status: u16) -> Entry {
        let template = &self.template;
        let sized = SizeLabels { http_request_method: method, http_route: template.clone() };
        let timed = self.labels(method, status);
        Entry {
            method,
            status,
            duration: self.series.duration.get_or_create_owned(&timed),
            sizes: HttpSizes {
                request: self.series.request_size.get_or_create_owned(&sized),
                response: self.series.response_size.get_or_create_owned(&sized),
            },
            next: OnceLock::new(),
        }
    }
}

impl HttpSizes {
    /// The body of a request was so long.
    pub fn request(&self, bytes: u64) {
        self.request.observe(bytes);
    }

    /// The body of a reply was so long.
    pub fn response(&self, bytes: u64) {
        self.response.observe(bytes);
    }
}

fn index_of(method: &http::Method) -> usize {
    let known = METHODS.iter().position(|known| *known == method.as_str());
    known.unwrap_or(METHODS.len() - 1)
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    #[test]
    fn a_route_finds_each_of_its_series_again_and_routes_of_one_name_share_them() {
        let http = Http::new();
        let (route, again) = (http.route("/users"), http.route("/users"));
        let elapsed = Duration::from_millis(1);
        for status in [200, 404, 200, 503, 404, 200] {
            route.answered(&Method::GET, status, elapsed).response(10);
        }
        again.answered(&Method::GET, 200, elapsed);
        again.answered(&Method::POST, 200, elapsed);
        let mut registry = Registry::default();
        http.register(&mut registry, &mut Registry::default());
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &registry).expect("written");
        let count = |method: &str, status: u16| {
            format!(
                "http_server_request_duration_seconds_count{{http_request_method=\"{method}\",\
                 http_route=\"/users\",http_response_status_code=\"{status}\"}}"
            )
        };
        for (method, status, expected) in
            [("GET", 200, 4), ("GET", 404, 2), ("GET", 503, 1), ("POST", 200, 1)]
        {
            let line = format!("{} {expected}", count(method, status));
            assert!(page.lines().any(|shown| shown == line), "no line {line} in\n{page}");
        }
        let sizes = "http_server_response_body_size_bytes_sum{http_request_method=\"GET\",\
                     http_route=\"/users\"} 60.0";
        assert!(page.lines().any(|shown| shown == sizes), "no line {sizes} in\n{page}");
    }

    #[test]
    fn requests_are_active_until_they_end() {
        let http = Http::new();
        let odd = Method::from_bytes(b"HACK").expect("a token");
        let (first, second) = (http.begin(&odd), http.begin(&odd));
        let labels = ActiveLabels { http_request_method: OTHER };
        assert_eq!(http.active.get_or_create(&labels).get(), 2);
        drop((first, second));
        assert_eq!(http.active.get_or_create(&labels).get(), 0);
    }
}
