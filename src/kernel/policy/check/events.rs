//! Domain events.

use std::collections::{BTreeMap, HashSet};

use prost_reflect::{DynamicMessage, MessageDescriptor};

use super::Faults;
use super::options::{self, flag, message as inner, nanoseconds, number, read, string_at, text};

/// The most partitions of a topic: each costs the broker files and memory.
const MOST_PARTITIONS: u32 = 1000;

pub(super) fn check(message: &MessageDescriptor, faults: &mut Faults) {
    let Some(event) = read(message.parent_pool(), &message.options(), options::EVENT) else {
        return;
    };
    let mut found = Vec::new();
    let (topic, key) = (text(&event, "topic"), text(&event, "key"));
    if !is_topic(&topic) {
        found.push(format!(
            "the event's topic is {topic:?}; state lower-case words joined by points, such as \
             `topic: \"identity.users\"`"
        ));
    }
    if key.is_empty() {
        found.push(
            "the event has no key; state the string field that names the aggregate, such as \
             `key: \"user_id\"`"
                .to_owned(),
        );
    } else if let Err(fault) = string_at(message, &key) {
        found.push(format!(
            "the event's key {key:?} cannot be found: {fault}; name a string field of the event"
        ));
    }
    if number(&event, "partitions") > MOST_PARTITIONS {
        found.push(format!("a topic has at most {MOST_PARTITIONS} partitions; state fewer"));
    }
    if inner(&event, "retention").is_some_and(|retention| nanoseconds(&retention) <= 0) {
        found.push("the event is kept for no time; state a retention above 0".to_owned());
    }
    let mut secrets = Vec::new();
    find_secrets(message, message.name(), &mut HashSet::new(), &mut secrets);
    for secret in secrets {
        found.push(format!(
            "the event holds the secret {secret}, which would be stored and handed to every \
             consumer; leave the field out of the event"
        ));
    }
    for fault in found {
        faults.add(&message.parent_file(), message.full_name(), fault);
    }
}

/// Events of one topic must agree on what they state about it.
pub(super) fn check_topics<'a>(
    messages: impl Iterator<Item = &'a MessageDescriptor>,
    faults: &mut Faults,
) {
    let mut topics: BTreeMap<String, Vec<(&MessageDescriptor, DynamicMessage)>> = BTreeMap::new();
    for message in messages {
        if let Some(event) = read(message.parent_pool(), &message.options(), options::EVENT) {
            topics.entry(text(&event, "topic")).or_default().push((message, event));
        }
    }
    for (topic, events) in topics {
        for (name, stated) in [("partitions", partitions as Stated), ("retention", retention)] {
            let mut first: Option<(&MessageDescriptor, String)> = None;
            for (message, event) in &events {
                let Some(value) = stated(event) else { continue };
                match &first {
                    None => first = Some((message, value)),
                    Some((_, known)) if *known == value => {}
                    Some((other, known)) => faults.add(
                        &message.parent_file(),
                        message.full_name(),
                        format!(
                            "the event states {name} {value} of the topic {topic}, of which {} \
                             states {known}; state it once",
                            other.full_name()
                        ),
                    ),
                }
            }
        }
        for (message, _) in events.iter().filter(|(_, event)| flag(event, "compacted")) {
            if let Some((other, _)) = events.iter().find(|(other, _)| other != message) {
                faults.add(
                    &message.parent_file(),
                    message.full_name(),
                    format!(
                        "the topic {topic} is compacted, and would lose this event to a later {}; \
                         give one of them a topic of its own, or leave `compacted` out",
                        other.full_name()
                    ),
                );
            }
        }
    }
}

/// What an event states about its topic; `None` where it states nothing.
type Stated = fn(&DynamicMessage) -> Option<String>;

fn partitions(event: &DynamicMessage) -> Option<String> {
    Some(number(event, "partitions")).filter(|number| *number != 0).map(|number| number.to_string())
}

fn retention(event: &DynamicMessage) -> Option<String> {
    inner(event, "retention").map(|retention| format!("{} ns", nanoseconds(&retention)))
}

fn find_secrets(
    message: &MessageDescriptor,
    path: &str,
    seen: &mut HashSet<String>,
    secrets: &mut Vec<String>,
) {
    if !seen.insert(message.full_name().to_owned()) {
        return;
    }
    for field in message.fields() {
        let path = format!("{path}.{}", field.name());
        let policy = read(message.parent_pool(), &field.options(), options::FIELD);
        if policy.is_some_and(|policy| flag(&policy, "secret")) {
            secrets.push(path);
        } else if let Some(inner) = field.kind().as_message() {
            find_secrets(inner, &path, seen, secrets);
        }
    }
}

fn is_topic(topic: &str) -> bool {
    topic.split('.').all(|word| {
        !word.is_empty()
            && word.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
    })
}
