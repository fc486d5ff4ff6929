//! The gateway: requests, what it refuses, what it asks of services, what it keeps.

use super::board::{Board, Row, graph, row, stat, table};
use super::query::{
    MADE, REQUESTS, answered_by_kept, highest, per_second, quantile, rate, rate_where,
};

pub(super) fn board() -> Board {
    Board {
        uid: "mainstay-gateway".to_owned(),
        title: "Mainstay / Gateway".to_owned(),
        about: "Requests by route, what is refused, calls to services, and kept answers.",
        scope: "namespace=\"$namespace\",job=\"gateway\"".to_owned(),
        rows: vec![requests(), refused(), upstream(), kept()],
    }
}

fn requests() -> Row {
    row(
        "Requests",
        vec![
            graph("Requests by route", "reqps").query(
                highest(12, &per_second("http_request_method, http_route", REQUESTS)),
                "{{http_request_method}} {{http_route}}",
            ),
            graph("Requests by status", "reqps").query(
                per_second("http_response_status_code", REQUESTS),
                "{{http_response_status_code}}",
            ),
            graph("Requests being answered", "short").query(
                "sum by (http_request_method) (http_server_active_requests{@})",
                "{{http_request_method}}",
            ),
            graph("Bytes in and out", "Bps")
                .query(rate("", "http_server_request_body_size_bytes_sum"), "requests")
                .query(rate("", "http_server_response_body_size_bytes_sum"), "replies"),
            graph("Durations", "s")
                .percentiles(REQUESTS),
            graph("Slowest routes, 99 %", "s").query(
                highest(8, &quantile("0.99", "http_request_method, http_route", REQUESTS)),
                "{{http_request_method}} {{http_route}}",
            ),
            table("Routes that failed in an hour", "short").wide(24).query(
                "sum by (http_request_method, http_route, http_response_status_code) (increase(http_server_request_duration_seconds_count{@,http_response_status_code=~\"5..\"}[1h])) > 0",
                "",
            ),
        ],
    )
}

fn refused() -> Row {
    row(
        "Refused",
        vec![
            graph("Over the limit", "reqps")
                .about("Of a class in shadow calls are counted and let through: enforced is false.")
                .query(
                    rate("class, enforced", "gateway_over_limit_total"),
                    "{{class}}, enforced {{enforced}}",
                ),
            graph("Refused, by policy and reason", "reqps").wide(24).query(
                highest(12, &rate("policy, reason", "mainstay_rejections_total")),
                "{{policy}} {{reason}}",
            ),
            graph("Requests refused, by status", "reqps").query(
                rate_where(
                    "http_response_status_code",
                    &format!("{REQUESTS}_count"),
                    "http_response_status_code=~\"4..\"",
                ),
                "{{http_response_status_code}}",
            ),
        ],
    )
}

fn upstream() -> Row {
    row(
        "Calls to services",
        vec![
            graph("Calls by status", "reqps").query(
                per_second("rpc_response_status_code", MADE),
                "{{rpc_response_status_code}}",
            ),
            graph("99 % answered within, by method", "s")
                .query(highest(8, &quantile("0.99", "rpc_method", MADE)), "{{rpc_method}}"),
        ],
    )
}

fn kept() -> Row {
    row(
        "What is kept",
        vec![
            graph("Answered by what is kept", "percentunit")
                .wide(8)
                .query(answered_by_kept("cache"), "{{cache}}"),
            graph("Age of what vouches for it", "s")
                .wide(8)
                .red_from(1.0)
                .about("Above 1 s nothing kept is used, and each question is asked.")
                .query("max by (watch) (mainstay_watch_age_seconds{@})", "{{watch}}"),
            graph("Done without Redis", "reqps")
                .wide(8)
                .query(rate("purpose", "mainstay_redis_fallbacks_total"), "{{purpose}}"),
            stat("Certificate refused", "short")
                .red_from(1.0)
                .query("max(mainstay_certificate_refused{@})", ""),
            stat("Settings refused", "short")
                .red_from(1.0)
                .query("max(mainstay_settings_refused{@})", ""),
            stat("Without Redis", "short").red_from(1.0).query("sum(mainstay_redis_away{@})", ""),
        ],
    )
}
