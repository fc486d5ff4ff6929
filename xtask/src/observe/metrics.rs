//! The few of many metrics that a developer looks at first.

use std::collections::BTreeMap;

use serde::Serialize;

use super::exposition::Series;
use super::measure::{Look, Values};
use super::span;

const HTTP: &str = "http_server_request_duration_seconds";
const RPC: &str = "rpc_server_call_duration_seconds";

/// Names, or their beginnings, of what is read.
const WANTED: [&str; 11] = [
    HTTP,
    RPC,
    "http_server_active_requests",
    "mainstay_rpc_server_in_flight",
    "mainstay_runtime_busy_ratio",
    "mainstay_outbox_",
    "mainstay_consumer_",
    "mainstay_dead_letters_total",
    "mainstay_errors_total",
    "mainstay_jobs_failed",
    "db_client_connection_count",
];

/// What the metrics say.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Report {
    services: Vec<ServiceReport>,
    /// Routes of the gateway.
    routes: Vec<Calls>,
    /// Methods of the services.
    methods: Vec<Calls>,
    consumers: Vec<Consumer>,
}

/// One process. What it does not measure is `null`.
#[derive(Debug, Default, PartialEq, Serialize)]
struct ServiceReport {
    service: &'static str,
    up: bool,
    in_flight: Option<f64>,
    busy: Option<f64>,
    pool_used: Option<f64>,
    pool_idle: Option<f64>,
    outbox_backlog: Option<f64>,
    outbox_oldest_seconds: Option<f64>,
    system_errors: Option<f64>,
    jobs_failed: Option<f64>,
}

/// The calls of a route or method.
#[derive(Debug, PartialEq, Serialize)]
struct Calls {
    service: &'static str,
    name: String,
    /// Since the process began.
    calls: f64,
    /// In the last minute.
    per_second: f64,
    /// The part that failed for a reason of the platform's.
    error_share: f64,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
    /// Whether share and quantiles are those of the last minute; else there was no call, and they are
    /// those since the process began.
    is_recent: bool,
}

/// A consumer of events.
#[derive(Debug, Default, PartialEq, Serialize)]
struct Consumer {
    service: &'static str,
    consumer: String,
    lag: f64,
    up: bool,
    waiting: f64,
    dead_letters: f64,
}

/// Whether a metric is read at all.
pub(super) fn is_wanted(name: &str) -> bool {
    WANTED.iter().any(|wanted| name.starts_with(wanted))
}

/// The report of all processes, from the newest and the oldest look at each.
pub(super) fn report<'a>(
    looks: impl Iterator<Item = (&'static str, Option<(&'a Look, &'a Look)>)>,
) -> Report {
    let mut report =
        Report { services: vec![], routes: vec![], methods: vec![], consumers: vec![] };
    for (service, looks) in looks {
        let Some((newest, oldest)) = looks else {
            report.services.push(ServiceReport { service, ..ServiceReport::default() });
            continue;
        };
        report.services.push(state(service, &newest.values));
        report.consumers.extend(consumers(service, &newest.values));
        let calls =
            |metric, name: fn(&Series) -> String| calls(service, metric, name, newest, oldest);
        report.routes.extend(calls(HTTP, |series| {
            format!("{} {}", series.label("http_request_method"), series.label("http_route"))
        }));
        report.methods.extend(calls(RPC, |series| series.label("rpc_method").to_owned()));
    }
    report.services.sort_by_key(|it| (it.service != "gateway", it.service));
    report
}

fn state(service: &'static str, values: &Values) -> ServiceReport {
    let of = |name: &str| sum(values, |series| series.name == name);
    let pool = |state: &str| {
        sum(values, |series| {
            series.name == "db_client_connection_count"
                && series.label("db_client_connection_state") == state
        })
    };
    ServiceReport {
        service,
        up: true,
        in_flight: of("http_server_active_requests").or(of("mainstay_rpc_server_in_flight")),
        busy: of("mainstay_runtime_busy_ratio"),
        pool_used: pool("used"),
        pool_idle: pool("idle"),
        outbox_backlog: of("mainstay_outbox_backlog"),
        outbox_oldest_seconds: of("mainstay_outbox_oldest_age_seconds"),
        system_errors: sum(values, |series| {
            series.name == "mainstay_errors_total" && series.label("class") != "business"
        }),
        jobs_failed: of("mainstay_jobs_failed"),
    }
}

fn consumers(service: &'static str, values: &Values) -> Vec<Consumer> {
    let mut consumers: BTreeMap<&str, Consumer> = BTreeMap::new();
    for (series, value) in values {
        let name = series.label("consumer");
        if name.is_empty() {
            continue;
        }
        let of_name = || Consumer { service, consumer: name.to_owned(), ..Consumer::default() };
        let consumer = consumers.entry(name).or_insert_with(of_name);
        match series.name.as_str() {
            "mainstay_consumer_lag" => consumer.lag = *value,
            "mainstay_consumer_up" => consumer.up = *value > 0.0,
            "mainstay_consumer_waiting" => consumer.waiting = *value,
            "mainstay_dead_letters_total" => consumer.dead_letters = *value,
            _ => {}
        }
    }
    consumers.into_values().collect()
}

/// The sum of some series; `None` if there are none.
fn sum(values: &Values, is_meant: impl Fn(&Series) -> bool) -> Option<f64> {
    let meant = values.iter().filter(|(series, _)| is_meant(series)).map(|(_, value)| *value);
    meant.reduce(|sum, value| sum + value)
}

/// A histogram, of all calls and of those that failed.
#[derive(Clone, Debug, Default)]
struct Histogram {
    calls: f64,
    failures: f64,
    /// Calls no slower than a bound in seconds, which is the key as bits: bounds are positive, and so
    /// their bits are in the same order.
    buckets: BTreeMap<u64, f64>,
}

fn calls(
    service: &'static str,
    metric: &str,
    name: fn(&Series) -> String,
    newest: &Look,
    oldest: &Look,
) -> Vec<Calls> {
    let mut all: BTreeMap<String, (Histogram, Histogram)> = BTreeMap::new();
    for (series, value) in &newest.values {
        let Some(kind) = series.name.strip_prefix(metric) else { continue };
        let before = oldest.values.get(series).copied().unwrap_or_default();
        let (since_begin, recent) = all.entry(name(series)).or_default();
        since_begin.add(kind, series, *value);
        // A counter that fell began anew with its process.
        recent.add(kind, series, if before > *value { *value } else { value - before });
    }
    let seconds = newest.at.duration_since(oldest.at).as_secs_f64();
    let told = all.into_iter().map(|(name, (since_begin, recent))| {
        let is_recent = recent.calls > 0.0;
        let shown = if is_recent { &recent } else { &since_begin };
        Calls {
            service,
            name,
            calls: since_begin.calls,
            per_second: if seconds > 0.0 { recent.calls / seconds } else { 0.0 },
            error_share: shown.failures / shown.calls.max(1.0),
            p50_ms: shown.quantile_ms(0.5),
            p99_ms: shown.quantile_ms(0.99),
            is_recent,
        }
    });
    told.collect()
}

impl Histogram {
    fn add(&mut self, kind: &str, series: &Series, value: f64) {
        match kind {
            "_count" => {
                self.calls += value;
                self.failures += if failed(series) { value } else { 0.0 };
            }
            "_bucket" => {
                if let Ok(bound) = series.label("le").parse::<f64>() {
                    *self.buckets.entry(bound.to_bits()).or_default() += value;
                }
            }
            _ => {}
        }
    }

    /// In which so large a part of the calls was answered, in a straight line between bounds; that of
    /// the last bound for what is slower.
    fn quantile_ms(&self, quantile: f64) -> Option<f64> {
        let wanted = self.calls * quantile;
        let (mut below, mut until) = (0.0, 0.0);
        for (bound, count) in &self.buckets {
            let bound = f64::from_bits(*bound);
            if *count >= wanted && *count > until {
                if bound.is_infinite() {
                    return Some(below * 1000.0);
                }
                let part = ((wanted - until) / (count - until)).clamp(0.0, 1.0);
                return Some((below + (bound - below) * part) * 1000.0);
            }
            (below, until) = (bound, *count);
        }
        None
    }
}

fn failed(series: &Series) -> bool {
    let status = series.label("http_response_status_code");
    status.starts_with('5') || span::is_failure(series.label("rpc_response_status_code"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::super::exposition;
    use super::*;

    fn look(at: Instant, page: &str) -> Look {
        let read = exposition::read(page, is_wanted).into_iter();
        Look { at, values: read.map(|(series, value)| (Arc::new(series), value)).collect() }
    }

    fn page(ok: u32, failed: u32) -> String {
        let of = |kind: &str, status: u32, more: &str, value: u32| {
            format!(
                "{HTTP}{kind}{{http_request_method=\"GET\",http_route=\"/x\",\
                 http_response_status_code=\"{status}\"{more}}} {value}\n"
            )
        };
        [(200, ok), (503, failed)]
            .map(|(status, value)| {
                of("_count", status, "", value)
                    + &of("_bucket", status, ",le=\"0.1\"", value / 2)
                    + &of("_bucket", status, ",le=\"0.2\"", value)
                    + &of("_bucket", status, ",le=\"+Inf\"", value)
            })
            .concat()
    }

    #[test]
    fn routes_have_rates_shares_and_quantiles_of_the_last_minute() {
        let begin = Instant::now();
        let (oldest, newest) =
            (look(begin, &page(100, 0)), look(begin + Duration::from_secs(10), &page(130, 10)));
        let report = report(std::iter::once(("gateway", Some((&newest, &oldest)))));
        let calls = &report.routes[0];
        assert_eq!((calls.name.as_str(), calls.calls, calls.per_second), ("GET /x", 140.0, 4.0));
        assert_eq!((calls.error_share, calls.is_recent), (0.25, true));
        assert_eq!((calls.p50_ms, calls.p99_ms), (Some(100.0), Some(198.0)));
    }

    #[test]
    fn without_recent_calls_those_since_the_beginning_are_told() {
        let begin = Instant::now();
        let (oldest, newest) = (look(begin, &page(10, 0)), look(begin, &page(10, 0)));
        let report = report(std::iter::once(("gateway", Some((&newest, &oldest)))));
        assert_eq!((report.routes[0].per_second, report.routes[0].is_recent), (0.0, false));
        assert_eq!(report.routes[0].p50_ms, Some(100.0));
    }

    #[test]
    fn a_process_tells_its_state_and_its_consumers() {
        let text = "mainstay_rpc_server_in_flight 2\nmainstay_runtime_busy_ratio 0.5\n\
            db_client_connection_count{db_client_connection_state=\"used\"} 3\n\
            mainstay_consumer_lag{consumer=\"a\"} 7\nmainstay_consumer_up{consumer=\"a\"} 1\n\
            mainstay_errors_total{class=\"business\"} 9\nmainstay_errors_total{class=\"panic\"} 1\n";
        let look = look(Instant::now(), text);
        let report = report([("auth-svc", Some((&look, &look))), ("gateway", None)].into_iter());
        assert_eq!((report.services[0].service, report.services[0].up), ("gateway", false));
        let auth = &report.services[1];
        assert_eq!((auth.in_flight, auth.busy, auth.pool_used), (Some(2.0), Some(0.5), Some(3.0)));
        assert_eq!((auth.pool_idle, auth.system_errors), (None, Some(1.0)));
        let consumer = &report.consumers[0];
        assert_eq!((consumer.lag, consumer.up, consumer.consumer.as_str()), (7.0, true, "a"));
    }
}
