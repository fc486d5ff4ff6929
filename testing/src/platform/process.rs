//! One process of the platform.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use rustix::process::{Pid, Signal, kill_process};

use crate::ports::free_address;
use crate::rest::Rest;

/// How long a process may take until it is ready, on a machine that is busy with other tests.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// How long a process may take to drain.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// How often it is looked whether a process is ready or gone.
const INTERVAL: Duration = Duration::from_millis(20);

/// How many times other ports are tried when somebody took those that were free.
const LAUNCHES: u32 = 3;

/// Lines of a log that a failing test shows.
const LAST_LINES: usize = 40;

/// A process with its ports, its settings and its log.
pub(super) struct Process {
    service: &'static str,
    binary: PathBuf,
    log: PathBuf,
    /// Where in the log the lines of the child begin: those before are of others on the same ports.
    log_begin: usize,
    variables: Vec<(String, String)>,
    address: SocketAddr,
    admin_address: SocketAddr,
    child: Option<Child>,
}

impl Process {
    /// Starts a process on free ports.
    pub(super) fn launched(
        service: &'static str,
        binary: &str,
        folder: &Path,
        variables: Vec<(String, String)>,
    ) -> Self {
        let mut process = Self {
            service,
            binary: self::binary(binary),
            log: folder.join(format!("{service}.log")),
            log_begin: 0,
            variables,
            address: free_address(),
            admin_address: free_address(),
            child: None,
        };
        process.launch();
        process
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// Whether it was started and neither killed nor stopped.
    pub(super) fn runs(&self) -> bool {
        self.child.is_some()
    }

    /// Its id among the machine's processes, if it runs.
    pub(super) fn id(&mut self) -> Option<u32> {
        if self.exit_status().is_some() {
            return None;
        }
        self.child.as_ref().map(Child::id)
    }

    /// Starts the process on the ports it has.
    pub(super) fn launch(&mut self) {
        self.log_begin = self.log().len();
        let log = OpenOptions::new().create(true).append(true).open(&self.log);
        let log = log.expect("the test folder takes a log");
        let errors = log.try_clone().expect("a file can be shared");
        let mut command = command(&self.binary);
        command
            .env("MAINSTAY_LISTEN", self.address.to_string())
            .env("MAINSTAY_ADMIN_LISTEN", self.admin_address.to_string())
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors);
        self.child = Some(command.spawn().expect("a built binary starts"));
    }

    /// Waits until the process is ready. If somebody took its ports, it starts on others.
    pub(super) async fn ready(&mut self) {
        for _ in 0..LAUNCHES {
            if self.became_ready().await {
                return;
            }
            self.address = free_address();
            self.admin_address = free_address();
            self.launch();
        }
        panic!("{} found no free ports\n{}", self.service, self.last_lines());
    }

    /// Kills it as a crash would.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Asks it to end and waits until it has; panics if it does not end in order.
    pub(super) async fn stop(&mut self) {
        self.terminate();
        let status = self.exited().await;
        assert!(status.success(), "{}: {status}\n{}", self.service, self.last_lines());
    }

    /// Asks it to end.
    pub(super) fn terminate(&self) {
        let child = self.child.as_ref().expect("a process that runs");
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, Signal::TERM).expect("an own process takes signals");
    }

    /// Waits until it has ended; panics if it does not.
    pub(super) async fn exited(&mut self) -> ExitStatus {
        let deadline = Instant::now() + STOP_PATIENCE;
        loop {
            if let Some(status) = self.exit_status() {
                self.child = None;
                return status;
            }
            if Instant::now() > deadline {
                panic!("{} does not end\n{}", self.service, self.last_lines());
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The end of the log under the service's name.
    pub(super) fn last_lines(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
        format!("--- log of {} ---\n{}", self.service, last.join("\n"))
    }

    /// `false` if it ended because its address was in use; panics if it ended for another reason.
    async fn became_ready(&mut self) -> bool {
        let admin = Rest::new(self.admin_address);
        let deadline = Instant::now() + START_PATIENCE;
        loop {
            if let Some(status) = self.exit_status() {
                let log = self.last_lines();
                assert!(log.contains("in use"), "{} ended: {status}\n{log}", self.service);
                return false;
            }
            let reply = admin.try_send(Method::GET, "/readyz", &[], Bytes::new()).await;
            if reply.is_ok_and(|reply| reply.status == 200) && self.listens() {
                return true;
            }
            if Instant::now() > deadline {
                panic!("{} is not ready\n{}", self.service, self.last_lines());
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Whether it says so itself: a process of another test may have taken the port just before, and
    /// answers as this one would.
    fn listens(&self) -> bool {
        let (log, address) = (self.log(), self.admin_address.to_string());
        let mut lines = log.get(self.log_begin..).unwrap_or_default().lines();
        lines.any(|line| line.contains("admin_address") && line.contains(&address))
    }

    fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.try_wait().expect("an own process can be waited for")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The path of a binary of the workspace: the folder above that of the test executable.
///
/// # Panics
/// If it is not built.
pub fn binary(name: &str) -> PathBuf {
    let executable = std::env::current_exe().expect("a test has a path");
    let folder = executable.ancestors().nth(2).expect("tests lie in target/<profile>/deps");
    let path = folder.join(name);
    assert!(path.is_file(), "{} is missing: run cargo build --workspace first", path.display());
    path
}

/// A command without any setting that this process was given: what the environment of a test run
/// says is for the test, and a service refuses a variable that it does not know.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("MAINSTAY_") {
            command.env_remove(name);
        }
    }
    command
}
