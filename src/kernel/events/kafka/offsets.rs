//! Where partitions begin and end.

use std::collections::BTreeMap;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::Offset;
use rdkafka::types::RDKafkaRespErr;

use super::client::Client;
use crate::kernel::error::Result;

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
    let asked = consumer.committed_offsets(list, client.settings().request_timeout);
    Ok(offsets(&asked.map_err(|error| client.unavailable(error))?))
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
    let asked = list(partitions, place)
        .and_then(|list| consumer.offsets_for_times(list, client.settings().request_timeout));
    let found = asked.map_err(|error| client.unavailable(error))?;
    client.outage().ended();
    Ok(offsets(&found))
}

fn list(partitions: &[Partition], offset: Offset) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for (topic, partition) in partitions {
        list.add_partition_offset(topic, *partition, offset)?;
    }
    Ok(list)
}

fn offsets(list: &TopicPartitionList) -> BTreeMap<Partition, i64> {
    let known = list.elements().into_iter().filter_map(|element| match element.offset() {
        Offset::Offset(offset) => Some(((element.topic().to_owned(), element.partition()), offset)),
        _ => None,
    });
    known.collect()
}
