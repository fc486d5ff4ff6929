//! The event that every phase sends, so that their figures can be compared.

use mainstay::contract::proto::mainstay::identity::v1::UserCreated;
use prost::Message as _;

/// How many aggregates the events are about.
pub(super) const AGGREGATES: u64 = 1000;

/// The topic on which they travel.
pub(super) const TOPIC: &str = "identity.users";

/// What the ids of aggregates begin with; the number follows in [`NUMBER_DIGITS`] digits.
pub(super) const KEY_PREFIX: &str = "0193a5c2-7e41-7b02-8f6d-";

/// Digits of a number.
pub(super) const NUMBER_DIGITS: usize = 12;

/// The event with this number.
pub(super) fn event(number: u64) -> UserCreated {
    UserCreated {
        user_id: key(number % AGGREGATES),
        email: "ada.lovelace@analytical-engine.example".to_owned(),
        display_name: format!("{number:0NUMBER_DIGITS$}"),
    }
}

/// The number of an event; `None` if it is none of ours.
pub(super) fn number(payload: &[u8]) -> Option<u64> {
    UserCreated::decode(payload).ok()?.display_name.parse().ok()
}

/// The id of an aggregate.
pub(super) fn key(aggregate: u64) -> String {
    format!("{KEY_PREFIX}{aggregate:0NUMBER_DIGITS$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_tells_its_number_and_all_are_of_one_size() {
        let payloads = [0, 1, 999_999, 123_456_789].map(|number| event(number).encode_to_vec());
        assert!(payloads.iter().all(|payload| payload.len() == payloads[0].len()));
        assert_eq!(number(&payloads[3]), Some(123_456_789));
        assert_eq!(number(b"no event"), None);
    }
}
