//! A member of a consumer group: one thread that polls.
//!
//! librdkafka wants to be polled at all times, for rebalances come that way. So the thread fetches
//! into a buffer; when the buffer is full it pauses its partitions and goes on polling. Positions are
//! committed now and then, when partitions are revoked, and at the end.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{ClientContext, Message as _, TopicPartitionList};
use tokio::sync::mpsc::UnboundedSender;

use super::assignment::Assignment;
use super::client::Client;
use super::record;
use crate::kernel::error::{Error, Result};
use crate::kernel::events::bus::Delivery;

/// The longest one poll waits, and with it the end of the thread.
const POLL: Duration = Duration::from_millis(50);

/// The consumer that the thread polls.
pub(super) type GroupConsumer = BaseConsumer<Member>;

/// What the thread and its subscription share.
pub(super) struct Shared {
    pub(super) client: Arc<Client>,
    pub(super) group: String,
    assignment: Mutex<Assignment>,
    buffered: AtomicUsize,
    paused: AtomicBool,
    stopped: AtomicBool,
}

impl Shared {
    pub(super) fn new(client: Arc<Client>, group: &str) -> Self {
        Self {
            client,
            group: group.to_owned(),
            assignment: Mutex::default(),
            buffered: AtomicUsize::new(0),
            paused: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
        }
    }

    pub(super) fn assignment(&self) -> MutexGuard<'_, Assignment> {
        self.assignment.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A record was taken from the buffer.
    pub(super) fn taken(&self) {
        self.buffered.fetch_sub(1, Ordering::Relaxed);
    }

    /// Ends the thread, which leaves the group.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Writes down how far the group is.
    pub(super) fn commit(&self, consumer: &GroupConsumer, mode: CommitMode) -> KafkaResult<()> {
        let Some(list) = self.assignment().uncommitted()? else { return Ok(()) };
        consumer.commit(&list, mode)?;
        if let CommitMode::Sync = mode {
            self.assignment().committed(&self.client, &list);
        }
        Ok(())
    }

    /// A commit that fails is made up for by the next one, or by the inbox.
    fn try_commit(&self, consumer: &GroupConsumer, mode: CommitMode) {
        if let Err(error) = self.commit(consumer, mode) {
            tracing::debug!(group = self.group, %error, "cannot commit a position");
        }
    }
}

/// Polls until it is told to stop. What cannot be recovered from ends it with an error.
pub(super) fn poll(
    consumer: &GroupConsumer,
    shared: &Shared,
    deliveries: &UnboundedSender<Result<Delivery>>,
) {
    let mut committed = Instant::now();
    while !shared.stopped.load(Ordering::Relaxed) && !deliveries.is_closed() {
        match consumer.poll(POLL) {
            Some(Ok(message)) => {
                shared.client.outage().ended();
                let stream = shared.client.stream(message.topic(), message.partition());
                let epoch = shared.assignment().hand_out(&stream, message.offset());
                // A partition that is not held is another's to deliver.
                let Some(epoch) = epoch else { continue };
                shared.buffered.fetch_add(1, Ordering::Relaxed);
                // Fails when the subscription is gone; then the loop ends.
                let _ = deliveries.send(Ok(record::delivery(&shared.client, &message, epoch)));
            }
            Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                let cause = KafkaError::MessageConsumptionFatal(code);
                let lost = Error::unavailable("the membership in the consumer group is lost");
                let _ = deliveries.send(Err(lost.because(cause)));
                return;
            }
            Some(Err(error)) => {
                // librdkafka recovers from it.
                shared.client.watch().error(error, "while polling");
            }
            None => {}
        }
        if let Err(error) = press_back(consumer, shared) {
            tracing::debug!(group = shared.group, %error, "cannot pause or resume");
        }
        if committed.elapsed() >= shared.client.settings().commit_interval {
            committed = Instant::now();
            shared.try_commit(consumer, CommitMode::Async);
        }
    }
}

/// Pauses the partitions while the buffer is full, and resumes them once half of it is taken.
fn press_back(consumer: &GroupConsumer, shared: &Shared) -> KafkaResult<()> {
    let (buffered, full) =
        (shared.buffered.load(Ordering::Relaxed), shared.client.settings().buffer);
    match shared.paused.load(Ordering::Relaxed) {
        false if buffered >= full => {
            consumer.pause(&consumer.assignment()?)?;
            shared.paused.store(true, Ordering::Relaxed);
        }
        true if buffered <= full / 2 => {
            consumer.resume(&consumer.assignment()?)?;
            shared.paused.store(false, Ordering::Relaxed);
        }
        _ => {}
    }
    Ok(())
}

/// What librdkafka calls while it is polled.
pub(super) struct Member(pub(super) Arc<Shared>);

impl ClientContext for Member {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.0.client.watch().log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.client.watch().error(error, reason);
    }
}

impl ConsumerContext for Member {
    fn pre_rebalance(&self, consumer: &GroupConsumer, rebalance: &Rebalance<'_>) {
        let shared = &self.0;
        match rebalance {
            Rebalance::Assign(list) => {
                tracing::debug!(group = shared.group, partitions = list.count(), "assigned");
                shared.assignment().assign(&shared.client, list);
                // What is assigned anew is not paused.
                shared.paused.store(false, Ordering::Relaxed);
            }
            Rebalance::Revoke(list) => {
                tracing::debug!(group = shared.group, partitions = list.count(), "revoked");
                // Partitions that are lost may be another's already.
                if !consumer.assignment_lost() {
                    shared.try_commit(consumer, CommitMode::Sync);
                }
                shared.assignment().revoke(&shared.client, list);
            }
            Rebalance::Error(error) => {
                tracing::warn!(group = shared.group, %error, "a rebalance failed");
            }
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        match result {
            Ok(()) => self.0.assignment().committed(&self.0.client, offsets),
            Err(error) => {
                tracing::debug!(group = self.0.group, %error, "cannot commit a position");
            }
        }
    }
}
