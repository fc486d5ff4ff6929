//! Deliveries by aggregate: the head of each lane is being handled, the rest waits behind it.

use std::collections::{HashMap, VecDeque};

use crate::kernel::events::bus::Delivery;

/// The lanes of one subscription.
#[derive(Default)]
pub(super) struct Lanes {
    waiting: HashMap<(String, String), VecDeque<Delivery>>,
    len: usize,
}

impl Lanes {
    /// How many deliveries are handled or wait.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Takes a delivery in; returns it if it may be handled now.
    pub(super) fn add(&mut self, delivery: Delivery) -> Option<Delivery> {
        self.len += 1;
        match self.waiting.get_mut(&key(&delivery)) {
            Some(lane) => {
                lane.push_back(delivery);
                None
            }
            None => {
                self.waiting.insert(key(&delivery), VecDeque::new());
                Some(delivery)
            }
        }
    }

    /// The head of a lane is settled: the next of it, if there is one.
    pub(super) fn advance(&mut self, settled: &Delivery) -> Option<Delivery> {
        self.len = self.len.saturating_sub(1);
        let key = key(settled);
        let next = self.waiting.get_mut(&key)?.pop_front();
        if next.is_none() {
            self.waiting.remove(&key);
        }
        next
    }
}

fn key(delivery: &Delivery) -> (String, String) {
    (delivery.envelope.topic.clone(), delivery.envelope.subject.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::events::bus::Position;
    use crate::kernel::proto::events::Envelope;

    fn delivery(subject: &str, offset: i64) -> Delivery {
        Delivery {
            envelope: Envelope { subject: subject.into(), ..Envelope::default() },
            position: Position { stream: "t".into(), offset, epoch: 0 },
            published: std::time::SystemTime::UNIX_EPOCH,
            fault: None,
        }
    }

    #[test]
    fn one_of_each_aggregate_is_handled_at_a_time() {
        let mut lanes = Lanes::default();
        let head = lanes.add(delivery("a", 1)).expect("the lane is free");
        assert_eq!(lanes.add(delivery("a", 2)), None);
        assert!(lanes.add(delivery("b", 3)).is_some(), "another aggregate does not wait");
        assert_eq!(lanes.len(), 3);
        assert_eq!(lanes.advance(&head), Some(delivery("a", 2)));
        assert_eq!(lanes.advance(&delivery("a", 2)), None);
        assert!(lanes.add(delivery("a", 4)).is_some(), "the lane is free again");
        assert_eq!(lanes.len(), 2);
    }
}
