//! PostgreSQL.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::free_port;

/// How long the server may take to answer after its start.
const PATIENCE: Duration = Duration::from_secs(30);

/// A PostgreSQL server in a folder of its own. Dropped, it is killed.
pub(crate) struct PrivatePostgres {
    folder: tempfile::TempDir,
    binaries: PathBuf,
    port: u16,
    settings: &'static [&'static str],
    child: Option<Child>,
}

impl PrivatePostgres {
    /// Starts a new server and waits until it answers.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// As [`Self::start`], with settings such as `wal_level=logical`.
    pub(crate) fn start_with(settings: &'static [&'static str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (binaries, port) = (binaries(), free_port());
        let mut server = Self { folder, binaries, port, settings, child: None };
        let data = server.data();
        std::fs::create_dir(&data).unwrap();
        if runs_as_root() {
            assert!(Command::new("chown").arg("postgres").arg(&data).status().unwrap().success());
            let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(server.folder.path(), open).unwrap();
        }
        let initialized = server.command("initdb").args(["-U", "postgres", "-A", "trust"]).output();
        let initialized = initialized.unwrap();
        assert!(initialized.status.success(), "{}", String::from_utf8_lossy(&initialized.stderr));
        server.launch();
        server
    }

    /// Starts it with the data it has and waits until it answers.
    pub(crate) fn launch(&mut self) {
        let mut command = self.command("postgres");
        command.args(["-h", "127.0.0.1", "-c", "unix_socket_directories="]);
        command.args(["-p", &self.port.to_string()]);
        self.settings.iter().for_each(|setting| {
            command.args(["-c", setting]);
        });
        self.child = Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let deadline = Instant::now() + PATIENCE;
        while !self.is_ready() {
            assert!(Instant::now() < deadline, "PostgreSQL does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn is_ready(&self) -> bool {
        let mut ask = Command::new(self.binaries.join("pg_isready"));
        ask.args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()]);
        ask.status().unwrap().success()
    }

    /// Ends the server as a power cut would; its processes end with their parent.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Where it is, for its administrator.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// One of the server's programs on its data; they refuse to run as root.
    fn command(&self, program: &str) -> Command {
        let program = self.binaries.join(program);
        let mut command = match runs_as_root() {
            true => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
                command.arg(program);
                command
            }
            false => Command::new(program),
        };
        command.current_dir("/").arg("-D").arg(self.data());
        command
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The newest version's programs where Debian puts them.
fn binaries() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("apt-get install postgresql");
    let mut folders: Vec<_> = versions.map(|entry| entry.unwrap().path().join("bin")).collect();
    folders.sort();
    folders.pop().expect("apt-get install postgresql")
}

fn runs_as_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}
