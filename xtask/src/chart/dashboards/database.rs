//! The databases as their services see them: connections, waits for them, and what waits in tables.

use super::board::{Board, Row, graph, row};
use super::query::{WAITED, per_second, quantile};

pub(super) fn board() -> Board {
    Board {
        uid: "mainstay-database".to_owned(),
        title: "Mainstay / Database".to_owned(),
        about: "Connections of each service to its database, waits for them, and what waits in tables.",
        scope: "namespace=\"$namespace\"".to_owned(),
        rows: vec![connections(), tables()],
    }
}

fn connections() -> Row {
    row(
        "Connections",
        vec![
            graph("99 % of transactions began within", "s")
                .red_from(1.0)
                .about("How long they waited for their turn, for a connection, and to begin on it.")
                .query(
                    quantile("0.99", "job", WAITED),
                    "{{job}}",
                ),
            graph("Transactions", "reqps").query(
                per_second("job", WAITED),
                "{{job}}",
            ),
            graph("Connections in use", "short")
                .about("An instance has database.max_connections at most, 10 unless set.")
                .query(
                    "sum by (job, instance) (db_client_connection_count{@,db_client_connection_state=\"used\"})",
                    "{{job}} {{instance}}",
                ),
            graph("Connections open, of all instances", "short").query(
                "sum by (db_client_connection_state) (db_client_connection_count{@})",
                "{{db_client_connection_state}}",
            ),
        ],
    )
}

fn tables() -> Row {
    row(
        "What waits in tables",
        vec![
            graph("Oldest event that is not published", "s")
                .wide(8)
                .red_from(300.0)
                .query("max by (job) (mainstay_outbox_oldest_age_seconds{@})", "{{job}}"),
            graph("Oldest job that is due", "s")
                .wide(8)
                .red_from(300.0)
                .query("max by (job) (mainstay_jobs_oldest_due_seconds{@})", "{{job}}"),
            graph("Claims of the job last run", "short")
                .wide(8)
                .about("It grows fast where runs lose their leases.")
                .query("max by (job, lease) (mainstay_lease_epoch{@})", "{{job}} {{lease}}"),
        ],
    )
}
