//! A service without a relay: change data capture reads its outbox from the database's log.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use mainstay::contract;
use mainstay::contract::identity;
use mainstay::kernel::database::Database;
use mainstay::kernel::events::prune_captured;
use mainstay::kernel::settings::DatabaseSettings;
use mainstay_testing::{Databases, within};
use rustix::process::{Pid, Signal, kill_process};
use sea_orm::{ConnectionTrait as _, DatabaseConnection};

use crate::servers::postgres::PrivatePostgres;
use crate::world::{outbox, publish, updated};

/// What makes the server keep in its log what a capture needs.
const LOGICAL: &[&str] = &["wal_level=logical"];

/// How long a process may take to begin, and to end.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn rows_go_when_they_are_old_and_somebody_reads_the_log() {
    let (_server, databases, settings) = identity_database();
    let database = open(&settings).await;
    publish(&database, &[updated("u1", "early")]).await;
    assert_eq!(prune_captured(&database, Duration::ZERO).await.unwrap(), 0);
    assert_eq!(outbox(&database).await.len(), 1, "nobody else has the event");

    let capture = Capture::begin(&databases.admin_url()).await;
    publish(&database, &[updated("u1", "late")]).await;
    assert_eq!(prune_captured(&database, Duration::from_secs(3600)).await.unwrap(), 0);
    assert_eq!(outbox(&database).await.len(), 2, "a capture that begins anew finds them");

    assert_eq!(prune_captured(&database, Duration::ZERO).await.unwrap(), 2);
    assert_eq!(outbox(&database).await, []);
    let inserted = capture.inserted().await;
    assert_eq!(inserted.len(), 1, "since the capture began: {inserted:?}");
    for column in ["aggregatetype[text]:'identity.users'", "aggregateid[text]:'u1'"] {
        assert!(inserted[0].contains(column), "{column} is not in {}", inserted[0]);
    }
}

#[tokio::test]
async fn a_service_without_a_relay_leaves_its_events_to_the_capture() {
    let (_server, databases, settings) = identity_database();
    let database = open(&settings).await;
    let capture = Capture::begin(&databases.admin_url()).await;
    publish(&database, &[updated("u1", "x")]).await;
    let folder = tempfile::tempdir().unwrap();
    let mut process = mainstay_testing::command(mainstay_testing::binary(identity::SERVICE))
        .current_dir(&folder)
        .env("MAINSTAY_TLS__MODE", "plaintext")
        .env("MAINSTAY_LISTEN", "127.0.0.1:0")
        .env("MAINSTAY_ADMIN_LISTEN", "127.0.0.1:0")
        .env("MAINSTAY_DATABASE__URL", settings.url.expose())
        .env("MAINSTAY_DATABASE__SCHEMA", &settings.schema)
        .env("MAINSTAY_EVENTS__RELAY", "false")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    within(PATIENCE, "the service declares itself", async || {
        (outbox(&database).await.len() > 1).then_some(())
    })
    .await;
    // A relay would publish what is due before it ends.
    kill_process(Pid::from_child(&process), Signal::TERM).unwrap();
    let ended = within(PATIENCE, "the end", async || process.try_wait().unwrap()).await;
    assert!(ended.success(), "{ended}");
    let waiting = outbox(&database).await;
    assert_eq!(waiting[0].subject, "u1", "{waiting:?}");
    assert_eq!(capture.inserted().await.len(), waiting.len());
}

fn identity_database() -> (PrivatePostgres, Databases, DatabaseSettings) {
    let server = PrivatePostgres::start_with(LOGICAL);
    let databases = Databases::on_postgres(&server.url());
    let settings = databases.settings(identity::SERVICE, Path::new("unused"));
    (server, databases, settings)
}

async fn open(settings: &DatabaseSettings) -> Database {
    let database = Database::open(identity::SERVICE, settings).unwrap();
    database.declare_events(contract::pool()).unwrap();
    database.migrate(Vec::new()).await.unwrap();
    database
}

/// Reads the log as Debezium does, by a replication slot.
struct Capture(DatabaseConnection);

impl Capture {
    async fn begin(url: &str) -> Self {
        let connection = sea_orm::Database::connect(url).await.unwrap();
        let create = "SELECT pg_create_logical_replication_slot('capture', 'test_decoding')";
        connection.execute_unprepared(create).await.unwrap();
        Self(connection)
    }

    /// The rows of the outbox that were inserted since it began, also those that are gone.
    async fn inserted(&self) -> Vec<String> {
        let peek = "SELECT data FROM pg_logical_slot_peek_changes('capture', NULL, NULL) \
                    WHERE data LIKE 'table %identity.outbox: INSERT:%'";
        let statement = sea_orm::Statement::from_string(sea_orm::DbBackend::Postgres, peek);
        let rows = self.0.query_all_raw(statement).await.unwrap();
        rows.iter().map(|row| row.try_get("", "data").unwrap()).collect()
    }
}
