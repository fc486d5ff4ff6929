//! `cargo xtask infra`, with servers of its own beside those of the run.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::port::is_free;

/// Redis starts at once, PostgreSQL runs as another user.
const SERVERS: [(&str, u16); 2] = [("postgres", 15432), ("redis", 16379)];

struct Machine {
    folder: tempfile::TempDir,
    offset: u16,
}

#[test]
fn servers_come_up_once_survive_their_command_and_go_down() {
    let machine = Machine::new();
    let said = machine.run(&["up", "--only", "postgres,redis"]);
    assert!(said.contains("Redis") && said.contains("PostgreSQL"), "{said}");
    let first = machine.rows();
    assert!(first.iter().all(|row| row["state"] == "ready"), "{first:?}");
    machine.run(&["up", "--only", "postgres,redis"]);
    assert_eq!(machine.pids(), pids(&first), "those that run are left alone");

    machine.kill("redis");
    assert_eq!(machine.row("redis")["state"], "stopped");
    machine.run(&["up", "--only", "redis"]);
    assert_eq!(machine.row("redis")["state"], "ready");
    assert_eq!(machine.row("postgres")["pid"], first[0]["pid"]);

    let infra = machine.home().join("infra/infra.json");
    assert_eq!(infra.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let stated: Value = serde_json::from_slice(&std::fs::read(&infra).unwrap()).unwrap();
    let port = (SERVERS[0].1 + machine.offset).to_string();
    assert!(stated["postgres"]["url"].as_str().unwrap().contains(&port), "{stated}");
    assert_eq!(stated["kafka"], Value::Null);

    let said = machine.run(&["down"]);
    assert!(said.contains("Redis, PostgreSQL stopped"), "in the reverse order: {said}");
    assert!(!infra.exists());
    assert!(machine.ports_are_free());
    assert_eq!(machine.run(&["down"]).trim(), "No server was running.");
}

#[test]
fn a_port_in_use_is_named_and_nothing_is_left() {
    let machine = Machine::new();
    let _taken = TcpListener::bind(("127.0.0.1", SERVERS[1].1 + machine.offset)).unwrap();
    let output = machine.infra(&["up", "--only", "redis"]);
    assert!(!output.status.success());
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("of Redis is in use by"), "{error}");
    assert!(error.contains("--port-offset"), "{error}");
    assert_eq!(machine.row("redis")["state"], "stopped");
}

impl Machine {
    fn new() -> Self {
        // Beside the servers of the run and those of other stories, below the ports that connections are given.
        let offset = (10_000..16_000)
            .step_by(50)
            .map(|offset| offset + u16::try_from(std::process::id() % 50).unwrap())
            .find(|offset| SERVERS.iter().all(|(_, port)| is_free(port + offset)));
        let folder = tempfile::tempdir().unwrap();
        Self { folder, offset: offset.expect("some ports are free") }
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn infra(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_xtask"))
            .arg("infra")
            .args(args)
            .env("MAINSTAY_HOME", self.home())
            .env("MAINSTAY_PORT_OFFSET", self.offset.to_string())
            .output()
            .unwrap()
    }

    fn run(&self, args: &[&str]) -> String {
        let output = self.infra(args);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn rows(&self) -> Vec<Value> {
        let rows: Vec<Value> = serde_json::from_str(&self.run(&["status", "--json"])).unwrap();
        rows.into_iter()
            .filter(|row| SERVERS.iter().any(|(server, _)| row["server"] == *server))
            .collect()
    }

    fn row(&self, server: &str) -> Value {
        self.rows().into_iter().find(|row| row["server"] == server).unwrap()
    }

    fn pids(&self) -> Vec<Value> {
        pids(&self.rows())
    }

    /// Kills a server, and waits until it is gone.
    fn kill(&self, server: &str) {
        let pid = self.row(server)["pid"].to_string();
        assert!(Command::new("kill").args(["-9", &pid]).status().unwrap().success());
        let deadline = Instant::now() + Duration::from_secs(10);
        while !self.row(server)["pid"].is_null() {
            assert!(Instant::now() < deadline, "{server} does not die");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn ports_are_free(&self) -> bool {
        SERVERS.iter().all(|(_, port)| is_free(port + self.offset))
    }
}

impl Drop for Machine {
    /// A story that failed leaves nothing either.
    fn drop(&mut self) {
        self.infra(&["down"]);
    }
}

fn pids(rows: &[Value]) -> Vec<Value> {
    rows.iter().map(|row| row["pid"].clone()).collect()
}
