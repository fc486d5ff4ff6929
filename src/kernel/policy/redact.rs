//! Messages as JSON with personal data and secrets redacted, for logs and audit records.

use std::collections::HashSet;
use std::sync::Arc;

use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor,
    ReflectMessage as _, Value,
};
use serde_json::{Map, Value as Json, json};

use super::options;
use crate::kernel::proto::policy::FieldPolicy;

/// What stands in the place of a protected value.
const REDACTED: &str = "[redacted]";

/// What stands in the place of a message that cannot be read.
const UNREADABLE: &str = "[unreadable]";

/// The message type whose content no contract describes.
const ANY: &str = "google.protobuf.Any";

/// Knows which fields of a descriptor pool are protected.
#[derive(Clone, Debug)]
pub struct Redactor {
    /// Full names of the fields.
    protected: Arc<HashSet<String>>,
}

impl Redactor {
    /// Reads the options of every field once.
    pub fn compile(pool: &DescriptorPool) -> anyhow::Result<Self> {
        let mut protected = HashSet::new();
        for message in pool.all_messages() {
            for field in message.fields() {
                let stated: Option<FieldPolicy> =
                    options::read(pool, &field.options(), options::FIELD)?;
                if stated.is_some_and(|policy| policy.personal || policy.secret) {
                    protected.insert(field.full_name().to_owned());
                }
            }
        }
        Ok(Self { protected: Arc::new(protected) })
    }

    /// The fields that a message sets, by their names in the contract, protected ones at any depth
    /// replaced by `[redacted]`.
    pub fn json(&self, descriptor: &MessageDescriptor, message: &[u8]) -> Json {
        match DynamicMessage::decode(descriptor.clone(), message) {
            Ok(message) => self.message(&message),
            Err(_) => UNREADABLE.into(),
        }
    }

    /// The texts that stand in protected fields of a message, at any depth: what a text about it must
    /// not repeat.
    pub fn protected_texts(&self, descriptor: &MessageDescriptor, message: &[u8]) -> Vec<String> {
        let mut texts = Vec::new();
        if let Ok(message) = DynamicMessage::decode(descriptor.clone(), message) {
            self.collect(&message, false, &mut texts);
        }
        texts
    }

    fn collect(&self, message: &DynamicMessage, all: bool, texts: &mut Vec<String>) {
        for (field, value) in message.fields() {
            let protected = all || self.protected.contains(field.full_name());
            self.collect_value(value, protected, texts);
        }
    }

    fn collect_value(&self, value: &Value, protected: bool, texts: &mut Vec<String>) {
        match value {
            Value::Message(inner) => self.collect(inner, protected, texts),
            Value::List(items) => {
                items.iter().for_each(|item| self.collect_value(item, protected, texts));
            }
            Value::Map(pairs) => {
                pairs.values().for_each(|item| self.collect_value(item, protected, texts));
            }
            Value::String(text) if protected => texts.push(text.clone()),
            _ => {}
        }
    }

    fn message(&self, message: &DynamicMessage) -> Json {
        let descriptor = message.descriptor();
        if descriptor.full_name() == ANY {
            let type_url = message.get_field_by_name("type_url");
            let type_url = type_url.as_deref().and_then(Value::as_str).unwrap_or_default();
            return json!({ "@type": type_url, "value": REDACTED });
        }
        if descriptor.full_name().starts_with("google.protobuf.") {
            // Well-known types have a JSON form of their own, and nothing to protect.
            return serde_json::to_value(message).unwrap_or_else(|_| UNREADABLE.into());
        }
        let fields = message.fields().map(|(field, value)| {
            let protected = self.protected.contains(field.full_name());
            let json = if protected { REDACTED.into() } else { self.value(&field.kind(), value) };
            (field.name().to_owned(), json)
        });
        Json::Object(fields.collect())
    }

    fn value(&self, kind: &Kind, value: &Value) -> Json {
        match value {
            Value::Message(message) => self.message(message),
            Value::List(items) => items.iter().map(|item| self.value(kind, item)).collect(),
            Value::Map(pairs) => {
                let value_kind =
                    kind.as_message().map(|entry| entry.map_entry_value_field().kind());
                let kind = value_kind.as_ref().unwrap_or(kind);
                let pairs = pairs.iter().map(|(key, value)| (text(key), self.value(kind, value)));
                Json::Object(pairs.collect::<Map<_, _>>())
            }
            Value::EnumNumber(number) => {
                let name = kind.as_enum().and_then(|kind| kind.get_value(*number));
                name.map_or_else(|| json!(number), |value| json!(value.name()))
            }
            Value::Bool(value) => json!(value),
            Value::I32(value) => json!(value),
            Value::U32(value) => json!(value),
            // 64-bit integers are strings in protobuf's JSON, for the sake of JavaScript.
            Value::I64(value) => json!(value.to_string()),
            Value::U64(value) => json!(value.to_string()),
            Value::F32(value) => json!(value),
            Value::F64(value) => json!(value),
            Value::String(value) => json!(value),
            Value::Bytes(value) => {
                use base64::Engine as _;
                json!(base64::engine::general_purpose::STANDARD.encode(value))
            }
        }
    }
}

fn text(key: &MapKey) -> String {
    match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => key.clone(),
    }
}

/// A message of a named type as redacted JSON. Reads the whole pool's options: whoever does this
/// often keeps a [`Redactor`].
pub fn redacted(pool: &DescriptorPool, type_name: &str, message: &[u8]) -> Json {
    let redactor = Redactor::compile(pool).ok();
    let descriptor = pool.get_message_by_name(type_name);
    match (redactor, descriptor) {
        (Some(redactor), Some(descriptor)) => redactor.json(&descriptor, message),
        _ => UNREADABLE.into(),
    }
}

/// Whether a message, or one in it at any depth, has a field that is a secret.
pub(super) fn holds_secret(
    pool: &DescriptorPool,
    message: &MessageDescriptor,
) -> anyhow::Result<bool> {
    let mut seen = HashSet::from([message.full_name().to_owned()]);
    let mut open = vec![message.clone()];
    while let Some(message) = open.pop() {
        for field in message.fields() {
            let stated = options::read::<FieldPolicy>(pool, &field.options(), options::FIELD)?;
            if stated.is_some_and(|policy| policy.secret) {
                return Ok(true);
            }
            if let Kind::Message(inner) = field.kind()
                && seen.insert(inner.full_name().to_owned())
            {
                open.push(inner);
            }
        }
    }
    Ok(false)
}

/// Whether a field holds personal data.
pub(crate) fn is_personal(pool: &DescriptorPool, field: &FieldDescriptor) -> anyhow::Result<bool> {
    let stated = options::read::<FieldPolicy>(pool, &field.options(), options::FIELD)?;
    Ok(stated.is_some_and(|policy| policy.personal))
}
