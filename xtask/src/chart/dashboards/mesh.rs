//! The mesh: calls between services as their callers see them, and what callers keep.

use super::board::{Board, Row, graph, row, table};
use super::query::{
    BY_ITS_FAULT, MADE, SERVED, answered_by_kept, any, mean, per_second, per_second_where,
    quantile, rate,
};

pub(super) fn board() -> Board {
    Board {
        uid: "mainstay-mesh".to_owned(),
        title: "Mainstay / Mesh".to_owned(),
        about: "Calls between services as their callers see them, retries included.",
        scope: "namespace=\"$namespace\"".to_owned(),
        rows: vec![calls(), instances(), kept()],
    }
}

fn calls() -> Row {
    row(
        "Calls",
        vec![
            graph("By caller", "reqps").query(
                per_second("job", MADE),
                "{{job}}",
            ),
            graph("That fail by the callee's fault, by caller and method", "reqps").query(
                any(&per_second_where("job, rpc_method, rpc_response_status_code", MADE, BY_ITS_FAULT)),
                "{{job}} {{rpc_method}} {{rpc_response_status_code}}",
            ),
            graph("99 % answered within, by caller", "s").query(
                quantile("0.99", "job", MADE),
                "{{job}}",
            ),
            graph("What the way costs", "s")
                .about("The mean that callers measure less the mean that services measure, of the same methods: network, queues, retries.")
                .query(
                    format!("{} - {}", mean("rpc_method", MADE), mean("rpc_method", SERVED)),
                    "{{rpc_method}}",
                ),
            table("Calls a second", "reqps").wide(24).query(
                any(&per_second("job, rpc_method, rpc_response_status_code", MADE)),
                "",
            ),
        ],
    )
}

fn instances() -> Row {
    row(
        "Instances, as their callers see them",
        vec![
            graph("That take calls", "short")
                .about("The fewest that any caller sees.")
                .query("min by (service) (mainstay_endpoints{@,state=\"ready\"})", "{{service}}"),
            graph("That are left out or tried again", "short").red_from(1.0).query(
                "sum by (job, service, state) (mainstay_endpoints{@,state!=\"ready\"}) > 0",
                "{{job}}: {{service}} {{state}}",
            ),
            graph("Calls refused before they were made", "reqps").query(
                rate("job, policy, reason", "mainstay_rejections_total"),
                "{{job}} {{policy}} {{reason}}",
            ),
            table("Time until certificates end", "s").query(
                "min by (job, certificate) (mainstay_certificate_not_after_seconds{@}) - time()",
                "",
            ),
        ],
    )
}

fn kept() -> Row {
    row(
        "What callers keep",
        vec![
            graph("Answered by what is kept", "percentunit")
                .query(answered_by_kept("job, cache"), "{{job}} {{cache}}"),
            graph("Age of what vouches for it", "s")
                .red_from(1.0)
                .query("max by (job, watch) (mainstay_watch_age_seconds{@})", "{{job}} {{watch}}"),
            graph("Streams of changes that broke", "reqps")
                .query(rate("job, watch", "mainstay_watch_broken_total"), "{{job}} {{watch}}"),
            graph("Kept answers dropped", "reqps")
                .query(rate("job, cache", "mainstay_kept_drops_total"), "{{job}} {{cache}}"),
        ],
    )
}
