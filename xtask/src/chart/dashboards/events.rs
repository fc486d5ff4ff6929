//! Events and work beyond a call, of all services: outbox, consumers, dead letters, jobs, sagas.

use super::board::{Board, Row, graph, row, stat};
use super::query::rate;

pub(super) fn board() -> Board {
    Board {
        uid: "mainstay-events".to_owned(),
        title: "Mainstay / Events and jobs".to_owned(),
        about: "What waits to be published, to be handled, to be decided about or to be run.",
        scope: "namespace=\"$namespace\"".to_owned(),
        rows: vec![published(), handled(), jobs()],
    }
}

fn published() -> Row {
    row(
        "Published",
        vec![
            graph("Events in the outbox, by service", "short")
                .wide(24)
                .red_from(100.0)
                .query("max by (job) (mainstay_outbox_backlog{@})", "{{job}}"),
        ],
    )
}

fn handled() -> Row {
    row(
        "Handled",
        vec![
            graph("Events that a consumer has yet to handle", "short")
                .red_from(1000.0)
                .query("max by (consumer) (mainstay_consumer_lag{@})", "{{consumer}}"),
            graph("Consumers that take events", "short")
                .about("1 while any instance takes events, 0 while none does.")
                .query("max by (consumer) (mainstay_consumer_up{@})", "{{consumer}}"),
            graph("Attempts that failed and are made again", "reqps").query(
                rate("consumer, code", "mainstay_consumer_retries_total"),
                "{{consumer}} {{code}}",
            ),
            graph("Events that wait for their next attempt", "short")
                .query("sum by (consumer) (mainstay_consumer_waiting{@})", "{{consumer}}"),
            graph("Dead letters", "short")
                .wide(24)
                .about("mainstayctl dlq list shows them, and what can be done.")
                .query(
                    "sum by (consumer) (increase(mainstay_dead_letters_total{@}[15m]))",
                    "{{consumer}}",
                ),
        ],
    )
}

fn jobs() -> Row {
    row(
        "Jobs and sagas",
        vec![
            graph("Runs by outcome", "reqps").query(
                rate("job, job_name, outcome", "mainstay_job_runs_total"),
                "{{job}} {{job_name}} {{outcome}}",
            ),
            graph("Oldest job that is due", "s")
                .red_from(300.0)
                .query("max by (job) (mainstay_jobs_oldest_due_seconds{@})", "{{job}}"),
            stat("Jobs failed for good", "short")
                .red_from(1.0)
                .query("sum(max by (job) (mainstay_jobs_failed{@}))", ""),
            stat("Sagas stuck", "short")
                .red_from(1.0)
                .query("sum(max by (job) (mainstay_sagas_stuck{@}))", ""),
        ],
    )
}
