//! A state folder, ports of its own, and the xtask binary.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::port::is_free;

const BINARIES: [&str; 6] =
    ["authz-svc", "audit-svc", "identity-svc", "billing-svc", "auth-svc", "mainstay-gateway"];
const PORTS: [u16; 6] = [8080, 8081, 8082, 8083, 8084, 8092];
/// Those of `--observe`.
const OBSERVER_PORTS: [u16; 2] = [8070, 8071];
/// How many offsets stories choose from.
const OFFSETS: u16 = 130;

/// Two stories at a time would make each other's start slow, and could take each other's ports.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

pub(crate) struct Platform {
    folder: tempfile::TempDir,
    offset: u16,
    bin_dir: Option<PathBuf>,
    environment: Vec<(String, String)>,
    _turn: MutexGuard<'static, ()>,
}

/// What a command said.
pub(crate) struct Said {
    pub(crate) success: bool,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Platform {
    /// Services are stand-ins.
    pub(crate) fn of_stand_ins() -> Self {
        let mut platform = Self::of_services();
        let bin_dir = platform.folder.path().join("bin");
        std::fs::create_dir(&bin_dir).unwrap();
        let stand_in = target_folder().join("examples/stand_in");
        assert!(stand_in.is_file(), "no {}: cargo build --examples", stand_in.display());
        for binary in BINARIES {
            std::os::unix::fs::symlink(&stand_in, bin_dir.join(binary)).unwrap();
        }
        platform.bin_dir = Some(bin_dir);
        platform
    }

    /// Services are the real ones, as last built.
    pub(crate) fn of_services() -> Self {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        Self {
            folder: tempfile::tempdir().unwrap(),
            offset: free_offset(),
            bin_dir: None,
            environment: Vec::new(),
            _turn: turn,
        }
    }

    /// How a stand-in behaves.
    pub(crate) fn behave(&mut self, service: &str, behaviour: &str) {
        let variable = format!("STAND_IN_{}", service.to_uppercase().replace('-', "_"));
        self.environment.push((variable, behaviour.to_owned()));
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub(crate) fn port(&self, port: u16) -> u16 {
        port + self.offset
    }

    /// An xtask command on this state folder.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command
            .args(args)
            .env_remove("MAINSTAY_TEST_INFRA")
            .env("MAINSTAY_HOME", self.home())
            .env("MAINSTAY_PORT_OFFSET", self.offset.to_string())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    /// `up`, with the binaries of this story.
    pub(crate) fn up_command(&self, args: &[&str]) -> Command {
        let mut command = self.command(&["up", "--no-build"]);
        command.args(args);
        if let Some(bin_dir) = &self.bin_dir {
            command.arg("--bin-dir").arg(bin_dir);
        }
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Said {
        self.said(&mut self.command(args))
    }

    pub(crate) fn up_detached(&self) -> Said {
        self.said(&mut self.up_command(&["--detach"]))
    }

    /// What a command says until it ends.
    pub(crate) fn said(&self, command: &mut Command) -> Said {
        said(command.output().unwrap())
    }

    /// Up, or the story ends here.
    pub(crate) fn must_come_up(&self) -> Said {
        let said = self.up_detached();
        assert!(said.success, "{}\n{}", said.out, said.err);
        said
    }

    pub(crate) fn status(&self) -> Vec<Value> {
        let said = self.run(&["status", "--json"]);
        assert!(said.success, "{}", said.err);
        serde_json::from_str(&said.out).unwrap()
    }

    /// A service's row of the status.
    pub(crate) fn row(&self, service: &str) -> Value {
        let rows = self.status();
        rows.into_iter().find(|row| row["service"] == service).unwrap()
    }

    pub(crate) fn pid(&self, service: &str) -> i32 {
        i32::try_from(self.row(service)["pid"].as_i64().expect("it has a process")).unwrap()
    }

    /// The supervisor's process, from the state file.
    pub(crate) fn supervisor_pid(&self) -> i32 {
        let state = std::fs::read(self.home().join("run/state.json")).unwrap();
        let state: Value = serde_json::from_slice(&state).unwrap();
        i32::try_from(state["supervisor"]["pid"].as_i64().unwrap()).unwrap()
    }

    /// No process, port or lock is left.
    pub(crate) fn assert_nothing_is_left(&self, pids: &[i32]) {
        for pid in pids {
            assert!(!is_alive(*pid), "process {pid} is left");
        }
        for port in PORTS {
            for port in [self.port(port), self.port(port) + 10_000] {
                assert!(is_free(port), "somebody still listens on port {port}");
            }
        }
        assert!(!self.home().join("run").exists(), "the run folder is left");
        assert!(self.status().iter().all(|row| row["state"] == "stopped"));
    }
}

impl Drop for Platform {
    /// A story that failed leaves nothing either.
    fn drop(&mut self) {
        self.run(&["down"]);
    }
}

pub(crate) fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not happen within 20 s");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

pub(crate) fn kill(pid: i32, signal: &str) {
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

pub(crate) fn target_folder() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_xtask")).parent().unwrap().to_owned()
}

fn said(output: Output) -> Said {
    Said {
        success: output.status.success(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// An offset whose ports are free now, below those that connections are given. Stories of other checkouts
/// begin at another place.
fn free_offset() -> u16 {
    let begin = u16::try_from(std::process::id() % u32::from(OFFSETS)).unwrap();
    (0..OFFSETS)
        .map(|tried| 1000 + (begin + tried) % OFFSETS * 100)
        .find(|offset| {
            PORTS
                .iter()
                .flat_map(|port| [port + offset, port + offset + 10_000])
                .chain(OBSERVER_PORTS.iter().map(|port| port + offset))
                .all(is_free)
        })
        .expect("some ports are free")
}
