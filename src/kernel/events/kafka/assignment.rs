//! The partitions that a member of a group holds, and how far it is on each.

use std::collections::BTreeMap;

use rdkafka::TopicPartitionList;
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::Offset;

use super::client::Client;
use crate::kernel::events::bus::Position;
use crate::kernel::events::progress::Progress;

/// The partitions held, by stream.
#[derive(Debug, Default)]
pub(super) struct Assignment {
    /// Grows with every partition that is assigned: what was handed out under an earlier number no
    /// longer counts.
    epoch: u64,
    partitions: BTreeMap<String, Partition>,
}

#[derive(Debug)]
struct Partition {
    topic: String,
    number: i32,
    epoch: u64,
    progress: Progress,
    /// The record that the group would go on with.
    done: Option<i64>,
    /// What is written down of that.
    committed: Option<i64>,
}

impl Assignment {
    /// These partitions are this member's now.
    pub(super) fn assign(&mut self, client: &Client, list: &TopicPartitionList) {
        for element in list.elements() {
            self.epoch += 1;
            let partition = Partition {
                topic: element.topic().to_owned(),
                number: element.partition(),
                epoch: self.epoch,
                progress: Progress::default(),
                done: None,
                committed: None,
            };
            let stream = client.stream(element.topic(), element.partition());
            self.partitions.insert(stream, partition);
        }
    }

    /// These partitions are this member's no longer.
    pub(super) fn revoke(&mut self, client: &Client, list: &TopicPartitionList) {
        for element in list.elements() {
            self.partitions.remove(&client.stream(element.topic(), element.partition()));
        }
    }

    /// Notes that a record is handed out; `None` if its partition is not held.
    pub(super) fn hand_out(&mut self, stream: &str, offset: i64) -> Option<u64> {
        let partition = self.partitions.get_mut(stream)?;
        partition.progress.hand_out(offset);
        Some(partition.epoch)
    }

    /// Whether a record was handed out under a membership that still holds.
    pub(super) fn is_current(&self, position: &Position) -> bool {
        self.partitions
            .get(&position.stream)
            .is_some_and(|partition| partition.epoch == position.epoch)
    }

    /// Notes that a record is dealt with; one of a membership that has ended is passed over.
    pub(super) fn acknowledge(&mut self, position: &Position) {
        let partition = self.partitions.get_mut(&position.stream);
        let Some(partition) = partition.filter(|held| held.epoch == position.epoch) else { return };
        if let Some(last) = partition.progress.acknowledge(position.offset) {
            partition.done = Some(last + 1);
        }
    }

    /// What is to be written down; `None` when nothing is.
    pub(super) fn uncommitted(&self) -> KafkaResult<Option<TopicPartitionList>> {
        let mut list = TopicPartitionList::new();
        for partition in self.partitions.values() {
            if let Some(done) = partition.done.filter(|done| Some(*done) > partition.committed) {
                let (topic, number) = (&partition.topic, partition.number);
                list.add_partition_offset(topic, number, Offset::Offset(done))?;
            }
        }
        Ok((list.count() > 0).then_some(list))
    }

    /// It is written down.
    pub(super) fn committed(&mut self, client: &Client, list: &TopicPartitionList) {
        for element in list.elements() {
            let stream = client.stream(element.topic(), element.partition());
            if let (Some(partition), Offset::Offset(offset)) =
                (self.partitions.get_mut(&stream), element.offset())
            {
                partition.committed = partition.committed.max(Some(offset));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::settings::{EventSettings, KafkaSettings};

    fn client() -> Client {
        let kafka = KafkaSettings { brokers: "kafka:9092".into(), ..KafkaSettings::default() };
        Client::new(&EventSettings { kafka, ..EventSettings::default() }).unwrap()
    }

    fn partition(number: i32) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        list.add_partition("t", number);
        list
    }

    fn offsets(assignment: &Assignment) -> Vec<(i32, Offset)> {
        let list = assignment.uncommitted().unwrap();
        let elements = list.as_ref().map(TopicPartitionList::elements).unwrap_or_default();
        elements.iter().map(|element| (element.partition(), element.offset())).collect()
    }

    #[test]
    fn positions_follow_what_is_acknowledged_without_a_gap() {
        let (client, mut assignment) = (client(), Assignment::default());
        assignment.assign(&client, &partition(0));
        let epochs: Vec<_> =
            [4, 5, 7].map(|offset| (offset, assignment.hand_out("t/0", offset).unwrap())).to_vec();
        let acknowledge = |assignment: &mut Assignment, index: usize| {
            let (offset, epoch) = epochs[index];
            assignment.acknowledge(&Position { stream: "t/0".into(), offset, epoch });
        };
        acknowledge(&mut assignment, 1);
        assert_eq!(offsets(&assignment), []);
        acknowledge(&mut assignment, 0);
        assert_eq!(offsets(&assignment), [(0, Offset::Offset(6))]);
        let list = assignment.uncommitted().unwrap().unwrap();
        assignment.committed(&client, &list);
        assert_eq!(offsets(&assignment), [], "it is written down once");
        acknowledge(&mut assignment, 2);
        assert_eq!(offsets(&assignment), [(0, Offset::Offset(8))]);
    }

    #[test]
    fn a_late_acknowledgement_of_a_revoked_partition_is_passed_over() {
        let (client, mut assignment) = (client(), Assignment::default());
        assignment.assign(&client, &partition(0));
        let epoch = assignment.hand_out("t/0", 1).unwrap();
        let late = Position { stream: "t/0".into(), offset: 1, epoch };
        assert!(assignment.is_current(&late));

        assignment.revoke(&client, &partition(0));
        assignment.acknowledge(&late);
        assert_eq!(assignment.hand_out("t/0", 2), None);
        assignment.assign(&client, &partition(0));
        assignment.hand_out("t/0", 1).unwrap();
        assignment.acknowledge(&late);
        assert!(!assignment.is_current(&late));
        assert_eq!(offsets(&assignment), [], "the new membership has its own progress");
    }
}
