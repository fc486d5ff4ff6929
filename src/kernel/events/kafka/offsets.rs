//! Where partitions begin and end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::Offset;
use rdkafka::types::RDKafkaRespErr;

use super::client::Client;
use crate::kernel::error::Result;

/// How long to wait for the leader of a partition before asking again.
const LEADER_WAIT: Duration = Duration::from_millis(50);

/// A partition: topic on the cluster, number.
pub(super) type Partition = (String, i32);

/// The partitions of topics; none of a topic that is missing.
pub(super) fn partitions<C: ConsumerContext>(
    client: &Client,
    consumer: &BaseConsumer<C>,
    topics: &[String],
) -> Result<Vec<Partition>> {
    let mut partitions = Vec::new();
    for topic in topics.iter().map(|topic| client.outer(topic)) {
        let metadata = consumer
            .fetch_metadata(Some(&topic), client.settings().request_timeout)
            .map_err(|error| client.unavailable(error))?;
        for found in metadata.topics() {
            match found.error() {
                None => {
                    let numbers = found.partitions().iter();
                    partitions.extend(numbers.map(|partition| (topic.clone(), partition.id())));
                }
                Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) => {}
                Some(error) => {
                    return Err(client.unavailable(KafkaError::MetadataFetch(error.into())));
                }
            }
        }
    }
    Ok(partitions)
}

/// The oldest record that each partition retains.
pub(super) fn beginnings<C: ConsumerContext>(
    client: &Client,
    consumer: &BaseConsumer<C>,
    partitions: &[Partition],
) -> Result<BTreeMap<Partition, i64>> {
    at(client, consumer, partitions, Offset::Beginning)
}

/// Behind the newest record of each partition.
pub(super) fn ends<C: ConsumerContext>(
    client: &Client,
    consumer: &BaseConsumer<C>,
    partitions: &[Partition],
) -> Result<BTreeMap<Partition, i64>> {
    at(client, consumer, partitions, Offset::End)
}

/// The first record of each partition at this Unix time in milliseconds or later; nothing where
/// there is none.
pub(super) fn since<C: ConsumerContext>(
    client: &Client,
    consumer: &BaseConsumer<C>,
    partitions: &[Partition],
    millis: i64,
) -> Result<BTreeMap<Partition, i64>> {
    at(client, consumer, partitions, Offset::Offset(millis))
}

/// How far the consumer's group is; nothing for a partition that is new to it.
pub(super) fn positions<C: ConsumerContext>(
    client: &Client,
    consumer: &BaseConsumer<C>,
    partitions: &[Partition],
) -> Result<BTreeMap<Partition, i64>> {
    let list = list(partitions, Offset::Invalid).map_err(|error| client.unavailable(error))?;
    patiently(client, || {
        offsets(&consumer.committed_offsets(list.clone(), client.settings().request_timeout)?)
    })
}

/// One request to each broker for all partitions: the places `beginning` and `end` are times to
/// Kafka, as real ones are.
fn at<C: ConsumerContext>(
    client: &Client,
    consumer: &BaseConsumer<C>,
    partitions: &[Partition],
    place: Offset,
) -> Result<BTreeMap<Partition, i64>> {
    if partitions.is_empty() {
        return Ok(BTreeMap::new());
    }
    let list = list(partitions, place).map_err(|error| client.unavailable(error))?;
    let found = patiently(client, || {
        offsets(&consumer.offsets_for_times(list.clone(), client.settings().request_timeout)?)
    })?;
    client.outage().ended();
    Ok(found)
}

/// Asks again while a partition has no leader, as one that was just made or has just moved.
fn patiently<T>(client: &Client, ask: impl Fn() -> Result<T, KafkaError>) -> Result<T> {
    let deadline = Instant::now() + client.settings().request_timeout;
    loop {
        match ask() {
            Err(error) if is_leaderless(&error) && Instant::now() < deadline => {
                std::thread::sleep(LEADER_WAIT);
            }
            answer => return answer.map_err(|error| client.unavailable(error)),
        }
    }
}

fn is_leaderless(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::NotLeaderForPartition
                | RDKafkaErrorCode::LeaderNotAvailable
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownPartition
        )
    )
}

fn list(partitions: &[Partition], offset: Offset) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for (topic, partition) in partitions {
        list.add_partition_offset(topic, *partition, offset)?;
    }
    Ok(list)
}

/// The offsets in a list; the error of the first partition that has one.
fn offsets(list: &TopicPartitionList) -> Result<BTreeMap<Partition, i64>, KafkaError> {
    let mut offsets = BTreeMap::new();
    for element in list.elements() {
        element.error()?;
        if let Offset::Offset(offset) = element.offset() {
            offsets.insert((element.topic().to_owned(), element.partition()), offset);
        }
    }
    Ok(offsets)
}
