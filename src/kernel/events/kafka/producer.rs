//! Publishing.
//!
//! A batch is handed to librdkafka in its order and then awaited as a whole. If any of it fails or
//! takes too long, the client that holds it is thrown away with everything it has not sent, and the
//! next batch gets a new one: records that were given up on cannot be sent later, out of order with
//! what was published since.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer as _, PurgeConfig};

use super::client::{Client, Watch};
use super::record;
use crate::kernel::error::{Error, Result};
use crate::kernel::proto::events::Envelope;

/// The producer of this process.
pub(super) struct Producer {
    client: Arc<Client>,
    current: Arc<Mutex<Current>>,
}

/// The client in use, and how many there were before.
#[derive(Default)]
struct Current {
    producer: Option<FutureProducer<Watch>>,
    generation: u64,
}

impl Producer {
    pub(super) fn new(client: Arc<Client>) -> Self {
        Self { client, current: Arc::default() }
    }

    pub(super) async fn publish(&self, records: &[Envelope]) -> Result<()> {
        let session = self.session()?;
        let sending = send(&self.client, &session.producer, records);
        let sent = tokio::time::timeout(self.client.settings().delivery_timeout, sending).await;
        match sent {
            Ok(Ok(())) => {
                session.keep();
                self.client.outage().ended();
                Ok(())
            }
            Ok(Err(error)) => Err(refused(&self.client, error)),
            Err(_) => {
                let error = KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut);
                Err(self.client.unavailable(error))
            }
        }
    }

    fn session(&self) -> Result<Session> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let producer = match &current.producer {
            Some(producer) => producer.clone(),
            None => {
                let config = self.client.for_producer();
                let producer: FutureProducer<Watch> =
                    config.create_with_context(self.client.watch()).map_err(Error::internal)?;
                current.generation += 1;
                current.producer.insert(producer).clone()
            }
        };
        let generation = current.generation;
        Ok(Session { current: self.current.clone(), producer, generation, sound: false })
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        let current = self.current.clone();
        // Ending a client waits for its threads, which no task may do.
        std::thread::spawn(move || {
            current.lock().unwrap_or_else(PoisonError::into_inner).producer.take()
        });
    }
}

/// One batch and the client that sends it. Dropped before it was kept, also because its publisher no
/// longer waits, it gives the client up.
struct Session {
    current: Arc<Mutex<Current>>,
    producer: FutureProducer<Watch>,
    generation: u64,
    sound: bool,
}

impl Session {
    fn keep(mut self) {
        self.sound = true;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.sound {
            return;
        }
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.generation == self.generation {
            current.producer = None;
        }
        // Other batches on their way fail with it, and are published again as this one is.
        let producer = self.producer.clone();
        let queued_and_sent = PurgeConfig::default().queue().inflight();
        // Ending a client waits for its threads, which no task may do.
        std::thread::spawn(move || producer.purge(queued_and_sent));
    }
}

/// Hands records over in their order, then waits for all.
async fn send(
    client: &Client,
    producer: &FutureProducer<Watch>,
    records: &[Envelope],
) -> Result<(), KafkaError> {
    let mut sent = VecDeque::with_capacity(records.len());
    for envelope in records {
        let topic = client.outer(&envelope.topic);
        let headers = record::headers(envelope);
        let mut record = FutureRecord::to(&topic)
            .key(&envelope.subject)
            .payload(&envelope.data)
            .headers(headers);
        loop {
            match producer.send_result(record) {
                Ok(delivery) => break sent.push_back(delivery),
                Err((error, again)) if is_full(&error) => {
                    record = again;
                    make_room(&mut sent, error).await?;
                }
                Err((error, _)) => return Err(error),
            }
        }
    }
    for delivery in sent {
        delivered(delivery).await?;
    }
    Ok(())
}

/// Waits until the oldest record was sent, or, when all that is queued is others', for a moment.
async fn make_room(
    sent: &mut VecDeque<DeliveryFuture>,
    full: KafkaError,
) -> Result<(), KafkaError> {
    match sent.pop_front() {
        Some(oldest) => delivered(oldest).await,
        None => Err(full),
    }
}

async fn delivered(delivery: DeliveryFuture) -> Result<(), KafkaError> {
    let outcome = delivery.map(|outcome| outcome.map_err(|_| KafkaError::Canceled)).await?;
    outcome.map(|_| ()).map_err(|(error, _)| error)
}

fn is_full(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull)
}

/// What librdkafka refuses by itself is no outage of the cluster.
fn refused(client: &Client, error: KafkaError) -> Error {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize) => {
            Error::new(crate::kernel::error::FAILED_PRECONDITION, "the event is too large")
                .because(error)
        }
        Some(RDKafkaErrorCode::QueueFull) => {
            Error::unavailable("too many events wait to be sent").because(error)
        }
        _ => client.unavailable(error),
    }
}
