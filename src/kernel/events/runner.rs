//! Running a consumer: one lane for each aggregate, so that a failing event holds back only those
//! that must wait for it.
//!
//! The runner outlives its faults. A broker that is away is asked again; a panic outside a handler,
//! or a subscription that ends, makes the process unready until events come again. Both with
//! back-off.

mod attempt;
mod lanes;
mod ledger;
mod scrub;
mod settle;
mod verdict;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::backoff::Backoff;
use super::bus::{EventBus, Subscription};
use super::consumer::{Consumer, ConsumerState, ConsumerStatus, Start};
use super::redelivery;
use super::tried::session;
use crate::kernel::database::Database;
use crate::kernel::error::{Error, Result};
use attempt::panic_text;
use lanes::{Lanes, Task};
use settle::{Outcome, Settler};
use verdict::Verdict;

/// The most deliveries taken and not yet acknowledged.
const WINDOW: usize = 1000;
/// The most events taken at once from the queue of redeliveries.
const REDELIVERIES: u64 = 100;
/// How often that queue is looked at when nothing wakes the runner.
const REDELIVERY_INTERVAL: Duration = Duration::from_secs(1);
/// How often the lag is counted.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);
/// How often the process says that it lives, and keeps what it has claimed.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(10);

/// One consumer group in this process.
pub(super) struct Runner {
    status: Arc<ConsumerStatus>,
    bus: Arc<dyn EventBus>,
    database: Option<Database>,
    backoff: Backoff,
    settler: Arc<Settler>,
}

impl Runner {
    pub(super) fn new(
        consumer: Consumer,
        status: Arc<ConsumerStatus>,
        start: Start<'_>,
    ) -> anyhow::Result<Self> {
        let settler = Settler::new(consumer, Arc::clone(&status), &start, start.pool)?;
        Ok(Self {
            status,
            bus: start.bus,
            database: start.database,
            backoff: Backoff::new(start.settings),
            settler: Arc::new(settler),
        })
    }

    /// Consumes until told to stop, whatever happens meanwhile.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut failures = 0;
        while !stop.is_cancelled() {
            let session = Uuid::now_v7().to_string();
            let life = AssertUnwindSafe(self.live(&session, &stop, &mut failures)).catch_unwind();
            let fault = match life.await {
                Ok(Ok(())) => {
                    self.end(&session).await;
                    break;
                }
                // In order as far as handlers go: all that was under way has ended.
                Ok(Err(error)) => {
                    self.end(&session).await;
                    Fault::of(&error)
                }
                Err(panic) => Fault { outage: false, reason: panic_text(&*panic) },
            };
            failures += 1;
            let wait = match fault.outage {
                true => self.backoff.wait_out(failures),
                false => self.backoff.wait(failures),
            };
            self.report_fault(fault, failures);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stop.cancelled() => {}
            }
        }
        self.set_state(ConsumerState::Stopped);
    }

    /// From a session's begin to the end of its subscription.
    async fn live(
        &self,
        session: &str,
        stop: &CancellationToken,
        failures: &mut u32,
    ) -> Result<()> {
        self.settler.ledger.begin_session(session, WINDOW).await?;
        let mut subscription =
            self.bus.subscribe(self.status.group(), self.status.topics()).await?;
        let mut turn = Turn {
            runner: self,
            session,
            // Ends with the subscription: an event that waits for its next attempt must not keep a
            // lost subscription from being made anew.
            stop: stop.child_token(),
            lanes: Lanes::default(),
            under_way: JoinSet::new(),
            counting: JoinSet::new(),
        };
        let result = turn.consume(subscription.as_mut(), stop, failures).await;
        let finished = turn.finish(subscription.as_mut()).await;
        let closed = subscription.close().await;
        result.and(finished).and(closed)
    }

    async fn end(&self, session: &str) {
        let Some(database) = &self.database else { return };
        let group = self.status.group();
        let given_back = redelivery::hold(database, group, session, Duration::ZERO).await;
        if let Err(error) = given_back.and(session::end(database, group, session).await) {
            // The next session is careful for nothing, and that is all.
            tracing::debug!(consumer = group, error = error.with_causes(), "a session stays open");
        }
    }

    fn report_fault(&self, fault: Fault, failures: u32) {
        let (consumer, reason) = (self.status.group(), fault.reason);
        match fault.outage {
            true => tracing::warn!(consumer, error = reason, failures, "cannot consume events"),
            false => tracing::error!(consumer, error = reason, failures, "the consumer died"),
        }
        self.set_state(match fault.outage {
            true => ConsumerState::Waiting { reason, failures },
            false => ConsumerState::Failed { reason, failures },
        });
    }

    fn set_state(&self, state: ConsumerState) {
        let (group, up) = (self.status.group(), state == ConsumerState::Consuming);
        self.settler.consumer().metrics(|metrics| metrics.consumer_up(group, up));
        self.status.set_state(state);
    }

    /// Whoever can count what is left can take it, and nobody else: a client of the broker may wait for it
    /// in silence.
    fn report_lag(&self, counted: Result<i64>) {
        let group = self.status.group();
        match counted {
            Ok(lag) => {
                self.set_state(ConsumerState::Consuming);
                self.status.set_lag(lag);
                self.settler.consumer().metrics(|metrics| metrics.consumer_lag(group, lag));
            }
            Err(error) => {
                let reason = error.with_causes();
                tracing::debug!(consumer = group, error = reason, "cannot count what is left");
                self.set_state(ConsumerState::Waiting { reason, failures: 1 });
            }
        }
    }

    async fn renew(&self, session: &str) {
        let Some(database) = &self.database else { return };
        let group = self.status.group();
        let held = redelivery::hold(database, group, session, redelivery::LEASE).await;
        if let Err(error) = held.and(session::renew(database, group, session).await) {
            tracing::warn!(consumer = group, error = error.with_causes(), "cannot renew a session");
        }
    }
}

/// One subscription with all that is under way on it.
struct Turn<'a> {
    runner: &'a Runner,
    session: &'a str,
    stop: CancellationToken,
    lanes: Lanes,
    under_way: JoinSet<(Task, Outcome)>,
    /// The lag that is being counted, beside the events: that may take the broker a while.
    counting: JoinSet<Result<i64>>,
}

impl Turn<'_> {
    async fn consume(
        &mut self,
        subscription: &mut dyn Subscription,
        stop: &CancellationToken,
        failures: &mut u32,
    ) -> Result<()> {
        let runner = self.runner;
        let mut report = every(REPORT_INTERVAL);
        let (mut look, mut renewal) = (every(REDELIVERY_INTERVAL), every(RENEWAL_INTERVAL));
        // Subscribing may succeed where taking events does not: a consumer that died is well again
        // when it has held out until its first report and what is left was counted, or has taken an event.
        if *failures == 0 {
            runner.set_state(ConsumerState::Consuming);
        }
        report.tick().await;
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Some(done) = self.under_way.join_next() => self.settle(subscription, done).await?,
                next = subscription.next(), if self.lanes.len() < WINDOW => {
                    let delivery = next?;
                    if std::mem::take(failures) > 0 {
                        runner.set_state(ConsumerState::Consuming);
                    }
                    self.take(delivery.into());
                }
                _ = renewal.tick() => runner.renew(self.session).await,
                _ = look.tick() => self.take_redeliveries().await,
                () = runner.status.redelivery().notified() => self.take_redeliveries().await,
                _ = report.tick() => {
                    *failures = 0;
                    if self.counting.is_empty() {
                        self.counting.spawn(subscription.lag());
                    }
                }
                Some(Ok(counted)) = self.counting.join_next() => {
                    *failures = u32::from(counted.is_err());
                    runner.report_lag(counted);
                }
            }
        }
    }

    /// What waits in the lanes is delivered again; what is under way is finished.
    async fn finish(&mut self, subscription: &mut dyn Subscription) -> Result<()> {
        self.stop.cancel();
        while let Some(done) = self.under_way.join_next().await {
            let Ok((task, outcome)) = done else { continue };
            if outcome != Outcome::Stopped {
                self.acknowledge(subscription, task, outcome).await?;
            }
        }
        Ok(())
    }

    fn take(&mut self, task: Task) {
        if let Some(task) = self.lanes.add(task) {
            self.begin(task);
        }
    }

    async fn take_redeliveries(&mut self) {
        let Some(database) = &self.runner.database else { return };
        if self.lanes.len() >= WINDOW {
            return;
        }
        let group = self.runner.status.group();
        match redelivery::claim(database, group, self.session, REDELIVERIES).await {
            Ok(claimed) => {
                claimed.into_iter().for_each(|envelope| self.take(Task::redelivered(envelope)));
            }
            // The database is away, which the events themselves will tell.
            Err(error) => tracing::debug!(
                consumer = group,
                error = error.with_causes(),
                "cannot look for events to deliver once more"
            ),
        }
    }

    fn begin(&mut self, task: Task) {
        let (settler, stop) = (self.runner.settler.clone(), self.stop.clone());
        self.under_way.spawn(async move {
            let outcome = settler.settle(&task, &stop).await;
            (task, outcome)
        });
    }

    async fn settle(
        &mut self,
        subscription: &mut dyn Subscription,
        done: Result<(Task, Outcome), JoinError>,
    ) -> Result<()> {
        let (task, outcome) = done.map_err(Error::internal)?;
        if outcome == Outcome::Stopped {
            return Ok(());
        }
        let next = self.lanes.advance(&task);
        if task.is_redelivered() {
            // First, for the next of a parked aggregate must see that the letter before it is done.
            let acknowledged = self.acknowledge(subscription, task, outcome).await;
            next.into_iter().for_each(|next| self.begin(next));
            return acknowledged;
        }
        next.into_iter().for_each(|next| self.begin(next));
        self.acknowledge(subscription, task, outcome).await
    }

    async fn acknowledge(
        &self,
        subscription: &mut dyn Subscription,
        task: Task,
        outcome: Outcome,
    ) -> Result<()> {
        let event_id = task.envelope.id.clone();
        match (task.into_delivery(), &self.runner.database) {
            (Some(delivery), _) => subscription.acknowledge(delivery).await,
            (None, Some(database)) if outcome == Outcome::Handled => {
                let group = self.runner.status.group();
                if let Err(error) = redelivery::settle(database, group, &event_id).await {
                    // It is delivered once more when its lease has passed, and then known.
                    tracing::debug!(
                        consumer = group,
                        event_id,
                        error = error.with_causes(),
                        "not settled"
                    );
                }
                Ok(())
            }
            // Parking it has taken it from the queue.
            (None, _) => Ok(()),
        }
    }
}

/// Why a consumer does not consume.
struct Fault {
    /// Whether something is away that comes back by itself.
    outage: bool,
    reason: String,
}

impl Fault {
    fn of(error: &Error) -> Self {
        Self { outage: Verdict::of(error) == Verdict::Outage, reason: error.with_causes() }
    }
}

fn every(period: Duration) -> Interval {
    let mut interval = tokio::time::interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
