//! CPU time and memory of processes, as `/proc` shows them.

use std::time::{Duration, Instant};

use anyhow::Context as _;

/// Clock ticks a second in `/proc` (`USER_HZ`), the same on all architectures of today.
const TICKS_PER_SECOND: f64 = 100.0;

/// Fields of `/proc/self/stat` after the name, counted from 0 (proc_pid_stat(5): 14 and 15).
const USER_TIME_FIELD: usize = 11;
const SYSTEM_TIME_FIELD: usize = 12;

/// A moment from which time and CPU time are counted.
pub(crate) struct Stopwatch {
    begun: Instant,
    cpu: Duration,
}

impl Stopwatch {
    /// Begins now.
    pub(crate) fn start() -> anyhow::Result<Self> {
        Ok(Self { begun: Instant::now(), cpu: cpu_time()? })
    }

    /// Seconds, and seconds of CPU time in all threads of this process, kernel and user.
    pub(crate) fn read(&self) -> anyhow::Result<(f64, f64)> {
        let cpu = cpu_time()?.saturating_sub(self.cpu);
        Ok((self.begun.elapsed().as_secs_f64(), cpu.as_secs_f64()))
    }
}

/// Memory that is resident now, in bytes.
pub(crate) fn resident_bytes() -> anyhow::Result<u64> {
    status("VmRSS:")
}

/// The most that was ever resident, in bytes.
pub(crate) fn peak_resident_bytes() -> anyhow::Result<u64> {
    status("VmHWM:")
}

fn status(name: &str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let kibibytes = status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    Ok(kibibytes.with_context(|| format!("/proc/self/status states no {name}"))? * 1024)
}

/// CPU time of a process and of those that it started and that still run, in seconds: all threads,
/// kernel and user.
pub(crate) fn cpu_seconds_of(process: u32) -> anyhow::Result<f64> {
    let mut sum = cpu_time_of(&process.to_string())?.as_secs_f64();
    for child in children(process)? {
        sum += cpu_seconds_of(child)?;
    }
    Ok(sum)
}

fn children(process: u32) -> anyhow::Result<Vec<u32>> {
    let mut children = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let listed = std::fs::read_to_string(task?.path().join("children"))?;
        for child in listed.split_whitespace() {
            children.push(child.parse()?);
        }
    }
    Ok(children)
}

fn cpu_time() -> anyhow::Result<Duration> {
    cpu_time_of("self")
}

fn cpu_time_of(process: &str) -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, after_name) = stat.rsplit_once(')').context("/proc/self/stat names no process")?;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok());
    let spent = ticks(USER_TIME_FIELD).zip(ticks(SYSTEM_TIME_FIELD));
    let (user, system) = spent.context("/proc/self/stat tells no CPU time")?;
    Ok(Duration::from_secs_f64((user + system) / TICKS_PER_SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_time_and_memory() {
        let watch = Stopwatch::start().unwrap();
        let mut sum = 0_u64;
        while watch.read().unwrap().1 < 0.02 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let (seconds, cpu) = watch.read().unwrap();
        assert!(seconds > 0.0 && cpu >= 0.02, "{seconds} {cpu}");
        assert!(resident_bytes().unwrap() > 0);
        assert!(peak_resident_bytes().unwrap() >= resident_bytes().unwrap());
    }
}
