//! Verification: walks the chain, from its beginning or from a mark, and stops at the first thing that
//! is wrong.

use chrono::{DateTime, Utc};

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
    /// The place up to which this rests on the verification in the background; zero when the whole
    /// chain was walked.
    pub checkpoint: i64,
    /// When the last verification in the background ended, where the report rests on it.
    pub background_verify_time: Option<DateTime<Utc>>,
}

impl Report {
    /// A chain that was walked to its end.
    pub fn intact(verified_records: i64) -> Self {
        Self { verified_records, fault: None, checkpoint: 0, background_verify_time: None }
    }

    /// A chain that is broken.
    pub fn broken(verification: &Verification, fault: Fault) -> Self {
        let verified_records = verification.position().min(fault.sequence - 1).max(0);
        Self { fault: Some(fault), ..Self::intact(verified_records) }
    }
}

/// What a complete verification found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The first fault.
    pub fault: Fault,
    /// How many records were found good before it.
    pub verified_records: i64,
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

    /// Goes on behind an entry that was found good before.
    pub fn resume(last: Head) -> Self {
        Self { last }
    }

    /// The last entry that was found good.
    pub fn last(&self) -> Head {
        self.last.clone()
    }

    /// The fault of a mark that nobody with the key has sealed.
    pub fn unsealed(last: &Head) -> Fault {
        let reason = "is where the checkpoint points to, whose seal is broken: it was moved, or the \
                      key was changed";
        fault(&last.record_id, last.sequence, reason)
    }

    /// Checks that a mark still points to the entry that it was set behind.
    pub fn at_mark(mark: &Head, stored: Option<&Stored>) -> Result<(), Fault> {
        let broken = |reason: &str| Err(fault(&mark.record_id, mark.sequence, reason));
        match stored {
            Some(Stored::Entry(entry)) if !entry.hash_holds() => {
                broken("does not have the content that its hash was taken over")
            }
            Some(Stored::Entry(entry)) if entry.as_head() != *mark => broken(
                "is not the record that was sealed in its place: the chain was computed anew",
            ),
            Some(Stored::Entry(_)) => Ok(()),
            Some(Stored::Unreadable { .. }) => broken("cannot be read: a field was replaced"),
            None => broken("is missing, and with it perhaps others"),
        }
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
