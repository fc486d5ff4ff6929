//! An HTTP request to the request message: body first, then query, then path.

use bytes::Bytes;
use mainstay::kernel::error::{Error, Result};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};
use serde_json::Value as Json;

use super::binding::{Binding, Body};
use super::fill::{Fill, find};
use super::query::{self, Parameters};
use super::violations::Violations;
use super::{json, well_known};
use crate::error::UNSUPPORTED_MEDIA_TYPE;
use crate::route::template::Capture;

/// The parts of an HTTP request that fill a message.
pub(crate) struct Parts<'a> {
    /// What the path says.
    pub(crate) captures: &'a [Capture],
    /// What the query says, without the cursor.
    pub(crate) parameters: &'a Parameters,
    /// `Content-Type`.
    pub(crate) content_type: Option<&'a str>,
    /// The body.
    pub(crate) body: Bytes,
}

impl Binding {
    /// Builds the request message.
    pub(crate) fn request(&self, parts: Parts<'_>) -> Result<DynamicMessage> {
        let mut violations = Violations::default();
        let mut message = self.message_from_body(&parts, &mut violations)?;
        query::apply(self, parts.parameters, &mut message, &mut violations);
        for capture in parts.captures {
            if let Err(reason) = set_captured(&mut message, capture) {
                violations.add(capture.field.join("."), reason);
            }
        }
        violations.into_result()?;
        Ok(message)
    }

    fn message_from_body(
        &self,
        parts: &Parts<'_>,
        violations: &mut Violations,
    ) -> Result<DynamicMessage> {
        let empty = DynamicMessage::new(self.input.clone());
        match &self.body {
            Body::Nothing => {
                let json = read_json(parts)?;
                refuse_fields(&json, violations);
                Ok(empty)
            }
            Body::Raw => Ok(raw(&self.input, parts)),
            Body::RawField(field) => Ok(with_field(empty, field, raw_value(field, parts))),
            Body::Message => {
                let json = read_json(parts)?;
                let mut fill = Fill { taken: &self.path_fields, violations };
                Ok(fill.message(&self.input, &json, "").unwrap_or(empty))
            }
            Body::Field(field) => {
                let json = read_json(parts)?;
                let taken = self.taken_within(field);
                let value = Fill { taken: &taken, violations }.field(field, &json, "");
                let message = match value {
                    Some(value) => with_field(empty, field, value),
                    None => empty,
                };
                Ok(self.with_update_mask(message, field, &json, parts.parameters))
            }
        }
    }

    /// The path-bound fields within a body field, as seen from there.
    fn taken_within(&self, field: &FieldDescriptor) -> Vec<String> {
        let inside =
            |path: &String| path.strip_prefix(field.name())?.strip_prefix('.').map(str::to_owned);
        self.path_fields.iter().filter_map(inside).collect()
    }

    /// A PATCH that names no mask changes the fields that its body has.
    fn with_update_mask(
        &self,
        message: DynamicMessage,
        body: &FieldDescriptor,
        json: &Json,
        parameters: &Parameters,
    ) -> DynamicMessage {
        let (Some(mask), Json::Object(fields), Kind::Message(resource)) =
            (&self.update_mask, json, body.kind())
        else {
            return message;
        };
        if parameters.iter().any(|(name, _)| find(&self.input, name).as_ref() == Some(mask)) {
            return message;
        }
        let paths = fields.keys().filter_map(|key| find(&resource, key));
        let paths = paths.map(|field| field.name().to_owned()).collect();
        match mask.kind() {
            Kind::Message(descriptor) => match well_known::mask_of(&descriptor, paths) {
                Ok(value) => with_field(message, mask, Value::Message(value)),
                Err(_) => message,
            },
            _ => message,
        }
    }
}

fn with_field(
    mut message: DynamicMessage,
    field: &FieldDescriptor,
    value: Value,
) -> DynamicMessage {
    message.set_field(field, value);
    message
}

fn set_captured(
    message: &mut DynamicMessage,
    capture: &Capture,
) -> std::result::Result<(), String> {
    let text = capture.text.as_ref().map_err(ToString::to_string)?;
    let path =
        query::fields_at(&prost_reflect::ReflectMessage::descriptor(message), &capture.field)
            .ok_or("is no field of this request")?;
    query::set(message, &path, text)
}

/// The body as JSON. No body at all is an empty object.
fn read_json(parts: &Parts<'_>) -> Result<Json> {
    if parts.body.is_empty() {
        return Ok(Json::Object(serde_json::Map::new()));
    }
    let stated = parts.content_type.unwrap_or_default();
    let essence = stated.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence != "application/json" {
        let shown = if stated.is_empty() { "no content type" } else { stated };
        return Err(Error::new(
            UNSUPPORTED_MEDIA_TYPE,
            format!("the body must be application/json, not {shown}"),
        ));
    }
    json::parse(&parts.body)
}

/// A call without a body takes none of its fields.
fn refuse_fields(json: &Json, violations: &mut Violations) {
    match json {
        Json::Object(fields) => {
            for key in fields.keys() {
                violations.add(key, "is no field: this call takes no body");
            }
        }
        _ => violations.add("body", "this call takes no body"),
    }
}

fn raw_value(field: &FieldDescriptor, parts: &Parts<'_>) -> Value {
    match field.kind() {
        Kind::Message(descriptor) => Value::Message(raw(&descriptor, parts)),
        kind => kind.default_value(),
    }
}

fn raw(descriptor: &MessageDescriptor, parts: &Parts<'_>) -> DynamicMessage {
    let mut body = DynamicMessage::new(descriptor.clone());
    let content_type = parts.content_type.unwrap_or_default().to_owned();
    body.set_field_by_name("content_type", Value::String(content_type));
    body.set_field_by_name("data", Value::Bytes(parts.body.clone()));
    body
}
