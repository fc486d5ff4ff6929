//! JSON Schemas (draft 2020-12, as OpenAPI 3.1 has it) of messages and fields.

use std::collections::BTreeMap;

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value as Json, json};

use super::comment::Comments;
use super::rules;
use crate::transcode::plan::Spelling;

/// The schemas that operations refer to.
#[derive(Default)]
pub(super) struct Schemas {
    wanted: BTreeMap<(String, Spelling), Option<MessageDescriptor>>,
    done: BTreeMap<String, Json>,
}

impl Schemas {
    /// A reference to a message's schema, or the schema itself where the form is well known.
    pub(super) fn message(&mut self, message: &MessageDescriptor, spelling: Spelling) -> Json {
        if let Some(schema) = well_known(message.full_name()) {
            return schema;
        }
        let name = component_name(message, spelling);
        let key = (message.full_name().to_owned(), spelling);
        self.wanted.entry(key).or_insert_with(|| Some(message.clone()));
        json!({ "$ref": format!("#/components/schemas/{name}") })
    }

    /// A field's schema with its description and rules.
    pub(super) fn field(
        &mut self,
        field: &FieldDescriptor,
        spelling: Spelling,
        comments: &mut Comments,
    ) -> Json {
        let schema = self.bare_field(field, spelling, comments);
        let mut schema = rules::with_rules(schema, field);
        describe(&mut schema, comments.of_field(field));
        schema
    }

    /// The body of a request: the message's fields without those given elsewhere, and which of
    /// them must be there.
    pub(super) fn request(
        &mut self,
        message: &MessageDescriptor,
        without: &[String],
        comments: &mut Comments,
    ) -> Json {
        let (mut properties, mut required) = (Map::new(), Vec::new());
        for field in message.fields().filter(|field| !without.contains(&field.name().to_owned())) {
            let mut schema = self.field(&field, Spelling::Contract, comments);
            if rules::is_secret(&field)
                && let Json::Object(schema) = &mut schema
            {
                schema.insert("writeOnly".into(), true.into());
                schema.insert("format".into(), "password".into());
            }
            if rules::is_required(&field) {
                required.push(field.name().to_owned());
            }
            properties.insert(field.name().to_owned(), schema);
        }
        let mut schema = json!({
            "type": "object",
            "description": comments.of_message(message),
            "properties": properties,
            "additionalProperties": false,
        });
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        schema
    }

    /// Every schema that was referred to, and those that they refer to.
    pub(super) fn finish(mut self, comments: &mut Comments) -> BTreeMap<String, Json> {
        while let Some((key, message)) = self.next_wanted() {
            let schema = self.object(&message, key.1, comments);
            self.done.insert(component_name(&message, key.1), schema);
        }
        self.done
    }

    fn next_wanted(&mut self) -> Option<((String, Spelling), MessageDescriptor)> {
        self.wanted
            .iter_mut()
            .find_map(|(key, message)| message.take().map(|message| (key.clone(), message)))
    }

    fn object(
        &mut self,
        message: &MessageDescriptor,
        spelling: Spelling,
        comments: &mut Comments,
    ) -> Json {
        let mut properties = Map::new();
        for field in message.fields() {
            let name = match spelling {
                Spelling::Contract => field.name(),
                Spelling::Canonical => field.json_name(),
            };
            properties.insert(name.to_owned(), self.field(&field, spelling, comments));
        }
        json!({
            "type": "object",
            "description": comments.of_message(message),
            "properties": properties,
        })
    }

    fn bare_field(
        &mut self,
        field: &FieldDescriptor,
        spelling: Spelling,
        comments: &mut Comments,
    ) -> Json {
        if field.is_map()
            && let Kind::Message(entry) = field.kind()
        {
            let value = entry.map_entry_value_field();
            let values = self.kind(&value.kind(), spelling, comments);
            return json!({ "type": "object", "additionalProperties": values });
        }
        let schema = self.kind(&field.kind(), spelling, comments);
        if field.is_list() { json!({ "type": "array", "items": schema }) } else { schema }
    }

    fn kind(&mut self, kind: &Kind, spelling: Spelling, comments: &mut Comments) -> Json {
        match kind {
            Kind::Message(message) => self.message(message, spelling),
            Kind::Enum(kind) => enumeration(kind, comments),
            scalar => scalar_schema(scalar),
        }
    }
}

/// Adds a description beside whatever the schema says; 3.1 allows it beside `$ref` too.
fn describe(schema: &mut Json, description: String) {
    if let Json::Object(schema) = schema {
        schema.insert("description".into(), description.into());
    }
}

fn component_name(message: &MessageDescriptor, spelling: Spelling) -> String {
    match spelling {
        Spelling::Contract => message.full_name().to_owned(),
        Spelling::Canonical => format!("{}.Plain", message.full_name()),
    }
}

fn enumeration(kind: &EnumDescriptor, comments: &mut Comments) -> Json {
    let names: Vec<String> = kind.values().map(|value| value.name().to_owned()).collect();
    json!({ "type": "string", "enum": names, "description": comments.of_enum(kind) })
}

fn scalar_schema(kind: &Kind) -> Json {
    match kind {
        Kind::Double => json!({ "type": "number", "format": "double" }),
        Kind::Float => json!({ "type": "number", "format": "float" }),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
            json!({ "type": "integer", "format": "int32" })
        }
        Kind::Uint32 | Kind::Fixed32 => {
            json!({ "type": "integer", "format": "int64", "minimum": 0, "maximum": u32::MAX })
        }
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
            json!({ "type": "string", "format": "int64" })
        }
        Kind::Uint64 | Kind::Fixed64 => json!({ "type": "string", "format": "uint64" }),
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Bytes => json!({ "type": "string", "contentEncoding": "base64" }),
        Kind::String | Kind::Message(_) | Kind::Enum(_) => json!({ "type": "string" }),
    }
}

fn well_known(full_name: &str) -> Option<Json> {
    Some(match full_name.strip_prefix("google.protobuf.")? {
        "Timestamp" => json!({ "type": "string", "format": "date-time" }),
        "Duration" => json!({ "type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$" }),
        "FieldMask" => json!({ "type": "string" }),
        "Struct" | "Any" | "Empty" => json!({ "type": "object" }),
        "ListValue" => json!({ "type": "array", "items": {} }),
        "Value" => json!({}),
        "DoubleValue" | "FloatValue" => json!({ "type": ["number", "null"] }),
        "Int32Value" | "UInt32Value" => json!({ "type": ["integer", "null"] }),
        "Int64Value" | "UInt64Value" | "StringValue" => json!({ "type": ["string", "null"] }),
        "BytesValue" => json!({ "type": ["string", "null"], "contentEncoding": "base64" }),
        "BoolValue" => json!({ "type": ["boolean", "null"] }),
        _ => return None,
    })
}
