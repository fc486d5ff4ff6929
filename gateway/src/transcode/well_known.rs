//! The messages that proto3 JSON writes in a form of their own, such as timestamps.

use prost::Message as _;
use prost_reflect::{DynamicMessage, Kind, MessageDescriptor};
use serde_json::Value as Json;

/// Reads a well-known message from JSON; `None` when the message is an ordinary one.
pub(crate) fn from_json(
    descriptor: &MessageDescriptor,
    json: &Json,
) -> Option<Result<DynamicMessage, String>> {
    let name = descriptor.full_name().strip_prefix("google.protobuf.")?;
    Some(match name {
        "FieldMask" => match json {
            Json::String(paths) => field_mask(descriptor, paths),
            _ => Err("must be a string of field paths with commas between them".into()),
        },
        _ => {
            let expected = expected(name)?;
            DynamicMessage::deserialize(descriptor.clone(), json)
                .map_err(|_| format!("must be {expected}"))
        }
    })
}

/// Reads a well-known message from the text of a query parameter; `None` when the message is an
/// ordinary one, whose fields are parameters of their own.
pub(crate) fn from_text(
    descriptor: &MessageDescriptor,
    text: &str,
) -> Option<Result<DynamicMessage, String>> {
    let name = descriptor.full_name().strip_prefix("google.protobuf.")?;
    match name {
        "BoolValue" if text == "true" || text == "false" => {
            from_json(descriptor, &Json::Bool(text == "true"))
        }
        "Any" | "Struct" | "ListValue" | "Value" | "Empty" => None,
        _ => from_json(descriptor, &Json::String(text.to_owned())),
    }
}

/// Whether null is a value of that kind and not the absence of one.
pub(crate) fn takes_null(kind: &Kind) -> bool {
    match kind {
        Kind::Message(message) => message.full_name() == "google.protobuf.Value",
        Kind::Enum(kind) => kind.full_name() == "google.protobuf.NullValue",
        _ => false,
    }
}

/// A field mask of the given paths.
pub(crate) fn mask_of(
    descriptor: &MessageDescriptor,
    paths: Vec<String>,
) -> Result<DynamicMessage, String> {
    let encoded = prost_types::FieldMask { paths }.encode_to_vec();
    DynamicMessage::decode(descriptor.clone(), encoded.as_slice())
        .map_err(|fault| format!("is no field mask: {fault}"))
}

fn field_mask(descriptor: &MessageDescriptor, text: &str) -> Result<DynamicMessage, String> {
    let paths = text.split(',').map(str::trim).filter(|path| !path.is_empty());
    mask_of(descriptor, paths.map(snake_case).collect())
}

/// Field paths are accepted in both spellings, as field names are.
fn snake_case(path: &str) -> String {
    let mut snake = String::with_capacity(path.len() + 4);
    for character in path.chars() {
        if character.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(character.to_ascii_lowercase());
    }
    snake
}

fn expected(name: &str) -> Option<&'static str> {
    Some(match name {
        "Timestamp" => "a time by RFC 3339, such as 2026-01-31T12:00:00Z",
        "Duration" => "a duration in seconds, such as 1.5s",
        "Any" => "an object with a known `@type`",
        "Struct" => "an object",
        "ListValue" => "an array",
        "Value" => "a JSON value",
        "Empty" => "an empty object",
        "DoubleValue" | "FloatValue" => "a number",
        "Int32Value" | "Int64Value" => "an integer",
        "UInt32Value" | "UInt64Value" => "an unsigned integer",
        "BoolValue" => "true or false",
        "StringValue" => "a string",
        "BytesValue" => "a base64 string",
        _ => return None,
    })
}
