//! Somebody edits the database file; verification names the first record at which it shows.

use audit_svc::config::Config;
use audit_svc::domain::{Hash, Head, Record};
use chrono::DateTime;
use mainstay::kernel::database::Database;
use mainstay::kernel::settings::Transport;
use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbBackend, QueryResult, Statement};

use crate::harness::{Audit, by_actor, config, parcel};

/// How many records the actor of these stories leaves; those of the services' starts come before.
const PARCELS: usize = 6;

/// What somebody does to the file, as SQL. `{n}` is the place of the newest record.
const EDITS: &[(&str, &[&str], Shows)] = &[
    ("nothing", &[], Shows::Nowhere),
    (
        "changes who did it",
        &["UPDATE audit_event SET actor = 'user:0' WHERE sequence = 3"],
        Shows::At(3),
    ),
    (
        "changes details",
        &["UPDATE audit_event SET details = '{\"a\":1}' WHERE sequence = 5"],
        Shows::At(5),
    ),
    (
        "changes the time",
        &["UPDATE audit_event SET time = time + 1 WHERE sequence = {n}"],
        Shows::AtNewest,
    ),
    (
        "changes the first",
        &["UPDATE audit_event SET outcome = 'OK ' WHERE sequence = 1"],
        Shows::At(1),
    ),
    (
        "changes a hash",
        &["UPDATE audit_event SET hash = previous_hash WHERE sequence = 4"],
        Shows::At(4),
    ),
    ("breaks a hash", &["UPDATE audit_event SET hash = 'none' WHERE sequence = 4"], Shows::At(4)),
    ("breaks a time", &["UPDATE audit_event SET time = 'noon' WHERE sequence = 4"], Shows::At(4)),
    ("removes the first", &["DELETE FROM audit_event WHERE sequence = 1"], Shows::At(2)),
    ("removes one", &["DELETE FROM audit_event WHERE sequence = 3"], Shows::At(4)),
    ("removes some", &["DELETE FROM audit_event WHERE sequence IN (3, 4)"], Shows::At(5)),
    ("removes the newest", &["DELETE FROM audit_event WHERE sequence = {n}"], Shows::AtNewest),
    ("removes the tail", &["DELETE FROM audit_event WHERE sequence > 3"], Shows::AtNewest),
    ("removes all", &["DELETE FROM audit_event"], Shows::AtNewest),
    (
        "swaps two",
        &[
            "UPDATE audit_event SET sequence = -1 WHERE sequence = 3",
            "UPDATE audit_event SET sequence = 3 WHERE sequence = 4",
            "UPDATE audit_event SET sequence = 4 WHERE sequence = -1",
        ],
        Shows::At(3),
    ),
    (
        "inserts one",
        &[
            "UPDATE audit_event SET sequence = -sequence - 1 WHERE sequence >= 4",
            "UPDATE audit_event SET sequence = -sequence WHERE sequence < 0",
            "INSERT INTO audit_event SELECT 4, 'forged', time, actor, action, resource, outcome, \
             request_id, trace_id, source, details, hash, previous_hash FROM audit_event \
             WHERE sequence = 3",
        ],
        Shows::At(4),
    ),
    (
        "appends one",
        &[
            "INSERT INTO audit_event SELECT {n} + 1, 'forged', time, actor, action, resource, outcome, \
           request_id, trace_id, source, details, hash, hash FROM audit_event WHERE sequence = {n}",
        ],
        Shows::BehindNewest,
    ),
    ("removes the head", &["DELETE FROM chain_head"], Shows::At(1)),
    ("changes the head", &["UPDATE chain_head SET record_id = 'x'"], Shows::AtNewest),
    (
        "sets the head back",
        &["UPDATE chain_head SET sequence = 3, hash = (SELECT hash FROM audit_event WHERE \
           sequence = 3), record_id = (SELECT id FROM audit_event WHERE sequence = 3)"],
        Shows::At(4),
    ),
];

/// Where a verification finds the edit.
#[derive(Clone, Copy, Debug)]
enum Shows {
    Nowhere,
    At(i64),
    AtNewest,
    BehindNewest,
}

#[tokio::test(flavor = "multi_thread")]
async fn verification_names_the_first_broken_record() {
    for (edit, statements, shows) in EDITS {
        let trail = Trail::begin().await;
        // A column of numbers takes text on SQLite alone.
        if *edit == "breaks a time" && !trail.is_sqlite() {
            continue;
        }
        let newest = trail.place_of_newest().await;
        let newest_id = trail.id_at(newest).await;
        for statement in *statements {
            trail.edit(&statement.replace("{n}", &newest.to_string())).await;
        }
        let sequence = match shows {
            Shows::Nowhere => 0,
            Shows::At(sequence) => *sequence,
            Shows::AtNewest => newest,
            Shows::BehindNewest => newest + 1,
        };
        let found = trail.audit.verify().await;
        assert_eq!(found.intact, sequence == 0, "{edit}: {found:?}");
        assert_eq!(found.first_broken_sequence, sequence, "{edit}: {found:?}");
        assert_eq!(found.reason.is_empty(), found.intact, "{edit}: {found:?}");
        if found.intact {
            assert_eq!(found.verified_records, newest, "{edit}");
            continue;
        }
        assert!(found.verified_records < sequence, "{edit}: {found:?}");
        let expected = trail.try_id_at(sequence).await.unwrap_or(newest_id);
        assert_eq!(found.first_broken_id, expected, "{edit}: {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_replaced_together_with_its_hash_breaks_the_next() {
    let trail = Trail::begin().await;
    let row = trail.row("SELECT * FROM audit_event WHERE sequence = 3").await;
    let forged = Record { actor: "user:somebody-else".to_owned(), ..record_in(&row) };
    let hash = Hash::parse(&row.try_get::<String>("", "previous_hash").unwrap()).unwrap();
    let entry = Head { sequence: 2, hash, record_id: String::new() }.extend(forged);
    let (actor, hash) = (&entry.record.actor, entry.hash);
    trail
        .edit(&format!(
            "UPDATE audit_event SET actor = '{actor}', hash = '{hash}' WHERE sequence = 3"
        ))
        .await;
    let found = trail.audit.verify().await;
    assert_eq!((found.intact, found.first_broken_sequence), (false, 4), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_refuses_to_change_or_remove_records() {
    let trail = Trail::begin_guarded(config()).await;
    for statement in [
        "UPDATE audit_event SET actor = 'user:0' WHERE sequence = 3",
        "DELETE FROM audit_event WHERE sequence = 3",
    ] {
        let error = trail.database.execute_unprepared(statement).await.unwrap_err();
        assert!(error.to_string().contains("audit records are never"), "{error}");
    }
    assert!(trail.audit.verify().await.intact);
}

/// A trail with some records, and its database file opened behind audit's back.
pub struct Trail {
    pub audit: Audit,
    pub database: DatabaseConnection,
}

impl Trail {
    /// A trail whose guards somebody has dropped.
    async fn begin() -> Self {
        Self::begin_with(config()).await
    }

    pub async fn begin_with(config: Config) -> Self {
        let trail = Self::begin_guarded(config).await;
        let of_table = if trail.is_sqlite() { "" } else { " ON audit_event" };
        trail.edit(&format!("DROP TRIGGER audit_event_no_update{of_table}")).await;
        trail.edit(&format!("DROP TRIGGER audit_event_no_delete{of_table}")).await;
        trail
    }

    async fn begin_guarded(config: Config) -> Self {
        let audit = Audit::begin_with(Transport::Grpc, config).await;
        let events = (0..PARCELS).map(|number| parcel("user:1", number as i64)).collect();
        audit.happen(events).await;
        audit.recorded(&by_actor("user:1"), PARCELS).await;
        let settings = audit.mesh.database_settings("audit-svc");
        let database = Database::open("audit-svc", &settings).unwrap().connection().clone();
        Self { audit, database }
    }

    pub fn is_sqlite(&self) -> bool {
        self.database.get_database_backend() == DbBackend::Sqlite
    }

    pub async fn edit(&self, statement: &str) {
        self.database.execute_unprepared(statement).await.unwrap();
    }

    pub async fn place_of_newest(&self) -> i64 {
        let row = self.row("SELECT max(sequence) AS newest FROM audit_event").await;
        row.try_get("", "newest").unwrap()
    }

    pub async fn id_at(&self, sequence: i64) -> String {
        self.try_id_at(sequence).await.unwrap()
    }

    async fn try_id_at(&self, sequence: i64) -> Option<String> {
        let query = format!("SELECT id FROM audit_event WHERE sequence = {sequence}");
        let statement = Statement::from_string(self.database.get_database_backend(), query);
        let row = self.database.query_one_raw(statement).await.unwrap()?;
        Some(row.try_get("", "id").unwrap())
    }

    pub async fn row(&self, query: &str) -> QueryResult {
        let statement = Statement::from_string(self.database.get_database_backend(), query);
        self.database.query_one_raw(statement).await.unwrap().unwrap()
    }
}

/// The record that a row of the trail holds.
pub(crate) fn record_in(row: &QueryResult) -> Record {
    let text = |column: &str| row.try_get::<String>("", column).unwrap();
    Record {
        id: text("id"),
        time: DateTime::from_timestamp_micros(row.try_get("", "time").unwrap()).unwrap(),
        actor: text("actor"),
        action: text("action"),
        resource: text("resource"),
        outcome: text("outcome"),
        request_id: text("request_id"),
        trace_id: text("trace_id"),
        source: text("source"),
        details: text("details"),
    }
}
