//! Marks: places up to which the chain was verified, each sealed.
//!
//! | mark | says |
//! |---|---|
//! | checkpoint | the chain was good up to here, each record when it was passed; moves on every minute |
//! | pass | where the verification from the beginning that is under way stands |
//! | verified | where the last verification from the beginning ended, and when |
//!
//! The seal is an HMAC-SHA256 by a key that does not lie in the database. Whoever edits the database
//! can neither move a mark nor fit one to a chain that they computed anew: the record in the mark's
//! place no longer has the hash that was sealed. Without a key the seal tells of accidents only.
//!
//! The bytes that are sealed: `mainstay.audit.mark.v1` and a zero byte; the name of the mark and a
//! zero byte; sequence and time, 8 bytes big-endian each; the 32 bytes of the hash; the record's id.

use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::chain::{Hash, Head};

/// What every seal begins with.
const DOMAIN: &[u8] = b"mainstay.audit.mark.v1\0";

/// Which mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkKind {
    /// Up to where the chain was good when it grew.
    Checkpoint,
    /// Where the verification under way stands.
    Pass,
    /// Where the last complete verification ended.
    Verified,
}

impl MarkKind {
    /// Its name, in the table and under the seal.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Checkpoint => "checkpoint",
            Self::Pass => "pass",
            Self::Verified => "verified",
        }
    }
}

/// A place up to which the chain was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The last record that was good.
    pub last: Head,
    /// When it was.
    pub time: DateTime<Utc>,
    /// The seal over both, in hexadecimal.
    pub seal: String,
}

/// Seals marks.
#[derive(Clone)]
pub struct Sealer {
    key: Vec<u8>,
}

impl Sealer {
    /// Seals by this key; an empty one tells of accidents only.
    pub fn new(key: Vec<u8>) -> Self {
        Self { key }
    }

    /// A mark behind this record.
    pub fn mark(&self, kind: MarkKind, last: Head, time: DateTime<Utc>) -> Mark {
        let seal = hex::encode(self.mac(kind, &last, time).finalize().into_bytes());
        Mark { last, time, seal }
    }

    /// Whether the mark is one that this key has sealed.
    pub fn holds(&self, kind: MarkKind, mark: &Mark) -> bool {
        let Ok(seal) = hex::decode(&mark.seal) else { return false };
        self.mac(kind, &mark.last, mark.time).verify_slice(&seal).is_ok()
    }

    fn mac(&self, kind: MarkKind, last: &Head, time: DateTime<Utc>) -> Hmac<Sha256> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        mac.update(DOMAIN);
        mac.update(kind.as_str().as_bytes());
        mac.update(b"\0");
        mac.update(&last.sequence.to_be_bytes());
        mac.update(&time.timestamp_micros().to_be_bytes());
        mac.update(last.hash.as_bytes());
        mac.update(last.record_id.as_bytes());
        mac
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Sealer([redacted])")
    }
}

/// A hash that is not the chain's, for a mark whose own cannot be read: no seal holds over it.
pub fn unreadable() -> Hash {
    Hash::ZERO
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(sequence: i64) -> Head {
        Head { sequence, ..Head::genesis() }
    }

    #[test]
    fn a_seal_holds_for_its_mark_alone() {
        let (sealer, time) = (Sealer::new(b"key".to_vec()), DateTime::UNIX_EPOCH);
        let mark = sealer.mark(MarkKind::Checkpoint, head(7), time);
        assert!(sealer.holds(MarkKind::Checkpoint, &mark));
        assert!(!sealer.holds(MarkKind::Verified, &mark), "another mark");
        assert!(!Sealer::new(b"other".to_vec()).holds(MarkKind::Checkpoint, &mark));
        let edits: [fn(&mut Mark); 4] = [
            |mark| mark.last.sequence += 1,
            |mark| mark.last.record_id.push('x'),
            |mark| mark.time += chrono::TimeDelta::microseconds(1),
            |mark| mark.seal.clear(),
        ];
        for edit in edits {
            let mut edited = mark.clone();
            edit(&mut edited);
            assert!(!sealer.holds(MarkKind::Checkpoint, &edited), "{edited:?}");
        }
    }
}
