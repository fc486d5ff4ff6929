//! One service: the calls that it serves and makes, its events, jobs and sagas.

use super::board::{Board, Row, graph, row, stat};
use super::query::{
    BY_ITS_FAULT, MADE, SERVED, WAITED, failing, per_second, per_second_where, quantile, rate,
};

/// In the place of a name, in the dashboard from which the chart makes those of services of others.
pub(super) const ANY: &str = "SERVICE";

pub(super) fn board(name: &str) -> Board {
    Board {
        uid: format!("mainstay-{name}"),
        title: format!("Mainstay / Service {name}"),
        about: "Calls that it serves and makes, its events, jobs and sagas.",
        scope: format!("namespace=\"$namespace\",job=\"{name}\""),
        rows: vec![now(), served(), made(), events(), jobs(), process(name)],
    }
}

/// What a process holds; of auth its queue too, the one bottleneck that is there by intent.
fn process(name: &str) -> Row {
    let mut panels = vec![
        graph("Threads at work", "percentunit")
            .wide(8)
            .red_from(0.95)
            .about("Near 1 calls wait for threads.")
            .query("max by (instance) (mainstay_runtime_busy_ratio{@})", "{{instance}}"),
        graph("Calls being served", "short")
            .wide(8)
            .query("sum by (instance) (mainstay_rpc_server_in_flight{@})", "{{instance}}"),
        graph("Errors by class", "reqps")
            .wide(8)
            .query(rate("class", "mainstay_errors_total"), "{{class}}"),
        graph("99 % of transactions began within", "s")
            .wide(8)
            .red_from(1.0)
            .query(quantile("0.99", "", WAITED), "99 %"),
        graph("Connections to the database", "short").wide(8).query(
            "sum by (db_client_connection_state) (db_client_connection_count{@})",
            "{{db_client_connection_state}}",
        ),
    ];
    if name == "auth-svc" {
        let queue = graph("Callers who wait for a password to be hashed", "short").wide(8);
        panels.push(queue.query("sum by (instance) (auth_password_queue{@})", "{{instance}}"));
    }
    row("Process", panels)
}

fn now() -> Row {
    row(
        "Now",
        vec![
            stat("Calls", "reqps").query(per_second("", SERVED), ""),
            stat("Failing by its own fault", "percentunit")
                .red_from(0.01)
                .query(failing(SERVED, BY_ITS_FAULT), ""),
            stat("99 % answered within", "s").red_from(1.0).query(quantile("0.99", "", SERVED), ""),
            stat("Instances", "short")
                .query("count by (version) (mainstay_build_info{@})", "{{version}}"),
            stat("Settings refused", "short")
                .red_from(1.0)
                .query("max(mainstay_settings_refused{@})", ""),
            stat("Without Redis", "short").red_from(1.0).query("sum(mainstay_redis_away{@})", ""),
        ],
    )
}

fn served() -> Row {
    row(
        "Calls served",
        vec![
            graph("By method", "reqps").query(
                per_second("rpc_method", SERVED),
                "{{rpc_method}}",
            ),
            graph("By status", "reqps").query(
                per_second("rpc_response_status_code", SERVED),
                "{{rpc_response_status_code}}",
            ),
            graph("99 % answered within, by method", "s").query(
                quantile("0.99", "rpc_method", SERVED),
                "{{rpc_method}}",
            ),
            graph("By instance", "reqps")
                .about("Callers balance over instances: one that lies far off is ejected, new or overloaded.")
                .query(
                    per_second("instance", SERVED),
                    "{{instance}}",
                ),
        ],
    )
}

fn made() -> Row {
    row(
        "Calls made",
        vec![
            graph("By method", "reqps")
                .wide(8)
                .query(per_second("rpc_method", MADE), "{{rpc_method}}"),
            graph("Failed", "reqps").wide(8).query(
                per_second_where("rpc_method, rpc_response_status_code", MADE, BY_ITS_FAULT),
                "{{rpc_method}} {{rpc_response_status_code}}",
            ),
            graph("Age of what vouches for kept answers", "s")
                .wide(8)
                .red_from(1.0)
                .query("max by (watch) (mainstay_watch_age_seconds{@})", "{{watch}}"),
        ],
    )
}

fn events() -> Row {
    row(
        "Events",
        vec![
            graph("Unpublished", "short")
                .wide(8)
                .query("max(mainstay_outbox_backlog{@})", "events"),
            graph("Oldest that is unpublished", "s")
                .wide(8)
                .red_from(300.0)
                .query("max(mainstay_outbox_oldest_age_seconds{@})", "age"),
            graph("Yet to be handled", "short")
                .wide(8)
                .query("max by (consumer) (mainstay_consumer_lag{@})", "{{consumer}}"),
            graph("Attempts that failed", "reqps").wide(8).query(
                rate("consumer, code", "mainstay_consumer_retries_total"),
                "{{consumer}} {{code}}",
            ),
        ],
    )
}

fn jobs() -> Row {
    row(
        "Jobs and sagas",
        vec![
            graph("Runs", "reqps").wide(8).query(
                rate("job_name, outcome", "mainstay_job_runs_total"),
                "{{job_name}} {{outcome}}",
            ),
            graph("Oldest that is due", "s")
                .wide(8)
                .red_from(300.0)
                .query("max(mainstay_jobs_oldest_due_seconds{@})", "waiting"),
            graph("Given up or stuck", "short")
                .wide(8)
                .query("max(mainstay_jobs_failed{@})", "jobs failed for good")
                .query("max(mainstay_sagas_stuck{@})", "sagas stuck"),
        ],
    )
}
