//! A PostgreSQL server of the story's own is killed under load and comes back: nothing that was
//! acknowledged is lost, and nobody has to restart a service.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mainstay::contract;
use mainstay::kernel::Error;
use mainstay::kernel::database::Database;
use mainstay_testing::{Databases, within};
use tonic::Code;

use crate::suite_relay::MemoryBus;
use crate::world::{CreateNotes, World, eventually, note, notes, updated};

/// How long a service may take to serve again after the server's return.
const RECOVERY: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_under_load_costs_nothing_that_was_acknowledged() {
    let world = World::new();
    let mut server = Server::start(&[]);
    let databases = Databases::on_postgres(&server.url());
    let settings = databases.settings("identity-svc", Path::new("unused"));
    let database = Database::open("identity-svc", &settings).unwrap();
    database.declare_events(contract::pool()).unwrap();
    database.migrate(vec![Box::new(CreateNotes)]).await.unwrap();
    let bus = MemoryBus::default();
    let _relay = world.relay(&database, bus.clone());

    let mut acknowledged = Vec::new();
    for number in 0..50 {
        write(&database, number).await.unwrap();
        acknowledged.push(number.to_string());
    }
    server.kill();
    for number in 50..53 {
        let error = write(&database, number).await.unwrap_err();
        assert_eq!(error.code().grpc, Code::Unavailable, "{error:?}");
    }
    server.launch();
    let begin = Instant::now();
    within(RECOVERY, "the service writes again", async || write(&database, 53).await.ok()).await;
    acknowledged.push("53".to_owned());
    println!("writes again after {:?}", begin.elapsed());

    let kept = notes(&database).await;
    assert!(acknowledged.iter().all(|number| kept.contains(number)), "{kept:?}");
    eventually("every event", async || {
        let texts = bus.texts("u1");
        acknowledged.iter().all(|number| texts.contains(number)).then_some(())
    })
    .await;
}

async fn write(database: &Database, number: u32) -> Result<(), Error> {
    let transaction = database.begin().await?;
    note(&transaction, &number.to_string()).await?;
    transaction.publish(&updated("u1", number)).await?;
    transaction.commit().await
}

/// A PostgreSQL server in a folder of its own.
pub(crate) struct Server {
    folder: tempfile::TempDir,
    binaries: PathBuf,
    port: u16,
    settings: &'static [&'static str],
    child: Option<Child>,
}

impl Server {
    /// A server with these settings, such as `wal_level=logical`.
    pub(crate) fn start(settings: &'static [&'static str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let mut server = Self { folder, binaries: binaries(), port, settings, child: None };
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

    fn launch(&mut self) {
        let mut command = self.command("postgres");
        command.args(["-h", "127.0.0.1", "-c", "unix_socket_directories="]);
        command.args(["-p", &self.port.to_string()]);
        self.settings.iter().for_each(|setting| {
            command.args(["-c", setting]);
        });
        self.child = Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let deadline = Instant::now() + RECOVERY;
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
    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// As its administrator.
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

impl Drop for Server {
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
