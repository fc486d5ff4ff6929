//! A member of a consumer group in a process of its own, which can be killed.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use mainstay::contract;
use mainstay::kernel::database::Database;
use mainstay::kernel::events::Start;
use mainstay::kernel::settings::{DatabaseSettings, EventSettings};

use crate::world::{CreateNotes, World, note_taker};

/// What the process is to do; where it is not set, the test below is none.
const ORDER: &str = "MAINSTAY_TEST_MEMBER";

/// Takes notes of events until it is killed.
pub(super) struct MemberProcess(Child);

impl MemberProcess {
    /// Starts one; all of a world share its database and its group.
    pub(super) fn start(world: &World, settings: &EventSettings) -> Self {
        let order = serde_json::json!({ "database": database_url(world), "settings": settings });
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kafka::member::a_member_takes_notes", "--nocapture"])
            .env(ORDER, order.to_string())
            .stdout(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    /// Kills it at once, as a crash would.
    pub(super) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for MemberProcess {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The database of the members.
pub(super) async fn database(world: &World) -> Database {
    std::fs::create_dir_all(world.file("data")).unwrap();
    open(&database_url(world)).await
}

fn database_url(world: &World) -> String {
    format!("sqlite://{}?mode=rwc", world.file("data/members.db").display())
}

async fn open(url: &str) -> Database {
    let settings = DatabaseSettings { url: url.to_owned().into(), ..DatabaseSettings::default() };
    let database = Database::open("audit-svc", &settings).unwrap();
    database.declare_events(contract::pool()).unwrap();
    database.migrate(vec![Box::new(CreateNotes)]).await.unwrap();
    database
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_takes_notes() {
    let Ok(order) = std::env::var(ORDER) else { return };
    let order: serde_json::Value = serde_json::from_str(&order).unwrap();
    let settings: EventSettings = serde_json::from_value(order["settings"].clone()).unwrap();
    let database = open(order["database"].as_str().unwrap()).await;
    let start = Start {
        service: "audit-svc",
        database: Some(database.clone()),
        bus: mainstay::kernel::events::open_bus(&settings, &Default::default()).unwrap(),
        pool: contract::pool(),
        settings: &settings,
    };
    let _worker = note_taker(&database).start(start).unwrap();
    let parent = std::os::unix::process::parent_id();
    // Ends with the test that started it, whatever becomes of that.
    while Path::new(&format!("/proc/{parent}")).exists() {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
}
