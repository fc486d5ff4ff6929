//! A process that lives until it comes to a failpoint: this test executable once more, with an order.

use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::time::Duration;

use mainstay::contract;
use mainstay::kernel::database::Database;
use mainstay::kernel::failpoint::Failpoint;
use mainstay::kernel::settings::{DatabaseSettings, EventSettings};
use mainstay_testing::{INFRA_VARIABLE, die_at};
use serde::{Deserialize, Serialize};

use super::{house, trips};

/// The order of a process; where it is not set, the test below is none.
const ORDER: &str = "MAINSTAY_TEST_LIFE";

/// What precedes in a line what the process has acknowledged.
const ACKNOWLEDGED: &str = "acknowledged ";

/// The longest that a life takes, on a machine that is busy with other tests.
const LONGEST_LIFE: Duration = Duration::from_secs(60);

/// Connections to each database: to open many is what would take a short life longest.
const CONNECTIONS: u32 = 3;

/// The number of SIGKILL.
const KILLED: i32 = 9;

/// What a process is to do.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) work: Work,
    /// Which life this is, from 0.
    pub(super) life: u32,
    /// Name of the failpoint at which it ends, and at which passage of it, from 1.
    pub(super) failpoint: String,
    pub(super) passage: u32,
    pub(super) events: EventSettings,
    /// Where its two databases are.
    pub(super) first: Place,
    pub(super) second: Place,
}

/// Where a database is.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Place {
    url: String,
    schema: String,
}

impl From<DatabaseSettings> for Place {
    fn from(settings: DatabaseSettings) -> Self {
        Self { url: settings.url.expose().clone(), schema: settings.schema }
    }
}

/// What processes do.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) enum Work {
    /// Writes, relays and consumes.
    House,
    /// Moves sagas on.
    Trips,
}

impl Order {
    /// One life after the other, each ending at the failpoint: the first at its first passage, the
    /// next at the second and so on, up to `passages`. What they have acknowledged, in order.
    pub(super) async fn lives(&self, failpoint: Failpoint, passages: u32) -> Vec<String> {
        let mut acknowledged = Vec::new();
        for life in 0..super::LIVES {
            let order = Self {
                life,
                failpoint: failpoint.name().to_owned(),
                passage: 1 + life % passages,
                ..self.clone()
            };
            acknowledged.extend(order.live().await);
        }
        acknowledged
    }

    /// Starts the process and waits for its end, which must be that of its order.
    async fn live(&self) -> Vec<String> {
        let (_, module) = module_path!().split_once("::").unwrap();
        let process = tokio::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &format!("{module}::a_life_as_ordered"), "--nocapture"])
            .env(ORDER, serde_json::to_string(self).unwrap())
            .env_remove(INFRA_VARIABLE)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (life, failpoint) = (self.life, &self.failpoint);
        let ended = tokio::time::timeout(LONGEST_LIFE, process.wait_with_output()).await;
        let ended = ended.unwrap_or_else(|_| panic!("life {life} does not come to {failpoint}"));
        let ended = ended.unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.signal(), Some(KILLED), "life {life}: {}\n{said}", ended.status);
        said.lines().filter_map(|line| line.strip_prefix(ACKNOWLEDGED)).map(str::to_owned).collect()
    }
}

/// Tells whoever started the process, for good: by one write, of which a kill leaves all or nothing.
pub(super) fn acknowledge(what: &str) {
    // The standard output is the test harness's.
    std::io::stderr().write_all(format!("{ACKNOWLEDGED}{what}\n").as_bytes()).unwrap();
}

/// A database of a house.
pub(super) fn open(service: &str, place: &Place) -> Database {
    let settings = DatabaseSettings {
        url: place.url.clone().into(),
        schema: place.schema.clone(),
        max_connections: CONNECTIONS,
        ..DatabaseSettings::default()
    };
    let database = Database::open(service, &settings).unwrap();
    database.declare_events(contract::pool()).unwrap();
    database
}

#[tokio::test(flavor = "multi_thread")]
async fn a_life_as_ordered() {
    let Ok(order) = std::env::var(ORDER) else { return };
    let order: Order = serde_json::from_str(&order).unwrap();
    let failpoint = Failpoint::ALL.into_iter().find(|point| point.name() == order.failpoint);
    die_at(failpoint.unwrap(), order.passage);
    let living = async {
        match order.work {
            Work::House => house::live(&order).await,
            Work::Trips => trips::live(&order).await,
        }
    };
    tokio::time::timeout(LONGEST_LIFE, living).await.expect("it comes to its failpoint");
}
