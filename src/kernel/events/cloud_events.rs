//! The envelope as CloudEvents 1.0 in the binary mode of the Kafka protocol binding: each attribute
//! is a header, the record's value is the payload alone, and its key is the subject.
//!
//! Extension attributes have names of lower-case letters and digits, as the specification demands:
//! `partitionkey`, `traceparent`, `tracestate`, `actor`, `requestid`. An attribute that is empty is
//! left out. What others publish is read if it has all that CloudEvents requires and its payload is
//! protobuf; attributes unknown to us are passed over.

use chrono::{DateTime, SecondsFormat, Utc};
use prost_types::Timestamp;

use crate::kernel::proto::events::Envelope;
use crate::kernel::time::timestamp;

/// The version of the specification that is written and read.
pub const SPEC_VERSION: &str = "1.0";

/// The header that names the encoding of the payload.
pub const CONTENT_TYPE: &str = "content-type";

/// The encoding of every payload.
pub const PROTOBUF: &str = "application/protobuf";

/// What the names of headers that are attributes begin with.
const PREFIX: &str = "ce_";

/// The reference to the schema of an event's payload, by the full name of its message. Its path is
/// where the admin port of each process serves the schema.
pub fn data_schema(type_name: &str) -> String {
    format!("mainstay:/schemas/{type_name}")
}

/// The headers of an envelope.
pub fn headers(envelope: &Envelope) -> Vec<(&'static str, String)> {
    let schema = data_schema(&envelope.r#type);
    let time = envelope.time.as_ref().and_then(rfc3339).unwrap_or_default();
    let attributes = [
        ("ce_specversion", SPEC_VERSION),
        ("ce_id", &envelope.id),
        ("ce_source", &envelope.source),
        ("ce_type", &envelope.r#type),
        ("ce_subject", &envelope.subject),
        ("ce_time", &time),
        ("ce_dataschema", &schema),
        ("ce_partitionkey", &envelope.subject),
        ("ce_traceparent", &envelope.traceparent),
        ("ce_tracestate", &envelope.tracestate),
        ("ce_actor", &envelope.actor),
        ("ce_requestid", &envelope.request_id),
        (CONTENT_TYPE, PROTOBUF),
    ];
    let stated = attributes.into_iter().filter(|(_, value)| !value.is_empty());
    stated.map(|(name, value)| (name, value.to_owned())).collect()
}

/// A record of a broker as it is found, whoever wrote it.
#[derive(Clone, Copy, Debug)]
pub struct Foreign<'a> {
    /// The topic, as the contracts name it.
    pub topic: &'a str,
    /// The key; empty when there is none.
    pub key: &'a [u8],
    /// The headers, in their order.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// The payload.
    pub data: &'a [u8],
}

impl Foreign<'_> {
    /// The envelope that [`headers`] were made of. The error says what is wrong with the record, and
    /// what was found of it.
    pub fn read(&self) -> Result<Envelope, Refused> {
        let mut envelope = Envelope {
            topic: self.topic.to_owned(),
            data: self.data.to_vec(),
            ..Envelope::default()
        };
        match self.fill(&mut envelope) {
            Ok(()) => Ok(envelope),
            Err(reason) => Err(Refused { envelope: Box::new(envelope), reason }),
        }
    }

    fn fill(&self, envelope: &mut Envelope) -> Result<(), String> {
        // What can be known of a record that is refused is known first.
        envelope.subject = String::from_utf8_lossy(self.key).into_owned();
        envelope.id = self.text("id")?.to_owned();
        envelope.source = self.text("source")?.to_owned();
        envelope.r#type = self.text("type")?.to_owned();
        let subject = match self.text("subject")? {
            "" => self.text("partitionkey")?,
            subject => subject,
        };
        if !subject.is_empty() {
            envelope.subject = subject.to_owned();
        }
        envelope.traceparent = self.text("traceparent")?.to_owned();
        envelope.tracestate = self.text("tracestate")?.to_owned();
        envelope.actor = self.text("actor")?.to_owned();
        envelope.request_id = self.text("requestid")?.to_owned();
        envelope.time = self.time()?;
        self.check()
    }

    fn check(&self) -> Result<(), String> {
        for required in ["specversion", "id", "source", "type"] {
            if self.text(required)?.is_empty() {
                return Err(format!(
                    "it is no CloudEvent: the header {PREFIX}{required} is missing"
                ));
            }
        }
        let version = self.text("specversion")?;
        if version != SPEC_VERSION {
            return Err(format!("it is of CloudEvents {version:?}; publish {SPEC_VERSION}"));
        }
        let content_type = self.header(CONTENT_TYPE)?;
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case(PROTOBUF) {
            return Err(format!("its {CONTENT_TYPE} is {content_type:?}; publish {PROTOBUF}"));
        }
        Ok(())
    }

    fn time(&self) -> Result<Option<Timestamp>, String> {
        let text = self.text("time")?;
        if text.is_empty() {
            return Ok(None);
        }
        let time = DateTime::parse_from_rfc3339(text)
            .map_err(|_| format!("its {PREFIX}time is {text:?}, which is no time of RFC 3339"))?;
        Ok(Some(timestamp(time.to_utc())))
    }

    /// An attribute; empty when it is not there.
    fn text(&self, attribute: &str) -> Result<&str, String> {
        self.header(&format!("{PREFIX}{attribute}"))
    }

    fn header(&self, name: &str) -> Result<&str, String> {
        let found = self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name));
        let value = found.map(|(_, value)| *value).unwrap_or_default();
        std::str::from_utf8(value).map_err(|_| format!("its header {name} is no text"))
    }
}

/// A record that is no event of ours.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// What was found.
    pub envelope: Box<Envelope>,
    /// What is wrong with it.
    pub reason: String,
}

/// The time in RFC 3339; `None` outside the years that it can tell.
fn rfc3339(time: &Timestamp) -> Option<String> {
    let nanos = u32::try_from(time.nanos).ok()?;
    let time = DateTime::<Utc>::from_timestamp(time.seconds, nanos)?;
    Some(time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope() -> Envelope {
        Envelope {
            id: "0190b1c2".into(),
            source: "/identity-svc".into(),
            r#type: "mainstay.identity.v1.UserUpdated".into(),
            subject: "u1".into(),
            time: Some(Timestamp { seconds: 1_790_000_000, nanos: 123_456_000 }),
            topic: "identity.users".into(),
            traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into(),
            actor: "user:u7".into(),
            request_id: "r1".into(),
            data: vec![0xff, 0x00],
            tracestate: "vendor=1".into(),
        }
    }

    /// Reads headers, after one of them was changed or, without a value, left out.
    fn read_with(changed: &str, value: Option<&[u8]>) -> Result<Envelope, Refused> {
        let written = headers(&envelope());
        let mut found: Vec<(&str, &[u8])> =
            written.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        found.retain(|(name, _)| *name != changed);
        found.extend(value.map(|value| (changed, value)));
        let data = &[0xff, 0x00];
        Foreign { topic: "identity.users", key: b"u1", headers: &found, data }.read()
    }

    #[test]
    fn an_envelope_survives_the_journey() {
        assert_eq!(read_with("ce_unknown", Some(b"anything")), Ok(envelope()));
    }

    #[test]
    fn headers_are_those_of_the_specification() {
        let expected = [
            ("ce_specversion", "1.0"),
            ("ce_id", "0190b1c2"),
            ("ce_source", "/identity-svc"),
            ("ce_type", "mainstay.identity.v1.UserUpdated"),
            ("ce_subject", "u1"),
            ("ce_time", "2026-09-21T14:13:20.123456Z"),
            ("ce_dataschema", "mainstay:/schemas/mainstay.identity.v1.UserUpdated"),
            ("ce_partitionkey", "u1"),
            ("ce_traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
            ("ce_tracestate", "vendor=1"),
            ("ce_actor", "user:u7"),
            ("ce_requestid", "r1"),
            ("content-type", "application/protobuf"),
        ];
        assert_eq!(headers(&envelope()), expected.map(|(name, value)| (name, value.to_owned())));
        for (name, _) in headers(&envelope()) {
            let attribute = name.strip_prefix(PREFIX).unwrap_or("contenttype");
            let sound = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
            assert!(attribute.bytes().all(sound) && attribute.len() <= 20, "{name}");
        }
    }

    #[test]
    fn an_attribute_that_is_empty_is_left_out() {
        let bare = Envelope { actor: String::new(), time: None, ..envelope() };
        let names: Vec<_> = headers(&bare).into_iter().map(|(name, _)| name).collect();
        assert!(!names.contains(&"ce_actor") && !names.contains(&"ce_time"), "{names:?}");
    }

    #[test]
    fn optional_attributes_may_be_missing() {
        for optional in ["ce_time", "ce_actor", "ce_traceparent", "ce_dataschema", "ce_subject"] {
            let read = read_with(optional, None).unwrap();
            assert_eq!(read.subject, "u1", "the key tells it too");
        }
        let typed = read_with("content-type", Some(b"Application/Protobuf; charset=none"));
        assert_eq!(typed, Ok(envelope()));
    }

    #[test]
    fn a_foreign_record_is_refused_and_says_why() {
        let cases: [(&str, Option<&[u8]>, &str); 9] = [
            ("ce_specversion", None, "ce_specversion is missing"),
            ("ce_specversion", Some(b"0.3"), "publish 1.0"),
            ("ce_id", None, "ce_id is missing"),
            ("ce_id", Some(b""), "ce_id is missing"),
            ("ce_source", None, "ce_source is missing"),
            ("ce_type", Some(b"\xff"), "ce_type is no text"),
            ("ce_time", Some(b"yesterday"), "no time of RFC 3339"),
            ("content-type", None, "publish application/protobuf"),
            ("content-type", Some(b"application/json"), "publish application/protobuf"),
        ];
        for (header, value, expected) in cases {
            let refused = read_with(header, value).unwrap_err();
            assert!(refused.reason.contains(expected), "{header}: {}", refused.reason);
            assert_eq!(refused.envelope.data, [0xff, 0x00]);
            assert_eq!(refused.envelope.subject, "u1");
        }
    }
}
