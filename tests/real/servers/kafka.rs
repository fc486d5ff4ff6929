//! Kafka: one node, as `cargo xtask infra up` runs it.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use mainstay_testing::within;
use tempfile::TempDir;

use super::{Server, free_port, infra_folder};

/// How long a broker may take to take connections after its start, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// How the jar of the broker begins.
const BROKER_JAR: &str = "kafka_2.13-";

/// A broker on ports of its own. Dropped, it is killed.
pub(crate) struct PrivateKafka {
    server: Server,
    port: u16,
    _folder: TempDir,
}

impl PrivateKafka {
    /// Starts a new broker and waits until it takes connections.
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (port, controller) = (free_port(), free_port());
        let settings = folder.path().join("server.properties");
        std::fs::write(&settings, properties(folder.path(), port, controller)).unwrap();
        let settings = settings.display().to_string();
        let cluster = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode([7; 16]);
        Server::run(
            "java",
            &java(&[
                "kafka.tools.StorageTool",
                "format",
                "--cluster-id",
                &cluster,
                "--config",
                &settings,
            ]),
        );
        let server = Server::start("java", &java(&["kafka.Kafka", &settings]));
        let broker = Self { server, port, _folder: folder };
        broker.answers().await;
        broker
    }

    /// Where it is.
    pub(crate) fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(&mut self) {
        self.server.kill();
    }

    /// Starts it with what it has and waits until it takes connections.
    pub(crate) async fn restart(&mut self) {
        self.server.restart();
        self.answers().await;
    }

    async fn answers(&self) {
        within(PATIENCE, "kafka takes connections", async || {
            TcpStream::connect(self.brokers()).ok()
        })
        .await;
    }
}

/// The arguments of a Java program of Kafka's.
fn java(program: &[&str]) -> Vec<String> {
    let jars = jars().join("*").display().to_string();
    let fixed =
        ["-Xms128m", "-Xmx384m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", &jars];
    fixed.iter().chain(program).map(|text| (*text).to_owned()).collect()
}

/// The folder with Kafka's jars: an unpacked Kafka, or what Maven has fetched.
fn jars() -> PathBuf {
    let unpacked = std::env::var_os("KAFKA_HOME").map(|home| Path::new(&home).join("libs"));
    let fetched = std::fs::read_dir(infra_folder().join("kafka")).into_iter().flatten().flatten();
    let fetched = fetched.map(|entry| entry.path());
    let found = unpacked.into_iter().chain(fetched).find(|folder| has_broker(folder));
    found.expect("Kafka is neither unpacked nor fetched; mend: cargo xtask infra up")
}

fn has_broker(folder: &Path) -> bool {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    files
        .filter_map(|file| file.file_name().into_string().ok())
        .any(|name| name.starts_with(BROKER_JAR))
}

/// The controller lets a broker in anew only when the session has ended that it had before it was killed: a
/// short one, for there is but this one.
fn properties(folder: &Path, port: u16, controller: u16) -> String {
    let data = folder.join("data").display().to_string();
    format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.voters=1@127.0.0.1:{controller}\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
         controller.listener.names=CONTROLLER\n\
         log.dirs={data}\n\
         auto.create.topics.enable=false\n\
         offsets.topic.replication.factor=1\n\
         offsets.topic.num.partitions=4\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         group.initial.rebalance.delay.ms=0\n\
         group.min.session.timeout.ms=1000\n\
         broker.session.timeout.ms=3000\n\
         broker.heartbeat.interval.ms=500\n\
         log.cleaner.dedupe.buffer.size=33554432\n"
    )
}
