//! One service under supervision: its process, and where it is in its life.

use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::Signal;

use super::Plan;
use super::log::ServiceLog;
use crate::mesh::Service;
use crate::probe::{self, Readiness};
use crate::process::ProcessId;
use crate::real::Real;
use crate::state::{ServicePhase, ServiceState};
use crate::{environment, workspace};

/// Pause before a service that died is started again; doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A service that was ready for so long begins with the first pause again.
const FORGIVEN_AFTER: Duration = Duration::from_secs(60);
/// How long a service may drain before it is killed.
const DRAIN_PATIENCE: Duration = Duration::from_secs(25);

/// A service and its process.
#[derive(Debug)]
pub(crate) struct Slot {
    /// Which service.
    pub(crate) service: &'static Service,
    /// Where it is in its life.
    pub(crate) phase: ServicePhase,
    /// Since when.
    pub(crate) since: Instant,
    /// What it last said about not being ready.
    pub(crate) answer: Option<String>,
    log: Arc<ServiceLog>,
    running: Option<Running>,
    restarts: u32,
    failures: u32,
}

#[derive(Debug)]
struct Running {
    child: Child,
    id: ProcessId,
    follower: JoinHandle<()>,
}

/// What a step of a slot's life brought about.
#[derive(Debug)]
pub(crate) enum Change {
    /// It is ready, so long after its start.
    Ready(Duration),
    /// It died unasked: how.
    Died(String),
    /// It did not drain in time and was killed.
    Killed,
}

impl Slot {
    /// A service without a process.
    pub(crate) fn new(service: &'static Service, log: Arc<ServiceLog>) -> Self {
        Self {
            service,
            phase: ServicePhase::Stopped,
            since: Instant::now(),
            answer: None,
            log,
            running: None,
            restarts: 0,
            failures: 0,
        }
    }

    /// Starts a process. It gets a process group of its own, so that Ctrl-C at the terminal reaches
    /// the supervisor alone, which then drains in order.
    pub(crate) fn start(&mut self, plan: &Plan) -> anyhow::Result<()> {
        let binary = plan.binaries.folder.join(self.service.binary);
        let (reader, writer) = std::io::pipe()?;
        // By this name xtask finds itself even after a rebuild replaced its file.
        let mut command = Command::new("/proc/self/exe");
        command.args(["launch", "--supervisor", &std::process::id().to_string()]).arg(binary);
        // Read anew each time: a restart finds servers that were moved meanwhile.
        let real = if plan.real.is_some() { Real::load(&plan.home)? } else { None };
        environment::apply(&mut command, plan, self.service, real.as_ref());
        command
            .current_dir(workspace::root())
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer);
        self.log.begin();
        let child =
            command.spawn().with_context(|| format!("{} cannot be started", self.service.name))?;
        let id = ProcessId::of(child.id()).unwrap_or(ProcessId { pid: 0, started_ticks: 0 });
        self.running = Some(Running { child, id, follower: self.log.follow(reader) });
        self.answer = None;
        self.enter(ServicePhase::Starting);
        Ok(())
    }

    /// Asks the process to drain; one that waits for its next start stays stopped.
    pub(crate) fn drain(&mut self) {
        match &self.running {
            Some(running) => {
                running.id.signal(Signal::TERM);
                self.enter(ServicePhase::Draining);
            }
            None => self.enter(ServicePhase::Stopped),
        }
    }

    /// Ends the process at once.
    pub(crate) fn kill(&mut self) {
        if let Some(running) = &mut self.running {
            // A process that is gone already is as good as killed.
            let _ = running.child.kill();
        }
    }

    /// Looks after the process: has it died, is it ready, is its pause or its patience over?
    pub(crate) fn step(&mut self, plan: &Plan) -> anyhow::Result<Option<Change>> {
        if let Some(status) = self.exited()? {
            return Ok(self.died(status));
        }
        match self.phase {
            ServicePhase::Starting => Ok(self.ask_readiness(plan)),
            ServicePhase::BackingOff if self.since.elapsed() >= pause(self.failures) => {
                self.restarts += 1;
                Ok(self.start(plan).err().map(|error| self.fail(format!("failed: {error:#}"))))
            }
            ServicePhase::Draining if self.since.elapsed() > DRAIN_PATIENCE => {
                self.kill();
                self.since = Instant::now();
                Ok(Some(Change::Killed))
            }
            _ => Ok(None),
        }
    }

    /// The last lines of its log.
    pub(crate) fn tail(&self) -> Vec<String> {
        self.log.tail()
    }

    /// The pause before it is started again.
    pub(crate) fn pause(&self) -> Duration {
        pause(self.failures)
    }

    /// What the state file says about it.
    pub(crate) fn state(&self) -> ServiceState {
        ServiceState {
            name: self.service.name.to_owned(),
            process: self.running.as_ref().map(|running| running.id),
            phase: self.phase,
            restarts: self.restarts,
        }
    }

    fn exited(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        let Some(running) = &mut self.running else { return Ok(None) };
        let Some(status) = running.child.try_wait()? else { return Ok(None) };
        if let Some(running) = self.running.take() {
            // Its end of the pipe is closed, so its last words are there in a moment.
            let _ = running.follower.join();
        }
        Ok(Some(status))
    }

    fn died(&mut self, status: ExitStatus) -> Option<Change> {
        let lived = self.since.elapsed();
        match self.phase {
            ServicePhase::Draining => {
                self.enter(ServicePhase::Stopped);
                None
            }
            phase => {
                let forgiven = phase == ServicePhase::Ready && lived > FORGIVEN_AFTER;
                if forgiven {
                    self.failures = 0;
                }
                Some(self.fail(describe(status)))
            }
        }
    }

    fn fail(&mut self, how: String) -> Change {
        self.failures += 1;
        self.enter(ServicePhase::BackingOff);
        Change::Died(how)
    }

    fn ask_readiness(&mut self, plan: &Plan) -> Option<Change> {
        match probe::readiness(self.service.admin_address(plan.offset)) {
            Readiness::Ready => {
                let after = self.since.elapsed();
                self.enter(ServicePhase::Ready);
                Some(Change::Ready(after))
            }
            Readiness::NotReady(answer) => {
                self.answer = Some(answer);
                None
            }
            Readiness::Silent => None,
        }
    }

    fn enter(&mut self, phase: ServicePhase) {
        self.phase = phase;
        self.since = Instant::now();
    }
}

fn pause(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE)
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with status {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_a_limit() {
        let pauses: Vec<u128> =
            [1, 2, 3, 6, 7, 100].iter().map(|failures| pause(*failures).as_millis()).collect();
        assert_eq!(pauses, [500, 1000, 2000, 16_000, 30_000, 30_000]);
    }
}
