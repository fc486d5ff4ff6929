//! Domain events.

use std::collections::HashSet;

use prost_reflect::MessageDescriptor;

use super::Faults;
use super::options::{self, flag, read, string_at, text};

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
