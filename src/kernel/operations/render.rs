//! From what is kept to what the contract states.

use prost_reflect::{DescriptorPool, DynamicMessage};
use prost_types::Timestamp;
use serde_json::{Value, json};

use super::proto;
use crate::kernel::events::dead_letter::{Letter, State};
use crate::kernel::events::outbox::Failing;
use crate::kernel::events::tried::Attempt;
use crate::kernel::events::{Delivery, Envelope};
use crate::kernel::policy::Redactor;
use crate::kernel::time::timestamp_of;

/// What stands for a payload that nobody can read, or that no contract describes.
const HIDDEN: &str = "[redacted]";

/// Renders events by what the contracts state about their payloads.
pub(super) struct Renderer {
    pool: DescriptorPool,
    redactor: Redactor,
}

impl Renderer {
    pub(super) fn new(pool: &DescriptorPool) -> anyhow::Result<Self> {
        Ok(Self { pool: pool.clone(), redactor: Redactor::compile(pool)? })
    }

    /// A letter among others: neither payload nor attempts.
    pub(super) fn listed(&self, letter: &Letter) -> proto::DeadLetter {
        proto::DeadLetter {
            id: letter.id.clone(),
            consumer: letter.consumer.clone(),
            state: state(letter.state).into(),
            event: Some(event(&letter.event)),
            code: letter.code.clone(),
            reason: letter.reason.clone(),
            attempts: letter.attempts,
            history: Vec::new(),
            park_time: timestamp_of(letter.parked_at),
            update_time: timestamp_of(letter.updated_at),
            updated_by: letter.updated_by.clone(),
            note: letter.note.clone(),
        }
    }

    /// A letter with all there is.
    pub(super) fn shown(&self, letter: &Letter, reveal: bool) -> proto::DeadLetter {
        let payload_json = self.payload(&letter.event, reveal);
        proto::DeadLetter {
            event: Some(proto::Event { payload_json, ..event(&letter.event) }),
            history: letter.history.iter().map(Attempt::to_proto).collect(),
            ..self.listed(letter)
        }
    }

    /// A record of a topic.
    pub(super) fn record(&self, record: &Delivery, reveal: bool) -> proto::Event {
        proto::Event {
            payload_json: self.payload(&record.envelope, reveal),
            position: format!("{}:{}", record.position.stream, record.position.offset),
            ..event(&record.envelope)
        }
    }

    fn payload(&self, event: &Envelope, reveal: bool) -> String {
        let descriptor = self.pool.get_message_by_name(&event.r#type);
        let json = match (descriptor, reveal) {
            (Some(descriptor), false) => self.redactor.json(&descriptor, &event.data),
            (None, false) => json!(HIDDEN),
            (Some(descriptor), true) => {
                let message = DynamicMessage::decode(descriptor, event.data.as_slice()).ok();
                message
                    .and_then(|message| serde_json::to_value(message).ok())
                    .unwrap_or_else(|| raw(event))
            }
            (None, true) => raw(event),
        };
        json.to_string()
    }
}

/// The bytes themselves, where nobody can read them.
fn raw(event: &Envelope) -> Value {
    use base64::Engine as _;
    json!({ "base64": base64::engine::general_purpose::STANDARD.encode(&event.data) })
}

fn event(envelope: &Envelope) -> proto::Event {
    proto::Event {
        id: envelope.id.clone(),
        topic: envelope.topic.clone(),
        r#type: envelope.r#type.clone(),
        subject: envelope.subject.clone(),
        source: envelope.source.clone(),
        time: envelope.time,
        actor: envelope.actor.clone(),
        request_id: envelope.request_id.clone(),
        traceparent: envelope.traceparent.clone(),
        payload_json: String::new(),
        position: String::new(),
    }
}

/// An event that could not be published.
pub(super) fn failing(failing: Failing) -> proto::FailingEvent {
    proto::FailingEvent {
        event_id: failing.event_id,
        topic: failing.topic,
        r#type: failing.r#type,
        subject: failing.subject,
        attempts: failing.attempts,
        next_time: timestamp_of(failing.next_attempt_at),
        reason: failing.reason,
    }
}

/// A time of the contract in Unix microseconds.
pub(super) fn micros(time: Timestamp) -> i64 {
    time.seconds.saturating_mul(1_000_000).saturating_add(i64::from(time.nanos) / 1000)
}

fn state(state: State) -> proto::DeadLetterState {
    match state {
        State::Parked => proto::DeadLetterState::Parked,
        State::Replaying => proto::DeadLetterState::Replaying,
        State::Replayed => proto::DeadLetterState::Replayed,
        State::Discarded => proto::DeadLetterState::Discarded,
    }
}
