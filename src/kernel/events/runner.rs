//! Running a consumer: one lane for each aggregate, so that a failing event holds back only those
//! that must wait for it.

mod attempt;
mod lanes;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::bus::{Delivery, EventBus, Subscription};
use super::consumer::{Consumer, Start};
use super::dead_letter::describe;
use super::inbox;
use crate::kernel::database::Database;
use crate::kernel::error::Result;
use attempt::{Attempts, Outcome};
use lanes::Lanes;

/// The most deliveries taken and not yet acknowledged.
const WINDOW: usize = 1000;
/// How often the lag is counted.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);
/// How often the inbox is pruned.
const PRUNE_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// The inbox remembers this many times longer than the bus keeps records.
const INBOX_FACTOR: u32 = 2;

/// One consumer group in this process.
pub(super) struct Runner {
    group: String,
    topics: Vec<String>,
    bus: Arc<dyn EventBus>,
    database: Option<Database>,
    backoff: Backoff,
    inbox_retention: Duration,
    attempts: Arc<Attempts>,
}

impl Runner {
    /// `retention` is the longest that one of the topics keeps records.
    pub(super) fn new(
        consumer: Consumer,
        group: String,
        topics: Vec<String>,
        retention: Duration,
        start: Start<'_>,
    ) -> Self {
        let backoff = Backoff::new(start.settings);
        let attempts = Attempts::new(consumer, group.clone(), &start, backoff);
        Self {
            group,
            topics,
            bus: start.bus,
            database: start.database,
            backoff,
            inbox_retention: retention.saturating_mul(INBOX_FACTOR),
            attempts: Arc::new(attempts),
        }
    }

    /// Consumes until told to stop; a broker that is away is waited for.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut failures = 0;
        while !stop.is_cancelled() {
            let Err(error) = self.subscribe_and_consume(&stop, &mut failures).await else { return };
            failures += 1;
            tracing::warn!(
                consumer = self.group,
                error = describe(&error),
                failures,
                "cannot consume events"
            );
            tokio::select! {
                () = tokio::time::sleep(self.backoff.wait(failures)) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    async fn subscribe_and_consume(
        &self,
        stop: &CancellationToken,
        failures: &mut u32,
    ) -> Result<()> {
        let mut subscription = self.bus.subscribe(&self.group, &self.topics).await?;
        let result = self.consume(subscription.as_mut(), stop, failures).await;
        let closed = subscription.close().await;
        result.and(closed)
    }

    async fn consume(
        &self,
        subscription: &mut dyn Subscription,
        stop: &CancellationToken,
        failures: &mut u32,
    ) -> Result<()> {
        // Ends with the subscription: an event that waits for its next attempt must not keep a lost
        // subscription from being made anew.
        let session = stop.child_token();
        let mut lanes = Lanes::default();
        let mut under_way = JoinSet::new();
        let (mut prune, mut report) = (every(PRUNE_INTERVAL), every(REPORT_INTERVAL));
        let result = loop {
            tokio::select! {
                () = stop.cancelled() => break Ok(()),
                Some(done) = under_way.join_next() => {
                    if let Err(error) = self.settle(subscription, &mut lanes, &mut under_way, &session, done).await {
                        break Err(error);
                    }
                }
                next = subscription.next(), if lanes.len() < WINDOW => match next {
                    Ok(delivery) => {
                        *failures = 0;
                        if let Some(delivery) = lanes.add(delivery) {
                            self.begin(&mut under_way, delivery, &session);
                        }
                    }
                    Err(error) => break Err(error),
                },
                _ = prune.tick() => self.prune().await,
                _ = report.tick() => {
                    let lag = subscription.lag().await;
                    self.attempts.report_lag(lag);
                }
            }
        };
        session.cancel();
        // What waits in the lanes is delivered again; what is under way is finished.
        while let Some(done) = under_way.join_next().await {
            if let Ok((delivery, Outcome::Settled)) = done {
                subscription.acknowledge(delivery).await?;
            }
        }
        result
    }

    fn begin(
        &self,
        under_way: &mut JoinSet<(Delivery, Outcome)>,
        delivery: Delivery,
        session: &CancellationToken,
    ) {
        let (attempts, stop) = (self.attempts.clone(), session.clone());
        under_way.spawn(async move {
            let outcome = attempts.settle(&delivery, &stop).await;
            (delivery, outcome)
        });
    }

    async fn settle(
        &self,
        subscription: &mut dyn Subscription,
        lanes: &mut Lanes,
        under_way: &mut JoinSet<(Delivery, Outcome)>,
        session: &CancellationToken,
        done: Result<(Delivery, Outcome), tokio::task::JoinError>,
    ) -> Result<()> {
        let (delivery, outcome) = done.map_err(crate::kernel::error::Error::internal)?;
        if outcome == Outcome::Stopped {
            return Ok(());
        }
        if let Some(next) = lanes.advance(&delivery) {
            self.begin(under_way, next, session);
        }
        subscription.acknowledge(delivery).await
    }

    async fn prune(&self) {
        let Some(database) = &self.database else { return };
        if let Err(error) = inbox::prune(database, self.inbox_retention).await {
            tracing::warn!(
                consumer = self.group,
                error = describe(&error),
                "cannot prune the inbox"
            );
        }
    }
}

fn every(period: Duration) -> Interval {
    let mut interval = tokio::time::interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
