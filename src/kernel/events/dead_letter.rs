//! Dead letters: events that a consumer could not handle, kept with the reason until someone looks.

use prost::{Message as _, Name as _};
use prost_types::Timestamp;

use crate::kernel::error::Error;
use crate::kernel::policy::TopicSpec;
use crate::kernel::proto::events::{DeadLetter, Envelope};
use crate::kernel::settings::EventSettings;

/// What is added to a topic's name.
const SUFFIX: &str = ".dead-letter";

/// The topic of the dead letters of a topic.
pub fn dead_letter_topic(topic: &str) -> String {
    format!("{topic}{SUFFIX}")
}

/// What that topic is to be like: letters are few, and wait for people.
pub(super) fn spec(topic: &TopicSpec, settings: &EventSettings) -> TopicSpec {
    TopicSpec {
        partitions: 1,
        retention: Some(settings.dead_letter_retention),
        ..TopicSpec::new(dead_letter_topic(&topic.name))
    }
}

/// The record to publish there. It keeps the event's id.
pub(super) fn record(event: &Envelope, consumer: &str, error: &Error, attempts: u32) -> Envelope {
    let time = Some(Timestamp::from(std::time::SystemTime::now()));
    let letter = DeadLetter {
        event: Some(event.clone()),
        consumer: consumer.to_owned(),
        reason: describe(error),
        attempts,
        time,
    };
    Envelope {
        topic: dead_letter_topic(&event.topic),
        r#type: DeadLetter::full_name(),
        time,
        data: letter.encode_to_vec(),
        ..event.clone()
    }
}

/// An error with its causes, for us.
pub(super) fn describe(error: &Error) -> String {
    match error.cause() {
        Some(cause) => format!("{error}: {cause:#}"),
        None => error.to_string(),
    }
}
