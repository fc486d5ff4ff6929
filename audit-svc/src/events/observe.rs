//! From an event on its way to a record.

use chrono::{DateTime, Datelike as _, SubsecRound as _, Utc};
use mainstay::kernel::events::Envelope;
use mainstay::kernel::policy::{EventCatalog, Redactor};
use mainstay::kernel::proto::events::CallAudited;
use prost::{Message as _, Name as _};
use prost_reflect::DescriptorPool;
use prost_types::Timestamp;
use serde_json::{Value, json};

use crate::domain::{PLATFORM, Record, action_name, resource_name, source_name, trace_id_of};

/// The outcome of a domain event: it happened.
const OK: &str = "OK";

/// Makes records of events by what the contracts state about them.
pub struct Observer {
    pool: DescriptorPool,
    catalog: EventCatalog,
    redactor: Redactor,
    max_details_bytes: usize,
}

impl Observer {
    /// An observer that knows the contracts in `pool`. Details longer than `max_details_bytes` are
    /// left out.
    pub fn new(pool: DescriptorPool, max_details_bytes: usize) -> anyhow::Result<Self> {
        let catalog = EventCatalog::compile(&pool)?;
        let redactor = Redactor::compile(&pool)?;
        Ok(Self { pool, catalog, redactor, max_details_bytes })
    }

    /// The topics of all events that the contracts declare.
    pub fn topics(&self) -> Vec<String> {
        self.catalog.topics()
    }

    /// The record of an event. Nothing about an event can keep it from being recorded: what cannot
    /// be read is left out.
    pub fn record_of(&self, envelope: Envelope) -> Record {
        let call = (envelope.r#type == CallAudited::full_name())
            .then(|| CallAudited::decode(envelope.data.as_slice()).ok())
            .flatten();
        match call {
            Some(call) => self.call_record(envelope, call),
            None => self.event_record(envelope),
        }
    }

    fn call_record(&self, envelope: Envelope, call: CallAudited) -> Record {
        let mut details = json!({ "caller": call.caller });
        if !call.request_json.is_empty() {
            let request = serde_json::from_str(&call.request_json);
            details["request"] = request.unwrap_or(Value::Null);
        }
        Record {
            action: action_name(&call.method),
            resource: call.resource,
            outcome: call.outcome,
            details: self.bounded(&details),
            ..common(envelope)
        }
    }

    fn event_record(&self, envelope: Envelope) -> Record {
        let declared = self.catalog.event(&envelope.r#type);
        let key_field = declared.map(|declared| declared.key.name());
        let details = self.details_of(&envelope);
        Record {
            action: action_name(&envelope.r#type),
            resource: resource_name(key_field, &envelope.topic, &envelope.subject),
            outcome: OK.to_owned(),
            details: self.bounded(&details),
            ..common(envelope)
        }
    }

    /// The payload, redacted. Of a type that no contract describes nobody can say what is personal
    /// in it, so nothing is shown.
    fn details_of(&self, envelope: &Envelope) -> Value {
        let message = self.pool.get_message_by_name(&envelope.r#type);
        let details = message.map(|message| self.redactor.json(&message, &envelope.data));
        details.filter(Value::is_object).unwrap_or_else(|| json!({}))
    }

    fn bounded(&self, details: &Value) -> String {
        let text = details.to_string();
        match text.len() > self.max_details_bytes {
            true => json!({ "omitted_bytes": text.len() }).to_string(),
            false => text,
        }
    }
}

/// What is the same for calls and domain events.
fn common(envelope: Envelope) -> Record {
    Record {
        id: envelope.id,
        time: time_of(envelope.time),
        actor: match envelope.actor.is_empty() {
            true => PLATFORM.to_owned(),
            false => envelope.actor,
        },
        action: String::new(),
        resource: String::new(),
        outcome: String::new(),
        request_id: envelope.request_id,
        trace_id: trace_id_of(&envelope.traceparent),
        source: source_name(&envelope.source),
        details: String::new(),
    }
}

/// The event's own time, however late it arrives; that of its arrival when it states none that a
/// protobuf timestamp can hold.
fn time_of(stated: Option<Timestamp>) -> DateTime<Utc> {
    stated
        .and_then(|time| DateTime::from_timestamp(time.seconds, u32::try_from(time.nanos).ok()?))
        .filter(|time| (1..=9999).contains(&time.year()))
        .unwrap_or_else(Utc::now)
        .trunc_subsecs(6)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where a value is missing")]

    use mainstay::contract::auth::proto::AccountRegistered;

    use super::*;

    fn observer() -> Observer {
        Observer::new(mainstay::contract::pool().clone(), 200).unwrap()
    }

    fn envelope(type_name: &str, topic: &str, data: Vec<u8>) -> Envelope {
        Envelope {
            id: "01900000-0000-7000-8000-000000000001".into(),
            source: "/auth-svc".into(),
            r#type: type_name.into(),
            subject: "0190".into(),
            time: Some(Timestamp { seconds: 1, nanos: 2_999 }),
            topic: topic.into(),
            traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into(),
            data,
            ..Envelope::default()
        }
    }

    #[test]
    fn a_domain_event_is_recorded_without_what_is_personal() {
        let registered = AccountRegistered {
            user_id: "0190".into(),
            email: "ada@example.org".into(),
            roles: vec!["member".into()],
            ..AccountRegistered::default()
        };
        let type_name = AccountRegistered::full_name();
        let record =
            observer().record_of(envelope(&type_name, "auth.accounts", registered.encode_to_vec()));
        assert_eq!(record.action, "auth.v1.AccountRegistered");
        assert_eq!(record.resource, "users/0190");
        assert_eq!((record.actor.as_str(), record.outcome.as_str()), ("platform", "OK"));
        assert_eq!(record.trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(
            (record.source.as_str(), record.time.timestamp_micros()),
            ("auth-svc", 1_000_002)
        );
        assert!(record.details.contains("member"), "{}", record.details);
        assert!(!record.details.contains("ada@example.org"), "{}", record.details);
    }

    #[test]
    fn a_call_is_recorded_as_the_method_and_resource_it_was() {
        let call = CallAudited {
            method: "mainstay.identity.v1.UserService/UpdateUser".into(),
            resource: "users/7".into(),
            outcome: "PERMISSION_DENIED".into(),
            request_json: r#"{"user_id":"7"}"#.into(),
            caller: "gateway".into(),
        };
        let type_name = CallAudited::full_name();
        let record =
            observer().record_of(envelope(&type_name, "platform.calls", call.encode_to_vec()));
        assert_eq!(record.action, "identity.v1.UserService/UpdateUser");
        assert_eq!(record.resource, "users/7");
        assert_eq!(record.outcome, "PERMISSION_DENIED");
        assert_eq!(record.details, r#"{"caller":"gateway","request":{"user_id":"7"}}"#);
    }

    #[test]
    fn what_cannot_be_read_is_recorded_all_the_same() {
        let unknown = observer().record_of(envelope("acme.v1.Placed", "acme.parcels", vec![1, 2]));
        assert_eq!(
            (unknown.action.as_str(), unknown.resource.as_str()),
            ("acme.v1.Placed", "parcels/0190")
        );
        assert_eq!(unknown.details, "{}");
        let type_name = CallAudited::full_name();
        let torn = observer().record_of(envelope(&type_name, "platform.calls", vec![0xff]));
        assert_eq!((torn.action.as_str(), torn.details.as_str()), ("events.v1.CallAudited", "{}"));
    }

    #[test]
    fn details_beyond_the_limit_are_left_out() {
        let call = CallAudited { caller: "x".repeat(300), ..CallAudited::default() };
        let type_name = CallAudited::full_name();
        let record =
            observer().record_of(envelope(&type_name, "platform.calls", call.encode_to_vec()));
        assert!(record.details.starts_with(r#"{"omitted_bytes":"#), "{}", record.details);
    }
}
