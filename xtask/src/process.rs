//! Processes as `/proc` shows them, and signals that cannot hit a stranger.
//!
//! A process id alone proves nothing, for ids are given out again. Here a process is its id and its
//! start time, and signals go through a pidfd that was opened before the start time was compared.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// A process, told from a later one of the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessId {
    /// The operating system's id.
    pub(crate) pid: i32,
    /// When it started, in clock ticks since boot.
    pub(crate) started_ticks: u64,
}

impl ProcessId {
    /// The process that has this id now.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let pid = i32::try_from(pid).ok()?;
        Some(Self { pid, started_ticks: started_ticks(pid)? })
    }

    /// This process.
    pub(crate) fn own() -> Option<Self> {
        Self::of(std::process::id())
    }

    /// Whether it still runs; one that died and was not waited for does not.
    pub(crate) fn is_alive(self) -> bool {
        stat_field(self.pid, STATE_FIELD).is_some_and(|state| state != "Z" && state != "X")
            && started_ticks(self.pid) == Some(self.started_ticks)
    }

    /// Sends a signal; `false` if the process is gone.
    pub(crate) fn signal(self, signal: Signal) -> bool {
        let Some(pid) = Pid::from_raw(self.pid) else { return false };
        let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { return false };
        // The handle names one process for good; only now is it worth asking which.
        started_ticks(self.pid) == Some(self.started_ticks)
            && pidfd_send_signal(&handle, signal).is_ok()
    }

    /// Waits until it is gone; `false` if it still runs after `patience`.
    pub(crate) fn wait_gone(self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while self.is_alive() {
            if Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        true
    }
}

/// Memory of a process that is in main memory, in bytes; 0 if it is gone.
pub(crate) fn resident_bytes(pid: i32) -> u64 {
    memory(pid, "VmRSS:")
}

/// The most of it that ever was in main memory, in bytes; 0 if it is gone.
pub(crate) fn peak_bytes(pid: i32) -> u64 {
    memory(pid, "VmHWM:")
}

fn memory(pid: i32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kibibytes = status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

/// Clock ticks a second in `/proc`, the same on all architectures of today.
const TICKS_PER_SECOND: u32 = 100;

/// CPU time that a process has used, in all its threads, kernel and user; none if it is gone.
pub(crate) fn cpu_time(pid: i32) -> Duration {
    let ticks = |field| stat_field(pid, field).and_then(|ticks| ticks.parse::<u32>().ok());
    let used = ticks(USER_TIME_FIELD).unwrap_or(0) + ticks(SYSTEM_TIME_FIELD).unwrap_or(0);
    Duration::from_secs(used.into()) / TICKS_PER_SECOND
}

/// Runs a program that speaks for itself.
pub(crate) fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let status = command.stdin(Stdio::null()).status();
    let name = command.get_program().to_string_lossy().into_owned();
    let status = status.with_context(|| format!("{name} cannot be run"))?;
    ensure!(status.success(), "{name} failed ({status})");
    Ok(())
}

/// Name of a process, such as `postgres`.
pub(crate) fn name(pid: i32) -> Option<String> {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim_end().to_owned())
}

/// Every process id there is.
pub(crate) fn all() -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Processes whose environment holds exactly `NAME=value`; those of other users are not readable and
/// not ours.
pub(crate) fn with_environment(name: &str, value: &str) -> Vec<ProcessId> {
    let wanted = format!("{name}={value}");
    let matches = |pid: &i32| {
        std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environment| {
            environment.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes())
        })
    };
    all()
        .into_iter()
        .filter(matches)
        .filter_map(|pid| ProcessId::of(pid.unsigned_abs()))
        .filter(|process| process.is_alive())
        .collect()
}

/// The processes whose ids stand in names, between a prefix and a dot or the end, as far as they are
/// gone: what these made and nobody has removed.
pub(crate) fn gone<'a>(names: impl Iterator<Item = &'a str>, prefix: &str) -> Vec<u32> {
    let process = |name: &str| -> Option<u32> {
        name.trim().strip_prefix(prefix)?.split('.').next()?.parse().ok()
    };
    let mut gone: Vec<u32> = names.filter_map(process).collect();
    gone.sort_unstable();
    gone.dedup();
    gone.retain(|process| !Path::new(&format!("/proc/{process}")).exists());
    gone
}

/// The file descriptors of a process, as the paths they point to.
pub(crate) fn descriptors(pid: i32) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    entries.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok()).collect()
}

/// Fields of `/proc/<pid>/stat` after the name, counted from 0 (proc_pid_stat(5): 3 and 22).
const STATE_FIELD: usize = 0;
const USER_TIME_FIELD: usize = 11;
const SYSTEM_TIME_FIELD: usize = 12;
const START_TIME_FIELD: usize = 19;

fn started_ticks(pid: i32) -> Option<u64> {
    stat_field(pid, START_TIME_FIELD)?.parse().ok()
}

fn stat_field(pid: i32, index: usize) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold anything, parentheses too.
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(index).map(str::to_owned)
}

/// Starts a process that only waits, with a variable in its environment. `/proc` shows the
/// environment a moment after the program has begun.
#[cfg(test)]
pub(crate) fn waiting_with_environment(name: &str, value: &str) -> std::process::Child {
    let mut command = std::process::Command::new("sleep");
    let child = command.arg("60").env(name, value).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    let is_shown = |pid| with_environment(name, value).iter().any(|found| found.pid == pid);
    while !is_shown(i32::try_from(child.id()).unwrap()) {
        assert!(Instant::now() < deadline, "/proc does not show the environment of a child");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn this_process_is_alive_and_has_memory() {
        let own = ProcessId::own().unwrap();
        assert!(own.is_alive());
        assert!(resident_bytes(own.pid) > 0);
        assert!(name(own.pid).is_some());
    }

    #[test]
    fn an_id_that_was_given_out_again_is_another_process() {
        let own = ProcessId::own().unwrap();
        let before = ProcessId { started_ticks: own.started_ticks - 1, ..own };
        assert!(!before.is_alive());
        // The test would end here if the signal went out.
        assert!(!before.signal(Signal::KILL));
    }

    #[test]
    fn only_processes_that_are_gone_are_named_by_what_they_have_left() {
        let own = std::process::id();
        // Above the highest id that Linux gives out.
        let dead = 4_194_305;
        let topics = [
            format!("bench-{own}.identity.users"),
            format!("bench-{dead}.identity.users"),
            format!("bench-{dead}.identity.users.dead-letter"),
            format!("bench-{dead}"),
            "mainstay.identity.users".to_owned(),
            "bench-x.y".to_owned(),
        ];
        assert_eq!(gone(topics.iter().map(String::as_str), "bench-"), [dead]);
    }

    #[test]
    fn a_process_is_found_by_its_environment_and_ended() {
        let mark = format!("{}-{:?}", std::process::id(), Instant::now());
        let mut child = waiting_with_environment("XTASK_TEST_MARK", &mark);
        let found = with_environment("XTASK_TEST_MARK", &mark);
        assert_eq!(found.len(), 1);
        assert!(found[0].signal(Signal::KILL));
        child.wait().unwrap();
        assert!(found[0].wait_gone(Duration::from_secs(1)));
    }
}
