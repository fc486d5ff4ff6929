//! What is kept about a server that runs: `run/<name>.json`.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use super::program::{Program, last_lines};
use super::server::Server;
use super::site::Site;
use crate::files::{self, Access};
use crate::process::ProcessId;

/// How long a server may take to end.
const STOP_PATIENCE: Duration = Duration::from_secs(45);

/// How much of a log is looked at for its last lines.
const TAIL_BYTES: u64 = 16 * 1024;

/// How many last lines of its log explain why a server did not start.
const TAIL_LINES: usize = 15;

/// A log larger than this is set aside when its server starts.
const MAX_LOG_BYTES: u64 = 16 * 1024 * 1024;

/// A running server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Its process, told from a later one of the same id.
    pub(crate) process: ProcessId,
    /// Its version.
    pub(crate) version: String,
    /// How far its ports are shifted.
    pub(crate) port_offset: u16,
}

/// A server that was started and has not answered yet.
#[derive(Debug)]
pub(crate) struct Starting {
    /// Which.
    pub(crate) server: &'static dyn Server,
    child: Child,
}

impl Record {
    /// The record of a server, if it runs.
    pub(crate) fn running(site: &Site, name: &str) -> Option<Self> {
        let text = std::fs::read(site.record_file(name)).ok()?;
        // A file that cannot be read is of no use; a server that holds the port is told by the check
        // of the ports.
        let record: Self = serde_json::from_slice(&text).ok()?;
        record.process.is_alive().then_some(record)
    }

    /// Starts a server and keeps who it is.
    pub(crate) fn start(
        site: &Site,
        server: &'static dyn Server,
        program: &Program,
    ) -> anyhow::Result<Starting> {
        let log = log(&site.log_file(server.name()))?;
        let child = server
            .command(site, program)?
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} cannot be started", server.title()))?;
        let process = ProcessId::of(child.id()).context("/proc does not show the server")?;
        let record = Self { process, version: program.version.clone(), port_offset: site.offset() };
        let text = serde_json::to_vec_pretty(&record)?;
        files::write(&site.record_file(server.name()), &text, Access::Owner)?;
        Ok(Starting { server, child })
    }

    /// Ends the server in order, or by force when it does not.
    pub(crate) fn stop(&self, site: &Site, server: &dyn Server) -> anyhow::Result<()> {
        self.process.signal(server.stop_signal());
        if !self.process.wait_gone(STOP_PATIENCE) {
            eprintln!("{} did not end within {STOP_PATIENCE:?}: killed", server.title());
            self.process.signal(Signal::KILL);
            if !self.process.wait_gone(STOP_PATIENCE) {
                bail!("{} (pid {}) cannot be killed", server.title(), self.process.pid);
            }
        }
        files::remove(&site.record_file(server.name()))
    }

    /// Name, version, address, process and folder, for people.
    pub(crate) fn sentence(&self, site: &Site, server: &dyn Server) -> String {
        format!(
            "{} {} at {}, pid {}, data in {}",
            server.title(),
            self.version,
            site.with_offset(self.port_offset).address_of(server),
            self.process.pid,
            site.path(server.name()).display()
        )
    }
}

impl Starting {
    /// How the process ended, if it did.
    pub(crate) fn ended(&mut self) -> anyhow::Result<Option<String>> {
        Ok(self.child.try_wait()?.map(|status| format!("ended while starting ({status})")))
    }

    /// Removes the record of a process that ended.
    pub(crate) fn forget(&self, site: &Site) -> anyhow::Result<()> {
        files::remove(&site.record_file(self.server.name()))
    }
}

/// The last lines of a log.
pub(crate) fn tail(log: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(log)?;
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(size.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    last_lines(&read().unwrap_or_default(), TAIL_LINES)
}

fn log(path: &Path) -> anyhow::Result<File> {
    if path.metadata().is_ok_and(|data| data.len() > MAX_LOG_BYTES) {
        std::fs::rename(path, path.with_extension("log.1"))?;
    }
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("log {} cannot be written", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::Home;

    #[test]
    fn a_record_counts_only_while_its_very_process_lives() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path().to_owned()).unwrap();
        let site = Site::open(&home, Some(0)).unwrap();
        let write = |process: ProcessId| {
            let record = Record { process, version: "1.0".to_owned(), port_offset: 0 };
            let text = serde_json::to_vec(&record).unwrap();
            std::fs::write(site.record_file("redis"), text).unwrap();
        };
        assert_eq!(Record::running(&site, "redis"), None);
        let own = ProcessId::own().unwrap();
        write(own);
        assert_eq!(Record::running(&site, "redis").unwrap().process, own);
        write(ProcessId { started_ticks: own.started_ticks - 1, ..own });
        assert_eq!(Record::running(&site, "redis"), None);
        std::fs::write(site.record_file("redis"), "{\"proc").unwrap();
        assert_eq!(Record::running(&site, "redis"), None);
    }
}
