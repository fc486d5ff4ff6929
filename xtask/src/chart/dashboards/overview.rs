//! The platform at a glance: is anybody hit, by how much, and where to look.

use super::board::{Board, Row, graph, map, row, stat, table};
use super::query::{
    BY_ITS_FAULT, FAILED, MADE, REQUESTS, SERVED, WAITED, any, failing, highest, per_second,
    per_second_where, quantile, share,
};

pub(super) fn board() -> Board {
    Board {
        uid: "mainstay-overview".to_owned(),
        title: "Mainstay / Overview".to_owned(),
        about: "Requests at the edge, the error budget, every service, and who calls whom.",
        scope: "namespace=\"$namespace\"".to_owned(),
        rows: vec![edge(), budget(), services(), calls(), stuck()],
    }
}

fn edge() -> Row {
    let requests = per_second("", REQUESTS);
    row(
        "At the edge",
        vec![
            stat("Requests", "reqps").query(requests, ""),
            stat("Failing", "percentunit").red_from(0.01).query(
                failing(REQUESTS, FAILED),
                "",
            ),
            stat("99 % answered within", "s").red_from(1.0).query(
                quantile("0.99", "", REQUESTS),
                "",
            ),
            stat("Budget left of 30 days", "percentunit")
                .about("Of the failures that the target allows in 30 days, the part that is left; below 0 the target is missed.")
                .query(
                    "1 - ((sum(increase(http_server_request_duration_seconds_count{@,http_response_status_code=~\"5..\"}[30d])) or vector(0)) / sum(increase(http_server_request_duration_seconds_count{@}[30d]))) / (1 - $target)",
                    "",
                ),
            stat("Instances", "short").query("count(mainstay_build_info{@})", ""),
            stat("Services without an instance that answers", "short")
                .red_from(1.0)
                .about("Services of which Prometheus knows instances, none of which it can read.")
                .query("count(max by (job) (up{@}) == 0) or vector(0)", ""),
            graph("Requests by status", "reqps").wide(8).query(
                per_second("http_response_status_code", REQUESTS),
                "{{http_response_status_code}}",
            ),
            graph("Routes that fail", "reqps").wide(8).query(
                highest(8, &per_second_where("http_request_method, http_route", REQUESTS, FAILED)),
                "{{http_request_method}} {{http_route}}",
            ),
            graph("Durations", "s")
                .wide(8)
                .percentiles(REQUESTS),
        ],
    )
}

fn budget() -> Row {
    row(
        "Error budget: how many times as fast as the target allows it is used up (of the recording rules)",
        vec![
            graph("Edge", "none")
                .red_from(14.4)
                .about(
                    "14.4 for an hour and 6 for six hours page, 1 for three days makes a ticket.",
                )
                .query("mainstay:edge_errors:ratio_rate1h{@} / (1 - $target)", "1 h")
                .query("mainstay:edge_errors:ratio_rate6h{@} / (1 - $target)", "6 h")
                .query("mainstay:edge_errors:ratio_rate3d{@} / (1 - $target)", "3 days"),
            graph("Each service, over 1 h", "none")
                .red_from(14.4)
                .query("mainstay:service_errors:ratio_rate1h{@} / (1 - $target)", "{{job}}"),
        ],
    )
}

fn services() -> Row {
    row(
        "Services",
        vec![
            graph("Calls", "reqps").wide(8).query(per_second("job", SERVED), "{{job}}"),
            graph("Calls that fail by the service's fault", "percentunit").wide(8).query(
                share(&per_second_where("job", SERVED, BY_ITS_FAULT), &per_second("job", SERVED)),
                "{{job}}",
            ),
            graph("99 % answered within", "s")
                .wide(8)
                .query(quantile("0.99", "job", SERVED), "{{job}}"),
        ],
    )
}

fn calls() -> Row {
    row(
        "Who calls whom",
        vec![
            map("Calls between services", "reqps")
                .about("Who is called is read from the contract's package: mainstay.auth.v1 is auth-svc.")
                .named(
                    "nodes",
                    "label_replace(sum by (job) (rate(rpc_server_call_duration_seconds_count{@}[$__rate_interval])) or sum by (job) (rate(http_server_request_duration_seconds_count{@}[$__rate_interval])) or 0 * sum by (job) (mainstay_build_info{@}), \"id\", \"$1\", \"job\", \"(.*)\")",
                )
                .named(
                    "edges",
                    "label_join(sum by (source, target) (label_replace(label_replace(rate(rpc_client_call_duration_seconds_count{@}[$__rate_interval]), \"source\", \"$1\", \"job\", \"(.*)\"), \"target\", \"$1-svc\", \"rpc_method\", \"[a-z0-9_]+[.]([a-z0-9_]+)[.].*\")) and on (target) label_replace(mainstay_build_info{@}, \"target\", \"$1\", \"job\", \"(.*)\"), \"id\", \"-\", \"source\", \"target\")",
                ),
            table("Calls a second", "reqps").query(
                any(&per_second("job, rpc_method", MADE)),
                "",
            ),
        ],
    )
}

fn stuck() -> Row {
    row(
        "What is stuck",
        vec![
            stat("Events unpublished", "short")
                .red_from(100.0)
                .query("sum(max by (job) (mainstay_outbox_backlog{@}))", ""),
            stat("Oldest event unpublished", "s")
                .red_from(300.0)
                .query("max(mainstay_outbox_oldest_age_seconds{@})", ""),
            stat("Instances left out by callers", "short")
                .red_from(1.0)
                .query("sum(max by (service) (mainstay_endpoints{@,state=\"ejected\"}))", ""),
            stat("First certificate ends in", "s")
                .query("min(mainstay_certificate_not_after_seconds{@} - time())", ""),
            stat("Panics in a day", "short")
                .red_from(1.0)
                .query("sum(increase(mainstay_errors_total{@,class=\"panic\"}[1d]))", ""),
            stat("Busiest process", "percentunit")
                .red_from(0.95)
                .query("max(mainstay_runtime_busy_ratio{@})", ""),
            stat("Slowest to a connection, 99 %", "s")
                .red_from(1.0)
                .query(format!("max({})", quantile("0.99", "job", WAITED)), ""),
            stat("Consumers down", "short")
                .red_from(1.0)
                .query("count(max by (consumer) (mainstay_consumer_up{@}) == 0) or vector(0)", ""),
            stat("Dead letters in a day", "short")
                .red_from(1.0)
                .query("sum(increase(mainstay_dead_letters_total{@}[1d])) or vector(0)", ""),
            stat("Oldest job due", "s")
                .red_from(300.0)
                .query("max(mainstay_jobs_oldest_due_seconds{@})", ""),
            stat("Sagas stuck", "short")
                .red_from(1.0)
                .query("sum(max by (job) (mainstay_sagas_stuck{@}))", ""),
            stat("Processes without Redis", "short")
                .red_from(1.0)
                .query("sum(mainstay_redis_away{@})", ""),
        ],
    )
}
