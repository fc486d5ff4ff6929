//! Verification: walks the chain from its beginning and stops at the first thing that is wrong.

use super::chain::{Entry, Head};
use super::port::Stored;

/// What is wrong with the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Id of the first record at which it shows.
    pub record_id: String,
    /// Place of that record.
    pub sequence: i64,
    /// What is wrong, a lower-case fragment.
    pub reason: String,
}

/// The result of a verification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// How many records were found good.
    pub verified_records: i64,
    /// The first fault; `None` when the chain is intact.
    pub fault: Option<Fault>,
}

/// A verification under way. It needs no more memory than one entry.
#[derive(Debug)]
pub struct Verification {
    last: Head,
}

impl Verification {
    /// Begins before the first entry.
    pub fn begin() -> Self {
        Self { last: Head::genesis() }
    }

    /// Place of the last entry that was found good.
    pub fn position(&self) -> i64 {
        self.last.sequence
    }

    /// Checks the next entry by place.
    pub fn check(&mut self, stored: &Stored) -> Result<(), Fault> {
        let entry = match stored {
            Stored::Entry(entry) => entry,
            Stored::Unreadable { record_id, sequence } => {
                return Err(fault(record_id, *sequence, "cannot be read: a field was replaced"));
            }
        };
        match self.reason_against(entry) {
            Some(reason) => Err(fault(&entry.record.id, entry.sequence, &reason)),
            None => {
                self.last = entry.as_head();
                Ok(())
            }
        }
    }

    /// Checks the end: the last entry must be the one that the head names.
    pub fn finish(&self, head: &Head) -> Result<(), Fault> {
        let last = &self.last;
        if last.sequence < head.sequence {
            let missing = places(last.sequence + 1, head.sequence);
            let reason = format!("{missing} at the end of the chain");
            return Err(fault(&head.record_id, head.sequence, &reason));
        }
        if last.hash != head.hash || last.record_id != head.record_id {
            let reason = "is not the record that the head of the chain names";
            return Err(fault(&last.record_id, last.sequence, reason));
        }
        Ok(())
    }

    /// The fault of a record that stands behind the head.
    pub fn beyond_head(stored: &Stored) -> Fault {
        let (record_id, sequence) = match stored {
            Stored::Entry(entry) => (&entry.record.id, entry.sequence),
            Stored::Unreadable { record_id, sequence } => (record_id, *sequence),
        };
        let reason =
            "stands behind the head of the chain: it was inserted, or the head was set back";
        fault(record_id, sequence, reason)
    }

    fn reason_against(&self, entry: &Entry) -> Option<String> {
        let next = self.last.sequence + 1;
        if entry.sequence < next {
            return Some("stands in a place that is taken".to_owned());
        }
        if entry.sequence > next {
            return Some(format!("{} before it", places(next, entry.sequence - 1)));
        }
        if !entry.hash_holds() {
            return Some("does not have the content that its hash was taken over".to_owned());
        }
        if entry.previous_hash != self.last.hash {
            return Some(
                "does not follow the record before it: one of both was replaced".to_owned(),
            );
        }
        None
    }
}

fn fault(record_id: &str, sequence: i64, reason: &str) -> Fault {
    Fault { record_id: record_id.to_owned(), sequence, reason: reason.to_owned() }
}

fn places(first: i64, last: i64) -> String {
    match first == last {
        true => format!("record {first} is missing"),
        false => format!("records {first} to {last} are missing"),
    }
}
