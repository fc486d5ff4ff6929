//! Ids of entries as numbers: the milliseconds in the upper 42 bits, which last until the year 2109,
//! the number within the millisecond in the lower 21.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::redis::Value;
use ::redis::streams::StreamId;
use prost::Message as _;

use super::FIELD;
use crate::kernel::events::Envelope;
use crate::kernel::events::bus::{Delivery, Position};

/// Bits of the number within a millisecond.
const SEQUENCE_BITS: u32 = 21;

/// The number of an entry's id, `1763693000000-0`.
pub(super) fn offset(id: &str) -> i64 {
    let (millis, sequence) = id.split_once('-').unwrap_or((id, "0"));
    let number = |text: &str| text.parse::<i64>().unwrap_or_default();
    (number(millis) << SEQUENCE_BITS) | number(sequence)
}

/// The id of an entry's number.
pub(super) fn id(offset: i64) -> String {
    let offset = offset.max(0);
    format!("{}-{}", offset >> SEQUENCE_BITS, offset & ((1 << SEQUENCE_BITS) - 1))
}

/// The number of the first entry that can have been made at a time.
pub(super) fn first_at(time: SystemTime) -> i64 {
    let millis = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    i64::try_from(millis).map_or(i64::MAX, |millis| millis << SEQUENCE_BITS)
}

/// An entry as it is handed out under a membership.
pub(super) fn delivery(topic: &str, entry: &StreamId, epoch: u64) -> Delivery {
    let offset = offset(&entry.id);
    let published = UNIX_EPOCH + Duration::from_millis((offset >> SEQUENCE_BITS).unsigned_abs());
    let nameless = || Envelope {
        id: format!("{topic}:{offset}"),
        topic: topic.to_owned(),
        ..Envelope::default()
    };
    let (envelope, fault) = match entry.map.get(FIELD) {
        Some(Value::BulkString(bytes)) => match Envelope::decode(&**bytes) {
            Ok(envelope) => (envelope, None),
            Err(error) => (nameless(), Some(format!("it is no envelope: {error}"))),
        },
        _ => (nameless(), Some(format!("it has no field `{FIELD}`"))),
    };
    let position = Position { stream: topic.to_owned(), offset, epoch };
    Delivery { envelope, position, published, fault }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_numbers_are_the_same_thing() {
        for text in ["0-0", "0-1", "1763693000000-0", "1763693000000-2097151"] {
            assert_eq!(id(offset(text)), text);
        }
        assert!(offset("1763693000000-9") < offset("1763693000001-0"));
        assert_eq!(id(offset("1763693000000-0") + 1), "1763693000000-1");
    }
}
