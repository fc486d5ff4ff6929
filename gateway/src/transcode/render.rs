//! The response message to what HTTP sends: JSON in an envelope, plain JSON, or raw bytes.

use bytes::Bytes;
use mainstay::kernel::error::{Error, Result};
use prost_reflect::{DynamicMessage, SerializeOptions, Value};
use serde_json::{Map, Value as Json};

use super::binding::{Binding, is_http_body};

/// Snake-case names and every field without presence: what an envelope holds.
const ENVELOPED: SerializeOptions =
    SerializeOptions::new().use_proto_field_name(true).skip_default_fields(false);
/// Canonical proto3 JSON.
const PLAIN: SerializeOptions = SerializeOptions::new();

/// A response, ready for its envelope.
#[derive(Debug)]
pub(crate) enum Rendered {
    /// One resource or result.
    Single(Json),
    /// A page of a list.
    List {
        /// The page's items.
        items: Json,
        /// The contract's token of the next page; absent at the end.
        next_page_token: Option<String>,
        /// Everything else that the message says, such as the total.
        rest: Map<String, Json>,
    },
    /// Bytes that travel as they are.
    Raw {
        /// Their media type.
        content_type: String,
        /// The bytes.
        data: Bytes,
    },
}

impl Binding {
    /// Renders for an envelope.
    pub(crate) fn enveloped(&self, wire: &[u8]) -> Result<Rendered> {
        let message = self.decode(wire)?;
        if let Some(raw) = self.raw(&message) {
            return Ok(raw);
        }
        let mut json = self.json(&message, &ENVELOPED)?;
        let (Some(list), Json::Object(fields)) = (&self.list, &mut json) else {
            return Ok(Rendered::Single(json));
        };
        let items = fields.remove(list.items.name()).unwrap_or_else(|| Json::Array(Vec::new()));
        let token = fields.remove(list.next_page_token.name());
        let next_page_token = match token {
            Some(Json::String(token)) if !token.is_empty() => Some(token),
            _ => None,
        };
        Ok(Rendered::List { items, next_page_token, rest: std::mem::take(fields) })
    }

    /// Renders as canonical proto3 JSON.
    pub(crate) fn plain(&self, wire: &[u8]) -> Result<Rendered> {
        let message = self.decode(wire)?;
        match self.raw(&message) {
            Some(raw) => Ok(raw),
            None => Ok(Rendered::Single(self.json(&message, &PLAIN)?)),
        }
    }

    fn decode(&self, wire: &[u8]) -> Result<DynamicMessage> {
        DynamicMessage::decode(self.output.clone(), wire).map_err(Error::internal)
    }

    fn json(&self, message: &DynamicMessage, options: &SerializeOptions) -> Result<Json> {
        let json = message
            .serialize_with_options(serde_json::value::Serializer, options)
            .map_err(Error::internal)?;
        let Some(field) = &self.response_field else { return Ok(json) };
        let Json::Object(mut fields) = json else { return Ok(Json::Null) };
        Ok(fields
            .remove(field.name())
            .or_else(|| fields.remove(field.json_name()))
            .unwrap_or(Json::Null))
    }

    fn raw(&self, message: &DynamicMessage) -> Option<Rendered> {
        match &self.response_field {
            Some(field) => match message.get_field(field).as_ref() {
                Value::Message(inner) => raw(inner),
                _ => None,
            },
            None => raw(message),
        }
    }
}

fn raw(message: &DynamicMessage) -> Option<Rendered> {
    if !is_http_body(&prost_reflect::ReflectMessage::descriptor(message)) {
        return None;
    }
    let content_type = message.get_field_by_name("content_type")?.as_str()?.to_owned();
    let data = message.get_field_by_name("data")?.as_bytes()?.clone();
    Some(Rendered::Raw { content_type, data })
}
