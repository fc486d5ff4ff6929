//! One lane of a relay: claims, publishes and settles, one claim after the other.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::Relay;
use crate::kernel::error::{Error, Result};
use crate::kernel::events::outbox::{self, Claim, Postponed, Reach, Row, Settled};
use crate::kernel::failpoint::Failpoint;
use crate::kernel::proto::events::Envelope;

/// The most rows published at once.
const BATCH: u64 = 500;
/// How many of the oldest rows are looked at, so that two lanes find something each.
const LOOK: u64 = 2 * BATCH;
/// A look that found nothing because all it saw is held or waits goes this many times further.
const FURTHER: u64 = 8;
/// After such a look nothing is looked at for this many times as long as it took.
const REST: u32 = 10;
/// The longest wait between two attempts to publish a row: when the bus is back, all is soon well.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// The longest rest of a lane whose claims all failed.
const LONGEST_REST: Duration = Duration::from_secs(1);
/// So many aggregates in a row fail before the bus is taken to be away.
const AWAY: usize = 3;

/// A lane.
pub(super) struct Lane<'a> {
    relay: &'a Relay,
    look: u64,
    failures: u32,
    /// When rows that failed here are due again.
    due: Vec<Instant>,
}

/// What one turn has come to.
enum Turn {
    /// Something was published: there may be more.
    Published,
    /// Nothing was due. A look that took long is not to be repeated before the rest has passed.
    Idle { rest: Duration },
    /// Nothing could be published.
    Refused,
}

impl<'a> Lane<'a> {
    pub(super) fn new(relay: &'a Relay) -> Self {
        Self { relay, look: LOOK, failures: 0, due: Vec::new() }
    }

    /// Publishes until told to stop, and then what is due.
    pub(super) async fn run(mut self, stop: &CancellationToken) {
        loop {
            // The last turn begins after the stop, so that it sees all that was committed before.
            let last = stop.is_cancelled();
            let (rest, wait) = match self.turn().await {
                Ok(Turn::Published) => {
                    self.failures = 0;
                    continue;
                }
                Ok(Turn::Idle { rest }) => (rest, self.until_due()),
                Ok(Turn::Refused) => (self.rest_longer(), Duration::ZERO),
                Err(error) => {
                    let rest = self.rest_longer();
                    let (failures, error) = (self.failures, error.with_causes());
                    tracing::warn!(error, failures, "cannot read the outbox");
                    (rest, Duration::ZERO)
                }
            };
            if last {
                return;
            }
            tokio::select! {
                () = self.wait(rest, wait) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Rests, and then waits until woken, but no longer than `wait`.
    async fn wait(&self, rest: Duration, wait: Duration) {
        if !rest.is_zero() {
            tokio::time::sleep(rest).await;
        }
        tokio::select! {
            () = self.relay.database.outbox_written().notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }

    /// Claims once and publishes what was claimed.
    async fn turn(&mut self) -> Result<Turn> {
        let begin = Instant::now();
        let reach = Reach { look: self.look, take: BATCH };
        let mut claim = outbox::claim(&self.relay.database, reach, self.relay.lease).await?;
        let (claimed, saw_all) = (claim.rows.len() as u64, claim.seen < reach.look);
        if claimed == 0 {
            claim.settle(Settled::default()).await?;
            return Ok(self.look_further(saw_all, begin.elapsed()));
        }
        self.look = match claimed {
            few if few < BATCH / 2 && !saw_all => self.look.saturating_mul(2),
            _ => LOOK.max(self.look / 2),
        };
        if !saw_all {
            // There is more than one lane can take.
            self.relay.database.outbox_written().notify_one();
        }
        let records = claim.rows.iter_mut().map(|row| std::mem::take(&mut row.envelope)).collect();
        let settled = match self.publish(records).await {
            Ok(()) => Settled { published: positions(&claim.rows), postponed: Vec::new() },
            // One bad record must not hold back the others: each aggregate by itself.
            Err(_) => self.publish_one_by_one(&claim, begin).await?,
        };
        let refused = settled.published.is_empty();
        if !refused {
            Failpoint::AfterAck.pass();
        }
        self.note_due(&settled);
        claim.settle(settled).await?;
        Ok(if refused { Turn::Refused } else { Turn::Published })
    }

    async fn publish_one_by_one(&self, claim: &Claim, begin: Instant) -> Result<Settled> {
        let mut settled = Settled::default();
        for rows in aggregates(claim.read_again().await?) {
            let away = settled.published.is_empty() && settled.postponed.len() >= AWAY;
            // A bus that hangs: the rest goes back before the claim on it lapses.
            if away || begin.elapsed() > self.relay.lease / 2 {
                break;
            }
            self.publish_aggregate(rows, &mut settled).await;
        }
        Ok(settled)
    }

    async fn publish_aggregate(&self, mut rows: Vec<Row>, settled: &mut Settled) {
        let positions = positions(&rows);
        let records = rows.iter_mut().map(|row| std::mem::take(&mut row.envelope));
        let records: Vec<Envelope> = records.collect();
        let Some((head, first)) = rows.first().zip(records.first()) else { return };
        let (event_id, topic) = (first.id.clone(), first.topic.clone());
        let Err(error) = self.publish(records).await else {
            settled.published.extend(positions);
            return;
        };
        let (attempts, reason) = (head.attempts.saturating_add(1), error.with_causes());
        tracing::warn!(event_id, topic, attempts, error = reason, "cannot publish an event");
        let wait = self.relay.backoff.wait(attempts).min(LONGEST_WAIT);
        settled.postponed.push(Postponed { position: head.position, attempts, wait, reason });
    }

    async fn publish(&self, records: Vec<Envelope>) -> Result<()> {
        tokio::time::timeout(self.relay.lease / 3, self.relay.bus.publish(records))
            .await
            .unwrap_or_else(|_| Err(Error::unavailable("the event bus does not answer")))
    }

    /// Nothing was claimed: either nothing waits, or what was looked at is held by others or waits
    /// for its next attempt, with more behind it.
    fn look_further(&mut self, saw_all: bool, took: Duration) -> Turn {
        if !saw_all {
            self.look = self.look.saturating_mul(FURTHER);
            return Turn::Published;
        }
        let was_long = self.look > LOOK;
        self.look = LOOK;
        Turn::Idle { rest: if was_long { took.saturating_mul(REST) } else { Duration::ZERO } }
    }

    fn rest_longer(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.relay.backoff.wait(self.failures).min(LONGEST_REST)
    }

    fn note_due(&mut self, settled: &Settled) {
        let now = Instant::now();
        self.due.retain(|due| *due > now);
        self.due.extend(settled.postponed.iter().map(|row| now + row.wait));
    }

    /// How long to wait for a wake-up.
    fn until_due(&self) -> Duration {
        let now = Instant::now();
        let next = self.due.iter().map(|due| due.saturating_duration_since(now)).min();
        next.unwrap_or(self.relay.look_interval).min(self.relay.look_interval)
    }
}

fn positions(rows: &[Row]) -> Vec<i64> {
    rows.iter().map(|row| row.position).collect()
}

/// Rows by aggregate, each in order, the aggregates by their first row.
fn aggregates(rows: Vec<Row>) -> Vec<Vec<Row>> {
    let mut groups: Vec<Vec<Row>> = Vec::new();
    let mut places = HashMap::new();
    for row in rows {
        let (topic, subject) = row.aggregate();
        let place = *places.entry((topic.to_owned(), subject.to_owned())).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[place].push(row);
    }
    groups
}
