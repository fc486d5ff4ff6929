//! A Redis of a test's own, to be killed, stalled and restarted.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::ports::free_address;
use crate::wait::eventually;

/// The password of the server.
const PASSWORD: &str = "correct-horse-battery-staple";

/// How long the server may take to answer a probe.
const PATIENCE: Duration = Duration::from_secs(1);

/// A server on a free port of its own. Dropped, it is killed.
pub struct PrivateRedis {
    folder: TempDir,
    address: SocketAddr,
    child: Option<Child>,
}

impl PrivateRedis {
    /// Starts a server that keeps what it has across a restart.
    ///
    /// # Panics
    /// If there is no `redis-server` on the path, or it does not start.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("the machine takes temporary folders");
        let mut server = Self { folder, address: free_address(), child: None };
        server.restart().await;
        server
    }

    /// Where it is: `redis://:password@host:port`.
    pub fn url(&self) -> String {
        format!("redis://:{PASSWORD}@{}", self.address)
    }

    /// Kills it as a crash would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // A stopped process is killed as well.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again where it was, with what it had, and waits until it answers.
    pub async fn restart(&mut self) {
        self.kill();
        let log = std::fs::File::create(self.folder.path().join("log")).expect("a log");
        let port = self.address.port().to_string();
        let options = [
            ["--port", &port],
            ["--bind", "127.0.0.1"],
            ["--requirepass", PASSWORD],
            ["--appendonly", "yes"],
            ["--appendfsync", "always"],
            ["--save", ""],
        ];
        let child = Command::new("redis-server")
            .args(options.as_flattened())
            .arg("--dir")
            .arg(self.folder.path())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(Stdio::null())
            .spawn();
        self.child = Some(child.expect("redis-server is installed: cargo xtask infra up says how"));
        eventually("redis answers", async || self.answers().then_some(())).await;
    }

    /// Stops it from doing anything; its connections stay open.
    pub fn stall(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Makes it forget everything.
    pub fn flush(&self) {
        let answer = self.ask("FLUSHALL");
        assert!(answer.as_deref().is_some_and(|answer| answer.contains("+OK")), "{answer:?}");
    }

    /// The names of what it holds, by a pattern of `KEYS`.
    pub fn keys(&self, pattern: &str) -> Vec<String> {
        let answer = self.ask(&format!("KEYS {pattern}")).unwrap_or_default();
        let lines = answer.lines().filter(|line| !line.starts_with(['+', '*', '$']));
        lines.map(str::to_owned).collect()
    }

    /// How many times it has read from its connections since it was started: what comes together is
    /// read together.
    ///
    /// # Panics
    /// If it does not say.
    pub fn reads(&self) -> u64 {
        let answer = self.ask("INFO stats").unwrap_or_default();
        let stated = answer.lines().find_map(|line| line.strip_prefix("total_reads_processed:"));
        stated.and_then(|count| count.trim().parse().ok()).expect("redis counts its reads")
    }

    fn answers(&self) -> bool {
        self.ask("PING").is_some_and(|answer| answer.contains("+PONG"))
    }

    /// What it answers to a login and one command of words without spaces.
    fn ask(&self, command: &str) -> Option<String> {
        let mut connection = TcpStream::connect_timeout(&self.address, PATIENCE).ok()?;
        connection.set_read_timeout(Some(PATIENCE)).ok()?;
        let text = format!("AUTH {PASSWORD}\r\n{command}\r\nQUIT\r\n");
        connection.write_all(text.as_bytes()).ok()?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("a server that runs");
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("an own process takes signals");
    }
}

impl Drop for PrivateRedis {
    fn drop(&mut self) {
        self.kill();
    }
}
