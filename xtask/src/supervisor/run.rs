//! The supervisor's life: start in waves, serve, drain.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::control::{Reply, Request};
use super::inbox::{self, Message};
use super::log::ServiceLog;
use super::slot::{Change, Slot};
use super::{Audience, Plan};
use crate::mesh::{SERVICES, WAVES, gateway};
use crate::observe::Observer;
use crate::process::ProcessId;
use crate::real::Real;
use crate::state::{Phase, ServicePhase, State};
use crate::summary;
use crate::terminal::Event;

/// How often services are looked after.
const TICK: Duration = Duration::from_millis(50);

/// How long a service may take to become ready.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// The supervisor.
pub(crate) struct Supervisor {
    plan: Plan,
    audience: Audience,
    observer: Option<Observer>,
    log: Arc<ServiceLog>,
    inbox: Receiver<Message>,
    slots: Vec<Slot>,
    state: State,
    saved: Option<State>,
    restarts: VecDeque<(Option<String>, Sender<Reply>)>,
    signals: u32,
    stopping: bool,
}

impl Supervisor {
    /// A supervisor that has started nothing yet.
    pub(crate) fn new(plan: Plan, audience: Audience) -> anyhow::Result<Self> {
        let own = ProcessId::own().context("/proc does not show this process")?;
        let observer = plan.observe.then(|| Observer::start(plan.offset)).transpose()?;
        let log = |name| {
            let memory = observer.as_ref().map(Observer::memory);
            ServiceLog::open(&plan.home, name, audience.screen(), memory)
        };
        let slots = SERVICES
            .iter()
            .map(|service| Ok(Slot::new(service, log(service.name)?)))
            .collect::<anyhow::Result<_>>()?;
        let (inbox, way_in) = inbox::open(&plan.home)?;
        if matches!(audience, Audience::Starter) {
            inbox::watch_starter(way_in);
        }
        Ok(Self {
            log: log("supervisor")?,
            observer,
            inbox,
            state: State::new(own, &plan),
            saved: None,
            restarts: VecDeque::new(),
            signals: 0,
            stopping: false,
            plan,
            audience,
            slots,
        })
    }

    /// Lives until told to stop. Whatever happens, no service is left running.
    pub(crate) fn run(mut self) -> anyhow::Result<()> {
        let outcome = self.start().and_then(|()| self.serve());
        let stopped = self.stop();
        if let Some(observer) = self.observer.take() {
            observer.stop();
        }
        outcome.and(stopped)
    }

    fn start(&mut self) -> anyhow::Result<()> {
        for wave in 0..WAVES {
            let members: Vec<usize> = (0..self.slots.len())
                .filter(|index| self.slots[*index].service.wave == wave)
                .collect();
            self.start_slots(&members)?;
            if self.stopping {
                bail!("interrupted while starting");
            }
        }
        self.state.phase = Phase::Running;
        self.save();
        self.audience.tell(&Event::Up);
        if let Some(screen) = self.audience.screen() {
            screen.say(&summary::text(&self.plan.home)?);
        }
        Ok(())
    }

    fn serve(&mut self) -> anyhow::Result<()> {
        while !self.stopping {
            self.tick()?;
            if let Some((service, reply)) = self.restarts.pop_front() {
                let outcome = match self.restart(service.as_deref()) {
                    Ok(word) => Reply::Done(word),
                    Err(error) => Reply::Failed(format!("{error:#}")),
                };
                // Whoever asked may have gone.
                let _ = reply.send(outcome);
            }
        }
        Ok(())
    }

    /// The gateway first, so that nothing comes in any more; then all others.
    fn stop(&mut self) -> anyhow::Result<()> {
        self.stopping = true;
        self.state.phase = Phase::Stopping;
        self.log.say("draining");
        let (edge, others): (Vec<usize>, Vec<usize>) =
            (0..self.slots.len()).partition(|index| self.slots[*index].service == gateway());
        self.stop_slots(&edge)?;
        self.stop_slots(&others)?;
        self.log.say("everything has stopped");
        Ok(())
    }

    /// Drains and starts again, one service after the other.
    fn restart(&mut self, name: Option<&str>) -> anyhow::Result<String> {
        let chosen: Vec<usize> = (0..self.slots.len())
            .filter(|index| name.is_none_or(|name| self.slots[*index].service.name == name))
            .collect();
        if chosen.is_empty() {
            bail!("no such service");
        }
        let mut words = Vec::new();
        for index in chosen {
            let name = self.slots[index].service.name;
            self.log.say(&format!("{name} is restarted on request"));
            self.stop_slots(&[index])?;
            self.start_slots(&[index])?;
            if self.stopping {
                bail!("the platform is stopping");
            }
            words.push(format!("{name} was restarted and is ready"));
        }
        Ok(words.join("\n"))
    }

    /// Starts services and waits until they are ready, or the platform is told to stop.
    fn start_slots(&mut self, members: &[usize]) -> anyhow::Result<()> {
        for index in members {
            self.slots[*index].start(&self.plan)?;
            self.audience.tell(&Event::Starting(self.slots[*index].service.name.to_owned()));
        }
        let deadline = Instant::now() + START_PATIENCE;
        loop {
            for (index, died) in self.tick()? {
                if members.contains(&index) {
                    bail!(self.explain(index, &format!("{died} while starting")));
                }
            }
            let waiting = members
                .iter()
                .find(|index| self.slots[**index].phase != ServicePhase::Ready)
                .copied();
            match waiting {
                None => return Ok(()),
                Some(_) if self.stopping => return Ok(()),
                Some(index) if Instant::now() > deadline => bail!(self.explain_slow(index)),
                Some(_) => {}
            }
        }
    }

    /// Drains services and waits until they are gone. A second signal ends the patience.
    fn stop_slots(&mut self, members: &[usize]) -> anyhow::Result<()> {
        for index in members {
            self.slots[*index].drain();
        }
        while members.iter().any(|index| self.slots[*index].phase != ServicePhase::Stopped) {
            if self.signals > 1 {
                self.slots.iter_mut().for_each(Slot::kill);
            }
            self.tick()?;
        }
        Ok(())
    }

    /// Waits for news, looks after every service, and keeps the state file true. Returns who died,
    /// and how.
    fn tick(&mut self) -> anyhow::Result<Vec<(usize, String)>> {
        match self.inbox.recv_timeout(TICK) {
            Ok(message) => self.receive(message),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => bail!("the control socket and signals are gone"),
        }
        let mut died = Vec::new();
        for index in 0..self.slots.len() {
            match self.slots[index].step(&self.plan)? {
                Some(Change::Died(how)) => {
                    self.log_death(index, &how);
                    died.push((index, how));
                }
                Some(Change::Ready(after)) => self.announce(index, after),
                Some(Change::Killed) => {
                    let name = self.slots[index].service.name;
                    self.log.say(&format!("{name} did not drain in time: killed"));
                }
                None => {}
            }
        }
        self.save();
        Ok(died)
    }

    fn receive(&mut self, message: Message) {
        match message {
            Message::Signal => {
                self.signals += 1;
                self.stopping = true;
            }
            // Nobody waits for the start any more: then it is not wanted.
            Message::StarterGone if self.state.phase == Phase::Starting => self.stopping = true,
            Message::StarterGone => {}
            Message::Request(Request::Down, reply) => {
                self.stopping = true;
                let _ = reply.send(Reply::Done("draining".to_owned()));
            }
            Message::Request(Request::Restart(_), reply) if self.stopping => {
                let _ = reply.send(Reply::Failed("the platform is stopping".to_owned()));
            }
            Message::Request(Request::Restart(service), reply) => {
                self.restarts.push_back((service, reply));
            }
        }
    }

    fn announce(&mut self, index: usize, after: Duration) {
        let name = self.slots[index].service.name.to_owned();
        if self.state.phase == Phase::Starting {
            let milliseconds = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
            self.audience.tell(&Event::Ready(name, milliseconds));
        } else {
            self.log.say(&format!("{name} is ready after {:.1} s", after.as_secs_f64()));
        }
    }

    fn log_death(&mut self, index: usize, how: &str) {
        let slot = &self.slots[index];
        let name = slot.service.name;
        match self.state.phase {
            Phase::Running => self.log.say(&format!(
                "{name} {how}; it is started again in {:.1} s",
                slot.pause().as_secs_f64()
            )),
            _ => self.log.say(&format!("{name} {how}")),
        }
    }

    /// A full disk must not stop the platform, so a state that cannot be written is a log line.
    fn save(&mut self) {
        self.state.services = self.slots.iter().map(Slot::state).collect();
        if self.saved.as_ref() == Some(&self.state) {
            return;
        }
        if let Err(error) = self.state.save(&self.plan.home) {
            self.log.say(&format!("{error:#}"));
        }
        self.saved = Some(self.state.clone());
    }

    fn explain_slow(&self, index: usize) -> String {
        let waited = format!("was not ready within {} s", START_PATIENCE.as_secs());
        match &self.slots[index].answer {
            Some(answer) => self.explain(index, &format!("{waited}; /readyz says: {answer}")),
            None => self.explain(index, &format!("{waited}; /readyz does not answer")),
        }
    }

    /// Cause, last log lines and mend.
    fn explain(&self, index: usize, what: &str) -> String {
        let slot = &self.slots[index];
        let name = slot.service.name;
        let tail = slot.tail();
        let mut text = format!("{name} {what}");
        if tail.is_empty() {
            text.push_str("; it logged nothing");
        } else {
            text.push_str("; its last log lines:");
            tail.iter().for_each(|line| text.push_str(&format!("\n  {line}")));
        }
        for fault in self.away() {
            text.push_str(&format!("\n{fault}"));
        }
        text.push_str(&format!(
            "\nmend: remove the cause that the log names, then try again; settings: {}, whole log: {}",
            crate::folder::settings_file(&self.plan.home, slot.service).display(),
            self.plan.home.log_file(name).display()
        ));
        text
    }

    /// Real servers that do not answer: most often the cause.
    fn away(&self) -> Vec<String> {
        let real = self.plan.real.as_ref().and_then(|_| Real::load(&self.plan.home).ok().flatten());
        real.map(|real| real.faults()).unwrap_or_default()
    }
}
