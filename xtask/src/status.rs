//! `status`: every service as it is now: process, ports, readiness, memory.

use std::process::ExitCode;

use serde::Serialize;

use crate::home::Home;
use crate::mesh::{PortOffset, SERVICES, Service};
use crate::probe::{self, Readiness};
use crate::state::{ServicePhase, State, Stored};
use crate::{process, standing, summary};

/// One service, as `--json` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Row {
    /// Name of the service.
    pub(crate) service: &'static str,
    /// Its process; `null` when it has none.
    pub(crate) pid: Option<i32>,
    /// Its port.
    pub(crate) port: u16,
    /// Port of health, readiness and metrics.
    pub(crate) admin_port: u16,
    /// `ready`, `not_ready`, `starting`, `backing_off`, `draining` or `stopped`.
    pub(crate) state: &'static str,
    /// Resident memory in bytes; `null` when it has no process.
    pub(crate) memory_bytes: Option<u64>,
    /// How often it died and was started again since `up`.
    pub(crate) restarts: u32,
}

/// Prints the status. That nothing runs is an answer, not a failure.
pub(crate) fn run(home: &Home, json: bool) -> anyhow::Result<ExitCode> {
    let stored = standing::running(home)?;
    let state = match &stored {
        Some(Stored::Present(state)) => Some(state),
        _ => None,
    };
    let rows = rows(state);
    if json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        println!("{}\n{}", table(&rows), verdict(home, stored.as_ref()));
    }
    Ok(ExitCode::SUCCESS)
}

/// Every service; all of them stopped when there is no state.
pub(crate) fn rows(state: Option<&State>) -> Vec<Row> {
    let mut services: Vec<&'static Service> = SERVICES.iter().collect();
    services.sort_by_key(|service| service.port);
    services.into_iter().map(|service| row(service, state)).collect()
}

fn row(service: &'static Service, state: Option<&State>) -> Row {
    let offset = state.map_or(PortOffset::default(), |state| state.port_offset);
    let entry = state.and_then(|state| state.service(service.name));
    let process = entry.and_then(|entry| entry.process).filter(|process| process.is_alive());
    let phase = entry.map_or(ServicePhase::Stopped, |entry| entry.phase);
    Row {
        service: service.name,
        pid: process.map(|process| process.pid),
        port: service.address(offset).port(),
        admin_port: service.admin_address(offset).port(),
        state: word(phase, || probe::readiness(service.admin_address(offset))),
        memory_bytes: process.map(|process| process::resident_bytes(process.pid)),
        restarts: entry.map_or(0, |entry| entry.restarts),
    }
}

/// A service that was ready once is asked whether it is now.
fn word(phase: ServicePhase, readiness: impl FnOnce() -> Readiness) -> &'static str {
    match phase {
        ServicePhase::Stopped => "stopped",
        ServicePhase::Starting => "starting",
        ServicePhase::BackingOff => "backing_off",
        ServicePhase::Draining => "draining",
        ServicePhase::Ready if readiness() == Readiness::Ready => "ready",
        ServicePhase::Ready => "not_ready",
    }
}

fn table(rows: &[Row]) -> String {
    let mut lines = vec![format!(
        "{:<14}{:>8}{:>7}{:>8}  {:<12}{:>9}{:>10}",
        "SERVICE", "PID", "PORT", "ADMIN", "STATE", "MEMORY", "RESTARTS"
    )];
    for row in rows {
        lines.push(format!(
            "{:<14}{:>8}{:>7}{:>8}  {:<12}{:>9}{:>10}",
            row.service,
            row.pid.map_or("-".to_owned(), |pid| pid.to_string()),
            row.port,
            row.admin_port,
            row.state,
            row.memory_bytes.map_or("-".to_owned(), summary::mebibytes),
            row.restarts
        ));
    }
    lines.join("\n")
}

fn verdict(home: &Home, stored: Option<&Stored>) -> String {
    match stored {
        None => match State::load(home) {
            Stored::Absent => "Mainstay is not running: cargo xtask up".to_owned(),
            _ => "Mainstay is not running; its supervisor was killed: `cargo xtask up` or `cargo \
                  xtask down` mends what it left"
                .to_owned(),
        },
        Some(Stored::Present(state)) => {
            let on =
                state.real.as_ref().map(|infra| format!(", on the servers of {}", infra.display()));
            let page = state.page().map(|page| format!("\ntraces, logs and metrics: {page}"));
            format!(
                "supervisor pid {}, state in {}{}{}",
                state.supervisor.pid,
                home.root().display(),
                on.unwrap_or_default(),
                page.unwrap_or_default()
            )
        }
        Some(Stored::Absent) => "Mainstay is about to start".to_owned(),
        Some(Stored::Damaged(why)) => format!(
            "a supervisor runs and its state file is damaged ({why})\nmend: cargo xtask down"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_state_every_service_is_stopped() {
        let rows = rows(None);
        assert_eq!(rows.len(), SERVICES.len());
        assert_eq!(rows[0].service, "gateway");
        assert!(rows.iter().all(|row| row.state == "stopped" && row.pid.is_none()));
    }

    #[test]
    fn ready_is_asked_for_now() {
        assert_eq!(word(ServicePhase::Ready, || Readiness::Ready), "ready");
        assert_eq!(word(ServicePhase::Ready, || Readiness::Silent), "not_ready");
        assert_eq!(word(ServicePhase::Starting, || panic!("not asked")), "starting");
    }
}
