//! What a supervisor says about itself: `run/state.json`, written whole or not at all.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::files::{self, Access};
use crate::home::Home;
use crate::mesh::PortOffset;
use crate::observe;
use crate::process::ProcessId;
use crate::supervisor::Plan;

/// Version of the file's form; another one is not read.
const VERSION: u32 = 1;

/// The state of the platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    version: u32,
    /// The process that owns the services.
    pub(crate) supervisor: ProcessId,
    /// Where the platform is in its life.
    pub(crate) phase: Phase,
    /// How far its ports are shifted.
    pub(crate) port_offset: PortOffset,
    /// Where its binaries come from.
    pub(crate) binaries: Binaries,
    /// The file that says where the real servers are that it runs on; none for the embedded adapters.
    pub(crate) real: Option<PathBuf>,
    /// Whether its traces, logs and metrics are shown on a page.
    #[serde(default)]
    pub(crate) observe: bool,
    /// Every service, in the order in which they start.
    pub(crate) services: Vec<ServiceState>,
}

/// Where binaries come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Binaries {
    /// The folder they lie in.
    pub(crate) folder: PathBuf,
    /// Whether they are optimized.
    pub(crate) release: bool,
    /// Whether cargo builds them; a folder given by hand is taken as it is.
    pub(crate) built_here: bool,
}

/// Life of the platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    /// Services come up one wave after the other.
    Starting,
    /// All of them were ready; who dies is started again.
    Running,
    /// All of them drain.
    Stopping,
}

/// The state of one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServiceState {
    /// Its name.
    pub(crate) name: String,
    /// Its process, when it has one.
    pub(crate) process: Option<ProcessId>,
    /// Where it is in its life.
    pub(crate) phase: ServicePhase,
    /// How often it died and was started again.
    pub(crate) restarts: u32,
}

/// Life of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ServicePhase {
    /// It has no process and is not to have one now.
    Stopped,
    /// Its process has not been ready yet.
    Starting,
    /// Its process was ready.
    Ready,
    /// It died and is started again after a pause.
    BackingOff,
    /// It was told to drain.
    Draining,
}

/// What was found in the state folder.
#[derive(Debug)]
pub(crate) enum Stored {
    /// No file.
    Absent,
    /// A file that cannot be read, and why.
    Damaged(String),
    /// The last state written.
    Present(State),
}

impl State {
    /// A state at the beginning of its life.
    pub(crate) fn new(supervisor: ProcessId, plan: &Plan) -> Self {
        Self {
            version: VERSION,
            supervisor,
            phase: Phase::Starting,
            port_offset: plan.offset,
            binaries: plan.binaries.clone(),
            real: plan.real.clone(),
            observe: plan.observe,
            services: Vec::new(),
        }
    }

    /// Where the page with its traces, logs and metrics is, if it has one.
    pub(crate) fn page(&self) -> Option<String> {
        self.observe.then(|| observe::url(self.port_offset))
    }

    /// Reads the state folder.
    pub(crate) fn load(home: &Home) -> Stored {
        match std::fs::read(path(home)) {
            Ok(text) => parse(&text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Stored::Absent,
            Err(error) => Stored::Damaged(error.to_string()),
        }
    }

    /// Writes the state folder.
    pub(crate) fn save(&self, home: &Home) -> anyhow::Result<()> {
        files::write(&path(home), &serde_json::to_vec_pretty(self)?, Access::Everybody)
    }

    /// The entry of a service.
    pub(crate) fn service(&self, name: &str) -> Option<&ServiceState> {
        self.services.iter().find(|service| service.name == name)
    }
}

fn path(home: &Home) -> PathBuf {
    home.run_folder().join("state.json")
}

fn parse(text: &[u8]) -> Stored {
    match serde_json::from_slice::<State>(text) {
        Ok(state) if state.version == VERSION => Stored::Present(state),
        Ok(state) => Stored::Damaged(format!("it has form {}, not {VERSION}", state.version)),
        Err(error) => Stored::Damaged(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path().to_owned()).unwrap();
        std::fs::create_dir(home.run_folder()).unwrap();
        assert!(matches!(State::load(&home), Stored::Absent));
        let state = sample();
        state.save(&home).unwrap();
        let Stored::Present(loaded) = State::load(&home) else { panic!("saved and not there") };
        assert_eq!(loaded, state);
    }

    #[test]
    fn a_half_written_or_foreign_file_is_damaged_and_says_why() {
        let whole = serde_json::to_vec(&sample()).unwrap();
        let Stored::Damaged(why) = parse(&whole[..whole.len() / 2]) else { panic!("half is read") };
        assert!(why.contains("EOF"), "{why}");
        let Stored::Damaged(why) = parse(b"") else { panic!("nothing is read") };
        assert!(why.contains("EOF"), "{why}");
        let later = String::from_utf8(whole).unwrap().replace("\"version\":1", "\"version\":9");
        let Stored::Damaged(why) = parse(later.as_bytes()) else { panic!("form 9 is read") };
        assert!(why.contains("form 9"), "{why}");
    }

    fn sample() -> State {
        let process = ProcessId { pid: 7, started_ticks: 70 };
        let binaries =
            Binaries { folder: PathBuf::from("target/debug"), release: false, built_here: true };
        let plan = Plan {
            home: Home::at(std::env::temp_dir()).unwrap(),
            offset: PortOffset::default(),
            binaries,
            real: None,
            observe: true,
        };
        let mut state = State::new(process, &plan);
        state.services.push(ServiceState {
            name: "auth-svc".to_owned(),
            process: Some(process),
            phase: ServicePhase::BackingOff,
            restarts: 2,
        });
        state
    }
}
