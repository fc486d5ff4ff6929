//! Tasks by aggregate: the head of each lane is being handled, the rest waits behind it.

use std::collections::{HashMap, VecDeque};
use std::time::SystemTime;

use crate::kernel::events::bus::{Delivery, Position};
use crate::kernel::proto::events::Envelope;

/// An event to be handled.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Task {
    pub(super) envelope: Envelope,
    /// Why the record is no event of ours.
    pub(super) fault: Option<String>,
    /// Where the bus has it, and since when; `None` for one from the queue of redeliveries.
    place: Option<(Position, SystemTime)>,
}

impl Task {
    /// One from the queue of redeliveries.
    pub(super) fn redelivered(envelope: Envelope) -> Self {
        Self { envelope, fault: None, place: None }
    }

    pub(super) fn is_redelivered(&self) -> bool {
        self.place.is_none()
    }

    /// As the bus wants it back; `None` if it is not the bus's.
    pub(super) fn into_delivery(self) -> Option<Delivery> {
        let Self { envelope, fault, place } = self;
        place.map(|(position, published)| Delivery { envelope, position, published, fault })
    }
}

impl From<Delivery> for Task {
    fn from(Delivery { envelope, position, published, fault }: Delivery) -> Self {
        Self { envelope, fault, place: Some((position, published)) }
    }
}

/// The lanes of one subscription.
#[derive(Default)]
pub(super) struct Lanes {
    waiting: HashMap<(String, String), VecDeque<Task>>,
    len: usize,
}

impl Lanes {
    /// How many tasks are handled or wait.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Takes a task in; returns it if it may be handled now.
    pub(super) fn add(&mut self, task: Task) -> Option<Task> {
        self.len += 1;
        match self.waiting.get_mut(&key(&task)) {
            Some(lane) => {
                lane.push_back(task);
                None
            }
            None => {
                self.waiting.insert(key(&task), VecDeque::new());
                Some(task)
            }
        }
    }

    /// The head of a lane is settled: the next of it, if there is one.
    pub(super) fn advance(&mut self, settled: &Task) -> Option<Task> {
        self.len = self.len.saturating_sub(1);
        let key = key(settled);
        let next = self.waiting.get_mut(&key)?.pop_front();
        if next.is_none() {
            self.waiting.remove(&key);
        }
        next
    }
}

fn key(task: &Task) -> (String, String) {
    (task.envelope.topic.clone(), task.envelope.subject.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(subject: &str, offset: i64) -> Task {
        Task::from(Delivery {
            envelope: Envelope { subject: subject.into(), ..Envelope::default() },
            position: Position { stream: "t".into(), offset, epoch: 0 },
            published: SystemTime::UNIX_EPOCH,
            fault: None,
        })
    }

    #[test]
    fn one_of_each_aggregate_is_handled_at_a_time() {
        let mut lanes = Lanes::default();
        let head = lanes.add(task("a", 1)).expect("the lane is free");
        assert_eq!(lanes.add(task("a", 2)), None);
        assert!(lanes.add(task("b", 3)).is_some(), "another aggregate does not wait");
        assert_eq!(lanes.len(), 3);
        assert_eq!(lanes.advance(&head), Some(task("a", 2)));
        assert_eq!(lanes.advance(&task("a", 2)), None);
        assert!(lanes.add(task("a", 4)).is_some(), "the lane is free again");
        assert_eq!(lanes.len(), 2);
    }
}
