//! What real processes tell about themselves: traces to a collector, metrics on the admin port.

pub(crate) mod collector;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use mainstay::contract::{audit, auth, authz, identity};
use mainstay_testing::{Platform, Rest, eventually, free_address};
use serde_json::json;

use collector::{Collector, Exported, text};

const GATEWAY: &str = "gateway";

/// A public path, which the gateway answers with one call to auth that it never makes by itself.
const DISCOVERY: &str = "/.well-known/openid-configuration";

/// The method of that call.
const METHOD: &str = "mainstay.auth.v1.AuthService/GetOpenIdConfiguration";

/// The trace and the span of a caller who traces.
const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER_SPAN_ID: &str = "00f067aa0ba902b7";

/// What the caller's tracing system adds.
const TRACESTATE: &str = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE";

/// How many paths that nobody knows are asked for.
const UNKNOWN_PATHS: u64 = 50;

#[tokio::test]
async fn a_request_is_one_connected_trace_at_the_collector() {
    let collector = Collector::start().await;
    let platform = with_collector(&collector.endpoint(), "100").await;
    discover(&platform.rest(), true).await;

    let edge = one_span(&collector, GATEWAY).await;
    assert_eq!(hex::encode(&edge.span.parent_span_id), CALLER_SPAN_ID);
    assert_eq!(edge.span.name, format!("GET {DISCOVERY}"));
    for (attribute, value) in [
        ("http.request.method", "GET"),
        ("http.route", DISCOVERY),
        ("http.response.status_code", "200"),
    ] {
        assert_eq!(text(&edge.span.attributes, attribute), value, "{edge:?}");
    }
    let served = one_span(&collector, auth::SERVICE).await;
    assert_eq!(served.span.parent_span_id, edge.span.span_id, "{served:?} under {edge:?}");
    assert_eq!(served.span.name, METHOD);
    assert_eq!(text(&served.span.attributes, "rpc.method"), METHOD);
    assert_eq!(text(&served.span.attributes, "rpc.response.status_code"), "OK");
    // What a caller reads in the reply leads to the trace, also where no service was reached.
    let request_id = text(&edge.span.attributes, "request_id");
    assert!(!request_id.is_empty(), "{edge:?}");
    assert_eq!(text(&served.span.attributes, "request_id"), request_id);
    for Exported { service, version, .. } in [edge, served] {
        assert_eq!(version, env!("CARGO_PKG_VERSION"), "{service}");
    }

    for (service, series) in [
        (GATEWAY, "http_server_request_duration_seconds_bucket{"),
        (GATEWAY, "rpc_client_call_duration_seconds_bucket{"),
        (auth::SERVICE, "rpc_server_call_duration_seconds_bucket{"),
    ] {
        let page = metrics(&platform, service).await;
        let mut lines = page.lines().filter(|line| line.starts_with(series));
        let exemplar = format!(" # {{trace_id=\"{TRACE_ID}\"}} ");
        assert!(lines.any(|line| line.contains(&exemplar)), "{series} leads to no trace:\n{page}");
    }
}

#[tokio::test]
async fn a_call_is_one_connected_trace_from_the_edge_to_the_consumers_of_its_events() {
    let collector = Collector::start().await;
    let variables = [
        ("MAINSTAY_TELEMETRY__OTLP_ENDPOINT", &*collector.endpoint()),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
    ];
    let platform = Platform::start_with(&variables).await;
    let account = json!({
        "email": "traced@mainstay.test", "password": "a long enough password", "display_name": "T"
    });
    let traceparent = format!("00-{TRACE_ID}-{CALLER_SPAN_ID}-01");
    let headers = [
        ("traceparent", &*traceparent),
        ("tracestate", TRACESTATE),
        ("content-type", "application/json"),
    ];
    let body = Bytes::from(account.to_string());
    let reply = platform.rest().send(Method::POST, "/api/v1/auth/register", &headers, body).await;
    assert!(reply.status < 300, "{}", reply.text());

    let trace_id = hex::decode(TRACE_ID).unwrap();
    let named = |service: &str, name: &str| {
        let mut spans = collector.spans(&trace_id, service);
        spans.retain(|exported| exported.span.name == name);
        spans
    };
    // Publishing is a step of the writer's trace, and so is what each consumer does about it.
    let steps = [
        (GATEWAY, None),
        (auth::SERVICE, Some("publish event")),
        (identity::SERVICE, Some("handle event")),
        (authz::SERVICE, Some("handle event")),
        (audit::SERVICE, Some("handle event")),
    ];
    for (service, name) in steps {
        eventually(&format!("{name:?} of {service}"), async || {
            let there = match name {
                Some(name) => !named(service, name).is_empty(),
                None => !collector.spans(&trace_id, service).is_empty(),
            };
            there.then_some(())
        })
        .await;
    }
    eventually("every parent among the spans of the trace", async || {
        let services = [GATEWAY, auth::SERVICE, identity::SERVICE, authz::SERVICE, audit::SERVICE];
        let spans = services.map(|service| collector.spans(&trace_id, service)).concat();
        let mut known: BTreeSet<_> = spans.iter().map(|of| of.span.span_id.clone()).collect();
        known.insert(hex::decode(CALLER_SPAN_ID).unwrap());
        spans.iter().all(|of| known.contains(&of.span.parent_span_id)).then_some(())
    })
    .await;
    let published = &named(auth::SERVICE, "publish event")[0];
    // What the caller's tracing system has added goes all the way with the trace.
    for (service, name) in steps {
        let mut spans = collector.spans(&trace_id, service);
        spans.retain(|of| name.is_none_or(|name| of.span.name == name));
        let carried = spans.iter().all(|of| of.span.trace_state == TRACESTATE);
        assert!(carried, "{service}: {spans:?}");
    }
    let topic = text(&published.span.attributes, "topic");
    assert!(["auth.accounts", "platform.calls"].contains(&&*topic), "{published:?}");
}

#[tokio::test]
async fn a_caller_who_does_not_sample_is_not_exported() {
    let collector = Collector::start().await;
    let platform = with_collector(&collector.endpoint(), "100").await;
    discover(&platform.rest(), false).await;
    // Spans leave in the order in which they ended: those of the second call would come last.
    let other = TRACE_ID.replace("4b", "4c");
    discover_within(&platform.rest(), &format!("00-{other}-{CALLER_SPAN_ID}-01")).await;
    let other = hex::decode(other).unwrap();
    for service in [GATEWAY, auth::SERVICE] {
        eventually(&format!("{service} exports the sampled call"), async || {
            (!collector.spans(&other, service).is_empty()).then_some(())
        })
        .await;
        assert!(collector.spans(&hex::decode(TRACE_ID).unwrap(), service).is_empty(), "{service}");
        let page = metrics(&platform, service).await;
        assert!(!page.contains(TRACE_ID), "nobody could look at it:\n{page}");
    }
}

#[tokio::test]
async fn of_the_traces_that_begin_here_a_part_is_exported() {
    let collector = Collector::start().await;
    let platform = with_collector_of(&collector.endpoint(), "100", "0").await;
    for _ in 0..20 {
        platform.rest().get(DISCOVERY).await.expect(200);
    }
    // Where the caller decides, the part is not asked for, and this one is sent last.
    discover(&platform.rest(), true).await;
    for service in [GATEWAY, auth::SERVICE] {
        one_span(&collector, service).await;
    }
    let trace_id = hex::decode(TRACE_ID).unwrap();
    let others = collector.exported().into_iter().filter(|of| of.span.trace_id != trace_id);
    assert_eq!(others.map(|of| of.span.name).collect::<Vec<_>>(), <[String; 0]>::default());
}

#[tokio::test]
async fn what_is_not_yet_exported_is_sent_at_the_end() {
    let collector = Collector::start().await;
    let mut platform = with_collector(&collector.endpoint(), "600000").await;
    discover(&platform.rest(), true).await;
    for service in [GATEWAY, auth::SERVICE] {
        let trace_id = hex::decode(TRACE_ID).unwrap();
        assert!(collector.spans(&trace_id, service).is_empty(), "{service} exports only later");
        platform.stop(service).await;
        assert_eq!(collector.spans(&trace_id, service).len(), 1, "{service}");
    }
}

#[tokio::test]
async fn a_collector_that_is_away_costs_nothing_but_the_spans() {
    // It takes connections, from the backlog of the system, and never says a word.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    for endpoint in [closed_endpoint(), silent] {
        let mut platform = with_collector(&endpoint, "100").await;
        for _ in 0..20 {
            let asked = Instant::now();
            discover(&platform.rest(), true).await;
            assert!(asked.elapsed() < Duration::from_secs(2), "{endpoint}: {:?}", asked.elapsed());
        }
        for service in [GATEWAY, auth::SERVICE] {
            let asked = Instant::now();
            platform.stop(service).await;
            let elapsed = asked.elapsed();
            assert!(elapsed < Duration::from_secs(6), "{endpoint}: {service} took {elapsed:?}");
            let log = platform.logs(service);
            assert!(log.contains("\"message\":\"drained\""), "{endpoint}\n{log}");
        }
    }
}

#[tokio::test]
async fn that_a_collector_is_away_is_told_once_and_that_it_is_back() {
    const GONE: &str = "the collector takes no spans";
    let address = free_address();
    let platform = with_collector(&format!("http://{address}"), "100").await;
    let told = |what: &str| platform.logs(GATEWAY).matches(what).count();
    let mut calls = 0;
    eventually("several batches are lost", async || {
        discover(&platform.rest(), true).await;
        calls += 1;
        (calls > 10 && told(GONE) > 0).then_some(())
    })
    .await;
    let collector = Collector::start_at(address).await;
    eventually("spans arrive", async || {
        discover(&platform.rest(), true).await;
        let spans = collector.spans(&hex::decode(TRACE_ID).unwrap(), GATEWAY);
        (!spans.is_empty() && told("the collector takes spans again") == 1).then_some(())
    })
    .await;
    assert_eq!(told(GONE), 1, "{}", platform.logs(GATEWAY));
    assert_eq!(told("ExportError"), 0, "{}", platform.logs(GATEWAY));
}

#[tokio::test]
async fn both_ends_of_a_call_are_measured_under_its_method() {
    let platform = Platform::start_services(&[auth::SERVICE, GATEWAY], &[]).await;
    let labels = [("rpc_method", METHOD), ("rpc_response_status_code", "OK")];
    let ends = [
        (GATEWAY, "rpc_client_call_duration_seconds_count"),
        (auth::SERVICE, "rpc_server_call_duration_seconds_count"),
    ];
    let mut before = Vec::new();
    for (service, metric) in ends {
        before.push(total(&metrics(&platform, service).await, metric, &labels));
    }
    for _ in 0..3 {
        discover(&platform.rest(), true).await;
    }
    for ((service, metric), before) in ends.into_iter().zip(before) {
        let page = metrics(&platform, service).await;
        assert_eq!(total(&page, metric, &labels), before + 3, "{metric} of {service}\n{page}");
    }
}

#[tokio::test]
async fn paths_that_nobody_knows_add_no_labels() {
    let platform = Platform::start_services(&[GATEWAY], &[]).await;
    platform.rest().get("/openapi.json").await.expect(200);
    let metric = "http_server_request_duration_seconds_count";
    let before = metrics(&platform, GATEWAY).await;
    assert!(routes(&before).contains("/openapi.json"), "{before}");
    for number in 0..UNKNOWN_PATHS {
        let path = format!("/unknown-{number}/{number}?number={number}");
        assert_eq!(platform.rest().get(&path).await.status, 404, "{path}");
    }
    let after = metrics(&platform, GATEWAY).await;
    let others = [("http_route", "_OTHER"), ("http_response_status_code", "404")];
    let counted = total(&after, metric, &others) - total(&before, metric, &others);
    assert_eq!(counted, UNKNOWN_PATHS, "{after}");
    let new: Vec<_> = routes(&after).difference(&routes(&before)).cloned().collect();
    assert!(new.is_empty() || new == ["_OTHER"], "{new:?}");
}

#[tokio::test]
async fn a_flood_of_what_callers_make_up_adds_no_series() {
    let platform = Platform::start_services(&[auth::SERVICE, GATEWAY], &[]).await;
    let flood = async |numbers: std::ops::Range<u32>| {
        let mut statuses = BTreeSet::new();
        for number in numbers {
            let invented = Method::from_bytes(format!("HACK{number}").as_bytes()).unwrap();
            let json = [("content-type", "application/json")];
            let grpc = [("content-type", "application/grpc+proto")];
            let email = format!("nobody-{number}@mainstay.test");
            let login = json!({ "email": email, "password": "a wrong password" }).to_string();
            let requests = [
                (invented, DISCOVERY.to_owned(), &json[..], String::new()),
                (Method::GET, format!("/unknown/{number}"), &json[..], String::new()),
                (
                    Method::DELETE,
                    format!("/api/v1/auth/sessions/{number}"),
                    &json[..],
                    String::new(),
                ),
                (
                    Method::POST,
                    format!("/mainstay.auth.v1.AuthService/Do{number}"),
                    &grpc,
                    login.clone(),
                ),
                (Method::POST, "/api/v1/auth/login".to_owned(), &json[..], login),
                (
                    Method::POST,
                    "/api/v1/auth/login".to_owned(),
                    &json[..],
                    format!("{{\"e{number}\":1}}"),
                ),
            ];
            for (method, path, headers, body) in requests {
                let body = Bytes::from(body);
                let reply = platform.rest().send(method, &path, headers, body).await;
                statuses.insert(reply.status);
            }
        }
        statuses
    };
    // The first few make the series that there are: one for each way of being refused.
    let statuses = flood(0..3).await;
    assert!(statuses.is_superset(&BTreeSet::from([400, 401, 404, 405])), "{statuses:?}");
    let before = [series(&platform, GATEWAY).await, series(&platform, auth::SERVICE).await];
    flood(3..30).await;
    let after = [series(&platform, GATEWAY).await, series(&platform, auth::SERVICE).await];
    for (before, after) in before.iter().zip(&after) {
        let new: Vec<_> = after.difference(before).collect();
        // Background work may meet a new outcome meanwhile, such as a retry.
        let new: Vec<_> = new
            .into_iter()
            .filter(|line| line.contains("http_") || line.contains("rejections"))
            .collect();
        assert!(new.is_empty(), "{new:#?}");
    }
}

#[tokio::test]
async fn the_pages_hold_what_dashboards_and_alerts_read() {
    let platform = Platform::start_services(&[authz::SERVICE, auth::SERVICE, GATEWAY], &[]).await;
    discover(&platform.rest(), true).await;
    platform.rest().get("/api/v1/users/me").await;
    let login = json!({ "email": "nobody@mainstay.test", "password": "a wrong password" });
    assert_eq!(platform.rest().post("/api/v1/auth/login", login).await.status, 401);
    let rows = [
        (GATEWAY, "http_server_active_requests{", None),
        (GATEWAY, "http_server_response_body_size_bytes_sum{", Some("/.well-known/openid")),
        (GATEWAY, "http_server_request_body_size_bytes_sum{", Some("/api/v1/auth/login")),
        (GATEWAY, "mainstay_endpoints{", Some("service=\"auth-svc\",state=\"ready\"} 1")),
        (GATEWAY, "mainstay_errors_total{", Some("class=\"business\"")),
        (GATEWAY, "mainstay_runtime_busy_ratio ", None),
        (auth::SERVICE, "mainstay_certificate_not_after_seconds{", Some("\"mesh\"")),
        (auth::SERVICE, "mainstay_certificate_not_after_seconds{", Some("\"mesh-authority\"")),
        (auth::SERVICE, "db_client_connection_count{", Some("\"idle\"")),
        (auth::SERVICE, "db_client_connection_wait_time_seconds_count ", None),
        (auth::SERVICE, "mainstay_outbox_oldest_age_seconds ", None),
        (auth::SERVICE, "mainstay_rpc_server_in_flight ", None),
        (auth::SERVICE, "mainstay_lease_epoch{", Some("rotate-signing-keys")),
        (auth::SERVICE, "auth_password_queue ", None),
        (auth::SERVICE, "mainstay_errors_total{", Some("class=\"panic\"} 0")),
    ];
    for (service, metric, label) in rows {
        eventually(&format!("{metric} {label:?} of {service}"), async || {
            let page = metrics(&platform, service).await;
            let mut lines = page.lines().filter(|line| line.starts_with(metric));
            lines.any(|line| label.is_none_or(|label| line.contains(label))).then_some(())
        })
        .await;
    }
    let ends = metrics(&platform, auth::SERVICE).await;
    let ends = ends.lines().find(|line| line.contains("{certificate=\"mesh\"}")).unwrap();
    let ends: f64 = ends.rsplit_once(' ').unwrap().1.parse().unwrap();
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    assert!(ends > now, "{ends} is over");
}

/// Auth and the gateway, sending their spans to `endpoint` every so many milliseconds.
async fn with_collector(endpoint: &str, every_ms: &str) -> Platform {
    with_collector_of(endpoint, every_ms, "1").await
}

/// As [`with_collector`], sending a part of the traces alone.
async fn with_collector_of(endpoint: &str, every_ms: &str, ratio: &str) -> Platform {
    let variables = [
        ("MAINSTAY_TELEMETRY__OTLP_ENDPOINT", endpoint),
        ("MAINSTAY_TELEMETRY__TRACE_RATIO", ratio),
        ("OTEL_BSP_SCHEDULE_DELAY", every_ms),
    ];
    Platform::start_services(&[auth::SERVICE, GATEWAY], &variables).await
}

async fn discover(rest: &Rest, sampled: bool) {
    let flags = u8::from(sampled);
    discover_within(rest, &format!("00-{TRACE_ID}-{CALLER_SPAN_ID}-{flags:02}")).await;
}

async fn discover_within(rest: &Rest, traceparent: &str) {
    let headers = [("traceparent", traceparent)];
    rest.send(Method::GET, DISCOVERY, &headers, Bytes::new()).await.expect(200);
}

/// The one span of the caller's trace that a service exports.
async fn one_span(collector: &Collector, service: &str) -> Exported {
    let trace_id = hex::decode(TRACE_ID).unwrap();
    let mut spans = eventually(&format!("{service} exports its span"), async || {
        let spans = collector.spans(&trace_id, service);
        (!spans.is_empty()).then_some(spans)
    })
    .await;
    assert_eq!(spans.len(), 1, "{spans:?}");
    spans.remove(0)
}

/// An endpoint at whose port nobody listens.
fn closed_endpoint() -> String {
    format!("http://{}", free_address())
}

async fn metrics(platform: &Platform, service: &str) -> String {
    let reply = platform.admin_port(service).get("/metrics").await;
    assert_eq!(reply.status, 200);
    reply.text()
}

/// The sum of a counter over the lines that have these labels.
fn total(page: &str, metric: &str, labels: &[(&str, &str)]) -> u64 {
    page.lines()
        .filter(|line| line.starts_with(&format!("{metric}{{")))
        .filter(|line| {
            labels.iter().all(|(name, value)| line.contains(&format!("{name}=\"{value}\"")))
        })
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap())
        .sum()
}

/// The names and labels of all samples.
async fn series(platform: &Platform, service: &str) -> BTreeSet<String> {
    let page = metrics(platform, service).await;
    let samples = page.lines().filter(|line| !line.starts_with('#'));
    samples.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect()
}

/// The values that the label `http_route` has.
fn routes(page: &str) -> BTreeSet<String> {
    page.lines()
        .filter_map(|line| line.split_once("http_route=\""))
        .filter_map(|(_, rest)| rest.split_once('"'))
        .map(|(route, _)| route.to_owned())
        .collect()
}
