//! The chain of hashes.
//!
//! Each entry carries a SHA-256 hash over its place, the hash of the entry before, and every field of
//! its record. Whoever changes, removes or inserts a record breaks the hashes from there on, unless
//! they compute the whole rest of the chain anew; keep the hash of the newest entry elsewhere to
//! detect even that.
//!
//! The bytes that are hashed, version 1, in this order:
//!
//! | bytes | |
//! |---|---|
//! | `mainstay.audit.v1` and a zero byte | what is hashed, so that the hash means nothing else |
//! | sequence | 8 bytes, big-endian |
//! | hash of the entry before | 32 bytes; zeros for the first |
//! | time | 8 bytes, big-endian, two's complement: microseconds since 1970-01-01T00:00:00Z |
//! | id, actor, action, resource, outcome, request_id, trace_id, source, details | each: its length in bytes as 8 bytes big-endian, then its UTF-8 bytes |
//!
//! The lengths make the encoding unambiguous: no text can move from one field into the next.

use mainstay::kernel::{Error, Result};
use sha2::{Digest as _, Sha256};

use super::record::Record;

/// What every hash begins with.
const DOMAIN: &[u8] = b"mainstay.audit.v1\0";

/// Bytes of a hash.
const HASH_BYTES: usize = 32;

/// A SHA-256 hash, shown in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hash([u8; HASH_BYTES]);

impl Hash {
    /// What stands before the first entry.
    pub const ZERO: Self = Self([0; HASH_BYTES]);

    /// Reads a hash in hexadecimal.
    pub fn parse(text: &str) -> Result<Self> {
        let bytes = hex::decode(text).map_err(Error::internal)?;
        let bytes = bytes
            .try_into()
            .map_err(|_| Error::internal(anyhow::anyhow!("a hash must have {HASH_BYTES} bytes")))?;
        Ok(Self(bytes))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn of(sequence: i64, previous: Self, record: &Record) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(DOMAIN);
        hasher.update(sequence.to_be_bytes());
        hasher.update(previous.0);
        hasher.update(record.time.timestamp_micros().to_be_bytes());
        for text in [
            &record.id,
            &record.actor,
            &record.action,
            &record.resource,
            &record.outcome,
            &record.request_id,
            &record.trace_id,
            &record.source,
            &record.details,
        ] {
            hasher.update((text.len() as u64).to_be_bytes());
            hasher.update(text.as_bytes());
        }
        Self(hasher.finalize().into())
    }
}

impl std::fmt::Display for Hash {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&hex::encode(self.0))
    }
}

/// A record in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Place in the chain, from 1 without gaps.
    pub sequence: i64,
    /// What happened.
    pub record: Record,
    /// Hash of this entry.
    pub hash: Hash,
    /// Hash of the entry before.
    pub previous_hash: Hash,
}

impl Entry {
    /// Whether the hash is the one that place, entry before and record give.
    pub fn hash_holds(&self) -> bool {
        self.hash == Hash::of(self.sequence, self.previous_hash, &self.record)
    }

    /// The head of a chain that ends here.
    pub fn as_head(&self) -> Head {
        Head { sequence: self.sequence, hash: self.hash, record_id: self.record.id.clone() }
    }
}

/// The newest end of the chain. It is kept beside the entries, so that removing the last of them
/// does not go unseen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Place of the newest entry; zero before the first.
    pub sequence: i64,
    /// Hash of the newest entry.
    pub hash: Hash,
    /// Id of the newest entry's record; empty before the first.
    pub record_id: String,
}

impl Head {
    /// The head of the chain that has no entry yet.
    pub fn genesis() -> Self {
        Self { sequence: 0, hash: Hash::ZERO, record_id: String::new() }
    }

    /// The entry that continues the chain with a record.
    pub fn extend(&self, record: Record) -> Entry {
        let sequence = self.sequence + 1;
        let hash = Hash::of(sequence, self.hash, &record);
        Entry { sequence, record, hash, previous_hash: self.hash }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where a value is missing")]

    use chrono::DateTime;

    use super::*;

    fn record() -> Record {
        Record {
            id: "01900000-0000-7000-8000-000000000001".into(),
            time: DateTime::from_timestamp_micros(1_700_000_000_000_001).unwrap(),
            actor: "user:ab".into(),
            action: "c".into(),
            resource: "users/1".into(),
            outcome: "OK".into(),
            request_id: String::new(),
            trace_id: String::new(),
            source: "identity-svc".into(),
            details: "{}".into(),
        }
    }

    #[test]
    fn the_encoding_is_what_it_always_was() {
        let entry = Head::genesis().extend(record());
        assert!(entry.hash_holds());
        assert_eq!(
            entry.hash.to_string(),
            "04f7240ed167d01f1f2cd7ebc80a8d67957a6ef176d92a1d8ec0dd3b71d22269"
        );
    }

    #[test]
    fn every_field_place_and_predecessor_counts() {
        let entry = Head::genesis().extend(record());
        type Edit = fn(&mut Entry);
        let edits: [(&str, Edit); 12] = [
            ("id", |entry| entry.record.id.push('x')),
            ("time", |entry| entry.record.time += chrono::TimeDelta::microseconds(1)),
            ("actor", |entry| entry.record.actor.push('x')),
            ("action", |entry| entry.record.action.push('x')),
            ("resource", |entry| entry.record.resource.push('x')),
            ("outcome", |entry| entry.record.outcome.push('x')),
            ("request_id", |entry| entry.record.request_id.push('x')),
            ("trace_id", |entry| entry.record.trace_id.push('x')),
            ("source", |entry| entry.record.source.push('x')),
            ("details", |entry| entry.record.details.push(' ')),
            ("sequence", |entry| entry.sequence += 1),
            ("previous_hash", |entry| entry.previous_hash = entry.hash),
        ];
        for (name, edit) in edits {
            let mut edited = entry.clone();
            edit(&mut edited);
            assert!(!edited.hash_holds(), "an edit of {name} goes unseen");
        }
    }

    #[test]
    fn text_cannot_move_between_fields() {
        let mut moved = record();
        moved.actor = "user:a".into();
        moved.action = "bc".into();
        assert_ne!(Head::genesis().extend(moved).hash, Head::genesis().extend(record()).hash);
    }
}
