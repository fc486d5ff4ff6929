//! How matters stand on a state folder, and the mending of what a killed supervisor left.
//!
//! A process counts as ours only when it can be proved: each service is started with the state
//! folder in one variable of its environment, which `/proc` shows. What cannot be proved is left
//! alone; if it is in the way, the check of the ports names it.

use std::time::Duration;

use rustix::process::Signal;

use crate::files;
use crate::home::{Home, HomeLock};
use crate::process::{self, ProcessId};
use crate::state::{State, Stored};

/// The variable that marks a service as started by xtask, with the state folder as its value. It
/// does not begin with `MAINSTAY_`, for those are settings and services refuse unknown ones.
pub(crate) const OWNER_VARIABLE: &str = "XTASK_HOME";

/// How long a service without a supervisor may drain.
const ORPHAN_PATIENCE: Duration = Duration::from_secs(10);

/// The state of the supervisor that runs, if one does. Its state may be unreadable for a moment
/// while it starts.
pub(crate) fn running(home: &Home) -> anyhow::Result<Option<Stored>> {
    Ok(home.is_held()?.then(|| State::load(home)))
}

/// Removes what a supervisor left that did not end in order, and says what that was. The lock proves
/// that no supervisor runs.
pub(crate) fn mend(home: &Home, _lock: &HomeLock) -> anyhow::Result<Vec<String>> {
    let mut notices = Vec::new();
    match State::load(home) {
        Stored::Absent => {}
        Stored::Damaged(why) => notices.push(format!(
            "run/state.json was half-written by a supervisor that was killed ({why}): removed"
        )),
        Stored::Present(state) => notices.push(format!(
            "the supervisor before (pid {}) was killed and left its state behind: removed",
            state.supervisor.pid
        )),
    }
    for orphan in orphans(home) {
        notices.push(end(orphan));
    }
    files::remove(&home.run_folder())?;
    Ok(notices)
}

/// Services that run although their supervisor does not.
fn orphans(home: &Home) -> Vec<ProcessId> {
    process::with_environment(OWNER_VARIABLE, &home.root().to_string_lossy())
}

fn end(orphan: ProcessId) -> String {
    let pid = orphan.pid;
    let name = process::name(pid).unwrap_or_else(|| "a service".to_owned());
    orphan.signal(Signal::TERM);
    if orphan.wait_gone(ORPHAN_PATIENCE) {
        return format!("{name} (pid {pid}) had outlived its supervisor: drained and stopped");
    }
    orphan.signal(Signal::KILL);
    orphan.wait_gone(ORPHAN_PATIENCE);
    format!("{name} (pid {pid}) had outlived its supervisor and did not drain: killed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_in_order_needs_no_mending() {
        let (_folder, home) = home();
        let lock = home.take().unwrap().unwrap();
        assert_eq!(mend(&home, &lock).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_half_written_state_is_removed_with_a_word() {
        let (_folder, home) = home();
        std::fs::create_dir(home.run_folder()).unwrap();
        std::fs::write(home.run_folder().join("state.json"), "{\"version\": 1, \"sup").unwrap();
        let lock = home.take().unwrap().unwrap();
        let notices = mend(&home, &lock).unwrap();
        assert_eq!(notices.len(), 1);
        assert!(notices[0].contains("half-written"), "{notices:?}");
        assert!(!home.run_folder().exists());
    }

    #[test]
    fn an_orphan_of_this_folder_is_stopped_and_a_stranger_is_not() {
        let (_folder, home) = home();
        let mut orphan = sleep(&home.root().to_string_lossy());
        let mut stranger = sleep("/another/folder");
        // Reaps the orphan, as init does for real ones.
        let reaper = std::thread::spawn(move || orphan.wait().unwrap());
        let lock = home.take().unwrap().unwrap();
        let notices = mend(&home, &lock).unwrap();
        assert_eq!(notices.len(), 1);
        assert!(notices[0].contains("outlived"), "{notices:?}");
        reaper.join().unwrap();
        assert!(stranger.try_wait().unwrap().is_none(), "the stranger was stopped");
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }

    fn home() -> (tempfile::TempDir, Home) {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path().to_owned()).unwrap();
        (folder, home)
    }

    fn sleep(owner: &str) -> std::process::Child {
        process::waiting_with_environment(OWNER_VARIABLE, owner)
    }
}
