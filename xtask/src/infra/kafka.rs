//! Apache Kafka: broker and controller in one process, without ZooKeeper (KRaft).
//!
//! No distribution packages it. Its jars come from an unpacked Kafka, by `KAFKA_HOME` or by
//! `kafka-server-start.sh` on the path, or else by Maven, which needs no root.

mod wire;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::endpoints::Endpoint;
use super::launch::Launch;
use super::program::{self, Missing, Program};
use super::server::Server;
use super::site::Site;
use crate::files::{self, Access};
use crate::terminal::Screen;

pub(crate) use wire::Broker;

/// Clients; the controller.
const PORTS: [u16; 2] = [19092, 19093];

/// Heap of a broker that a laptop can spare.
const HEAP: [&str; 2] = ["-Xms256m", "-Xmx768m"];

/// The version that Maven fetches.
const VERSION: &str = "3.9.1";

/// How the jar of the broker begins; its version follows.
const BROKER_JAR: &str = "kafka_2.13-";

/// What Maven reads. Without a logger the broker would be mute.
const PROJECT: &str = include_str!("kafka/pom.xml");

/// The Kafka server.
#[derive(Debug)]
pub(crate) struct Kafka;

impl Server for Kafka {
    fn name(&self) -> &'static str {
        "kafka"
    }

    fn title(&self) -> &'static str {
        "Kafka"
    }

    fn ports(&self) -> &'static [u16] {
        &PORTS
    }

    fn missing(&self, site: &Site) -> Option<Missing> {
        match (java(), jars(site), program::find("mvn")) {
            (Some(_), Some(_), _) | (Some(_), None, Some(_)) => None,
            (None, Some(_), _) => {
                Some(Missing::package("Java, in which Kafka is written,", "default-jre-headless"))
            }
            (_, None, _) => Some(Missing::package(
                "Maven, which fetches Kafka, or an unpacked Kafka that KAFKA_HOME names,",
                "maven default-jre-headless",
            )),
        }
    }

    fn obtain(&self, site: &Site, screen: &Screen) -> anyhow::Result<Program> {
        if let Some(found) = jars(site) {
            return Ok(found);
        }
        screen.note(&format!("fetching Kafka {VERSION} by Maven"));
        fetch(site)?;
        jars(site).context("Maven fetched no Kafka")
    }

    fn prepare(&self, site: &Site, program: &Program) -> anyhow::Result<()> {
        let folder = site.folder(self.name())?;
        let data = folder.join("data");
        let settings = folder.join("server.properties");
        files::write(&settings, properties(site, &data).as_bytes(), Access::Everybody)?;
        if data.join("meta.properties").exists() {
            return Ok(());
        }
        let launch = Launch { attached: true, ..Launch::default() };
        let mut format = launch.command(&java().context("Java is not installed")?);
        format.arg("-cp").arg(program.path.join("*"));
        format.args(["kafka.tools.StorageTool", "format", "--cluster-id", &cluster_id()]);
        format.arg("--config").arg(settings);
        program::output(&mut format).map(|_| ()).context("the data folder cannot be made")
    }

    fn command(&self, site: &Site, program: &Program) -> anyhow::Result<Command> {
        let folder = site.folder(self.name())?;
        let mut command = Launch::default().command(&java().context("Java is not installed")?);
        command
            .args(HEAP)
            .args(logging(program))
            .arg(format!("-Dkafka.logs.dir={}", folder.join("logs").display()));
        command.arg("-cp").arg(program.path.join("*"));
        command.arg("kafka.Kafka").arg(folder.join("server.properties"));
        Ok(command)
    }

    fn check(&self, site: &Site) -> anyhow::Result<()> {
        Broker::open(&site.address_of(self).to_string())?.is_ready()
    }

    fn endpoint(&self, site: &Site) -> Endpoint {
        Endpoint::brokers(site.address_of(self).to_string())
    }
}

fn java() -> Option<PathBuf> {
    let of_home = std::env::var_os("JAVA_HOME").map(|home| Path::new(&home).join("bin/java"));
    of_home.filter(|java| program::is_program(java)).or_else(|| program::find("java"))
}

/// The folder with the jars, and the version of Kafka in it.
fn jars(site: &Site) -> Option<Program> {
    let of_home = std::env::var_os("KAFKA_HOME").map(|home| Path::new(&home).join("libs"));
    let of_path = program::find("kafka-server-start.sh")
        .and_then(|script| Some(script.canonicalize().ok()?.parent()?.parent()?.join("libs")));
    [of_home, of_path].into_iter().flatten().find_map(jars_in).or_else(|| {
        let fetched = jars_in(site.path("kafka").join(format!("lib-{VERSION}")))?;
        (fetched.version == VERSION).then_some(fetched)
    })
}

fn jars_in(folder: PathBuf) -> Option<Program> {
    let version = std::fs::read_dir(&folder).ok()?.flatten().find_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let version = name.strip_prefix(BROKER_JAR)?.strip_suffix(".jar")?;
        version.starts_with(|letter: char| letter.is_ascii_digit()).then(|| version.to_owned())
    })?;
    Some(Program { path: folder, version })
}

/// Maven copies the jars beside their place, so that a half fetched folder is never taken for one.
fn fetch(site: &Site) -> anyhow::Result<()> {
    let folder = site.folder("kafka")?;
    let project = folder.join("pom.xml");
    let (target, lib) = (folder.join("fetched"), folder.join(format!("lib-{VERSION}")));
    files::write(&project, PROJECT.as_bytes(), Access::Everybody)?;
    files::remove(&target)?;
    files::remove(&lib)?;
    let maven = program::find("mvn").context("Maven is not installed")?;
    let mut command = Command::new(maven);
    command.args(["--quiet", "--batch-mode", "--file"]).arg(&project);
    command.arg("dependency:copy-dependencies");
    command.arg(format!("-DoutputDirectory={}", target.display()));
    command.arg(format!("-Dkafka.version={VERSION}"));
    program::output(&mut command)?;
    std::fs::rename(&target, &lib).context("what Maven fetched cannot be put into its place")
}

/// An unpacked Kafka brings its own logger, and the settings for it.
fn logging(program: &Program) -> Vec<String> {
    let config = program.path.with_file_name("config");
    let of_kafka =
        [("log4j2.yaml", "log4j2.configurationFile"), ("log4j.properties", "log4j.configuration")]
            .into_iter()
            .map(|(file, property)| (config.join(file), property))
            .find(|(file, _)| file.exists());
    match of_kafka {
        Some((file, property)) => vec![format!("-D{property}=file:{}", file.display())],
        None => vec![
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn".to_owned(),
            "-Dorg.slf4j.simpleLogger.showDateTime=true".to_owned(),
            "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSS".to_owned(),
        ],
    }
}

/// One node that keeps one copy. A group begins at once when its first consumer comes, and may have
/// the short session times with which tests kill consumers.
fn properties(site: &Site, data: &Path) -> String {
    let (clients, controller) = (site.address(PORTS[0]), site.address(PORTS[1]));
    let lines = [
        "process.roles=broker,controller".to_owned(),
        "node.id=1".to_owned(),
        format!("controller.quorum.voters=1@{controller}"),
        format!("listeners=PLAINTEXT://{clients},CONTROLLER://{controller}"),
        format!("advertised.listeners=PLAINTEXT://{clients}"),
        "controller.listener.names=CONTROLLER".to_owned(),
        format!("log.dirs={}", data.display()),
        "auto.create.topics.enable=false".to_owned(),
        "num.partitions=3".to_owned(),
        "offsets.topic.replication.factor=1".to_owned(),
        "offsets.topic.num.partitions=4".to_owned(),
        "transaction.state.log.replication.factor=1".to_owned(),
        "transaction.state.log.min.isr=1".to_owned(),
        "transaction.state.log.num.partitions=4".to_owned(),
        "group.initial.rebalance.delay.ms=0".to_owned(),
        "group.min.session.timeout.ms=1000".to_owned(),
        "log.cleaner.dedupe.buffer.size=33554432".to_owned(),
    ];
    format!("{}\n", lines.join("\n"))
}

/// A random id in Kafka's form: 16 bytes in 22 letters of URL-safe base64, of which the last holds
/// two bits.
fn cluster_id() -> String {
    format!("{}A", crate::credentials::password_of(21))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_brokers_jar() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str| std::fs::write(folder.path().join(name), "").unwrap();
        write("kafka-clients-3.9.1.jar");
        assert_eq!(jars_in(folder.path().to_owned()), None);
        write("kafka_2.13-4.1.0.jar");
        assert_eq!(jars_in(folder.path().to_owned()).unwrap().version, "4.1.0");
    }
}
