//! `infra status`: every server as it is now.

use serde::Serialize;

use super::record::Record;
use super::server::{SERVERS, Server};
use super::site::Site;
use crate::home::Home;
use crate::{process, summary};

/// One server, as `--json` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Row {
    /// Name of the server.
    server: &'static str,
    /// Its version; `null` when it does not run.
    version: Option<String>,
    /// Its process; `null` when it does not run.
    pid: Option<i32>,
    /// Where clients reach it.
    address: String,
    /// `ready`, `not_ready`, `stopped` or `missing`.
    state: &'static str,
    /// Resident memory in bytes, its child processes not counted; `null` when it does not run.
    memory_bytes: Option<u64>,
    /// Why it is not ready, or how it is installed.
    note: Option<String>,
}

/// Prints the status. That nothing runs is an answer, not a failure.
pub(crate) fn run(home: &Home, json: bool) -> anyhow::Result<()> {
    let site = Site::open(home, None)?;
    let rows: Vec<Row> = SERVERS.iter().map(|server| row(&site, *server)).collect();
    if json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        println!("{}", table(&rows));
    }
    Ok(())
}

fn row(site: &Site, server: &dyn Server) -> Row {
    let Some(record) = Record::running(site, server.name()) else { return absent(site, server) };
    let site = site.with_offset(record.port_offset);
    let answer = server.check(&site);
    Row {
        server: server.name(),
        version: Some(record.version),
        pid: Some(record.process.pid),
        address: site.address_of(server).to_string(),
        state: if answer.is_ok() { "ready" } else { "not_ready" },
        memory_bytes: Some(process::resident_bytes(record.process.pid)),
        note: answer.err().map(|error| format!("{error:#}")),
    }
}

fn absent(site: &Site, server: &dyn Server) -> Row {
    let missing = server.missing(site);
    Row {
        server: server.name(),
        version: None,
        pid: None,
        address: site.address_of(server).to_string(),
        state: if missing.is_some() { "missing" } else { "stopped" },
        memory_bytes: None,
        note: missing.map(|missing| missing.to_string()),
    }
}

fn table(rows: &[Row]) -> String {
    let mut lines = vec![format!(
        "{:<10}{:>10}{:>9}  {:<17}{:<11}{:>10}",
        "SERVER", "VERSION", "PID", "ADDRESS", "STATE", "MEMORY"
    )];
    for row in rows {
        lines.push(format!(
            "{:<10}{:>10}{:>9}  {:<17}{:<11}{:>10}",
            row.server,
            row.version.as_deref().unwrap_or("-"),
            row.pid.map_or("-".to_owned(), |pid| pid.to_string()),
            row.address,
            row.state,
            row.memory_bytes.map_or("-".to_owned(), summary::mebibytes),
        ));
    }
    for row in rows {
        lines.extend(row.note.iter().map(|note| format!("{}: {note}", row.server)));
    }
    lines.join("\n")
}
