//! Reading a topic without being a consumer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::Offset;
use rdkafka::{Message as _, TopicPartitionList};

use super::client::{Client, Watch, blocking};
use super::offsets::{self, Partition};
use super::record;
use crate::kernel::error::{Error, Result};
use crate::kernel::events::bus::{Cursor, Delivery, Page, ReadFrom};

/// The longest one poll waits.
const POLL: Duration = Duration::from_millis(100);

/// The membership that read records name: none, for they are not acknowledged.
const NO_EPOCH: u64 = 0;

/// The consumer that reads, in no group.
type ReadConsumer = BaseConsumer<Watch>;

/// Reads topics, one page at a time.
pub(super) struct Reader {
    client: Arc<Client>,
    /// A client that is idle: connecting anew for each page would take longer than reading it.
    idle: Arc<Mutex<Option<ReadConsumer>>>,
}

impl Reader {
    pub(super) fn new(client: Arc<Client>) -> Self {
        Self { client, idle: Arc::default() }
    }

    /// The next records of a topic.
    pub(super) async fn page(&self, topic: &str, from: ReadFrom, limit: usize) -> Result<Page> {
        let topic = topic.to_owned();
        self.with_consumer(move |client, consumer| page(client, consumer, &topic, &from, limit))
            .await
    }

    /// Behind the newest record of a topic.
    pub(super) async fn end(&self, topic: &str) -> Result<Cursor> {
        let topic = topic.to_owned();
        self.with_consumer(move |client, consumer| {
            let partitions = offsets::partitions(client, consumer, &[topic])?;
            Ok(cursor(client, offsets::ends(client, consumer, &partitions)?))
        })
        .await
    }

    async fn with_consumer<T, F>(&self, ask: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Client, &ReadConsumer) -> Result<T> + Send + 'static,
    {
        let (client, idle) = (self.client.clone(), self.idle.clone());
        blocking(move || {
            let known = idle.lock().unwrap_or_else(PoisonError::into_inner).take();
            let consumer = match known {
                Some(consumer) => consumer,
                None => client
                    .for_reader()
                    .create_with_context(client.watch())
                    .map_err(Error::internal)?,
            };
            let answer = ask(&client, &consumer)?;
            *idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(consumer);
            Ok(answer)
        })
        .await
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let idle = self.idle.clone();
        // Ending a client waits for its threads, which no task may do.
        std::thread::spawn(move || idle.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

fn page(
    client: &Client,
    consumer: &ReadConsumer,
    topic: &str,
    from: &ReadFrom,
    limit: usize,
) -> Result<Page> {
    let partitions = offsets::partitions(client, consumer, &[topic.to_owned()])?;
    let ends = offsets::ends(client, consumer, &partitions)?;
    let mut next = begin(client, consumer, &partitions, from, &ends)?;
    let unread = |next: &BTreeMap<Partition, i64>| -> Vec<Partition> {
        let behind = |partition: &&Partition| next.get(*partition) < ends.get(*partition);
        partitions.iter().filter(behind).cloned().collect()
    };
    let wanted = unread(&next);
    let mut records = Vec::new();
    if !wanted.is_empty() && limit > 0 {
        assign(consumer, &wanted, &next).map_err(|error| client.unavailable(error))?;
        let read = read(client, consumer, &mut next, &ends, limit, &mut records);
        consumer.unassign().map_err(|error| client.unavailable(error))?;
        read?;
    }
    Ok(Page { records, next: cursor(client, next) })
}

/// The first record to read of each partition.
fn begin(
    client: &Client,
    consumer: &ReadConsumer,
    partitions: &[Partition],
    from: &ReadFrom,
    ends: &BTreeMap<Partition, i64>,
) -> Result<BTreeMap<Partition, i64>> {
    let oldest = offsets::beginnings(client, consumer, partitions)?;
    match from {
        ReadFrom::Earliest => Ok(oldest),
        ReadFrom::Time(time) => {
            let mut begin = ends.clone();
            begin.extend(offsets::since(client, consumer, partitions, unix_millis(*time))?);
            Ok(begin)
        }
        ReadFrom::Cursor(cursor) => {
            let begin = oldest.into_iter().map(|((topic, number), oldest)| {
                let offset = cursor.offset(&client.stream(&topic, number));
                ((topic, number), offset.max(oldest))
            });
            Ok(begin.collect())
        }
    }
}

fn assign(
    consumer: &ReadConsumer,
    partitions: &[Partition],
    next: &BTreeMap<Partition, i64>,
) -> Result<(), KafkaError> {
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        let offset = next.get(partition).copied().unwrap_or_default();
        list.add_partition_offset(&partition.0, partition.1, Offset::Offset(offset))?;
    }
    consumer.assign(&list)
}

/// Reads until the page is full or every partition is at its end.
fn read(
    client: &Client,
    consumer: &ReadConsumer,
    next: &mut BTreeMap<Partition, i64>,
    ends: &BTreeMap<Partition, i64>,
    limit: usize,
    records: &mut Vec<Delivery>,
) -> Result<()> {
    let mut deadline = Instant::now() + client.settings().request_timeout;
    while records.len() < limit
        && ends.iter().any(|(partition, end)| next.get(partition) < Some(end))
    {
        match consumer.poll(POLL) {
            Some(Ok(message)) => {
                let partition = (message.topic().to_owned(), message.partition());
                // What was fetched for an earlier page may still come.
                if next.get(&partition).is_none_or(|next| *next > message.offset()) {
                    continue;
                }
                deadline = Instant::now() + client.settings().request_timeout;
                next.insert(partition, message.offset() + 1);
                records.push(record::delivery(client, &message, NO_EPOCH));
            }
            // Behind the last record there may be a gap, left by compaction.
            Some(Err(KafkaError::PartitionEOF(number))) => {
                for (partition, end) in ends.iter().filter(|(partition, _)| partition.1 == number) {
                    let reached = next.get(partition).copied().unwrap_or_default().max(*end);
                    next.insert(partition.clone(), reached);
                }
            }
            Some(Err(_)) | None if Instant::now() > deadline => {
                let late = RDKafkaErrorCode::OperationTimedOut;
                return Err(client.unavailable(KafkaError::MessageConsumption(late)));
            }
            Some(Err(_)) | None => {}
        }
    }
    Ok(())
}

fn cursor(client: &Client, next: BTreeMap<Partition, i64>) -> Cursor {
    let streams = next.into_iter();
    Cursor(streams.map(|((topic, number), next)| (client.stream(&topic, number), next)).collect())
}

fn unix_millis(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
