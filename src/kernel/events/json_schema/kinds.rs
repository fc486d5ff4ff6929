//! What each kind of field is in JSON.

use std::collections::{BTreeMap, HashMap};

use prost_reflect::{
    DescriptorPool, EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor,
};
use serde_json::{Map, Value, json};

use super::comments;
use crate::kernel::policy::is_personal;

/// The messages met so far. Each is described once, under `$defs`, so that messages may hold
/// themselves.
pub(super) struct Kinds<'a> {
    pool: &'a DescriptorPool,
    comments: HashMap<String, HashMap<Vec<i32>, String>>,
    met: BTreeMap<String, MessageDescriptor>,
}

impl<'a> Kinds<'a> {
    pub(super) fn new(pool: &'a DescriptorPool) -> Self {
        Self { pool, comments: HashMap::new(), met: BTreeMap::new() }
    }

    /// A message as an object.
    pub(super) fn message(
        &mut self,
        message: &MessageDescriptor,
    ) -> anyhow::Result<Map<String, Value>> {
        let mut properties = Map::new();
        for field in message.fields() {
            properties.insert(field.json_name().to_owned(), self.field(&field)?);
        }
        let mut object = Map::from_iter([
            ("type".to_owned(), json!("object")),
            ("properties".to_owned(), Value::Object(properties)),
        ]);
        if let Some(text) = self.comment(&message.parent_file(), message.path()) {
            object.insert("description".to_owned(), json!(text));
        }
        Ok(object)
    }

    /// The messages that were referred to, and those that these refer to.
    pub(super) fn definitions(&mut self) -> anyhow::Result<Map<String, Value>> {
        let mut definitions = Map::new();
        while let Some((name, message)) =
            self.met.iter().find(|(name, _)| !definitions.contains_key(*name))
        {
            let (name, message) = (name.clone(), message.clone());
            definitions.insert(name, Value::Object(self.message(&message)?));
        }
        Ok(definitions)
    }

    fn field(&mut self, field: &FieldDescriptor) -> anyhow::Result<Value> {
        let mut schema = match field.kind() {
            Kind::Message(entry) if field.is_map() => {
                let values = self.kind(&entry.map_entry_value_field().kind());
                json!({ "type": "object", "additionalProperties": values })
            }
            kind if field.is_list() => json!({ "type": "array", "items": self.kind(&kind) }),
            kind => self.kind(&kind),
        };
        // Beside a reference, keywords count as well since 2019-09.
        if let Some(text) = self.comment(&field.parent_file(), field.path()) {
            schema["description"] = json!(text);
        }
        if is_personal(self.pool, field)? {
            schema["x-personal"] = json!(true);
        }
        Ok(schema)
    }

    fn kind(&mut self, kind: &Kind) -> Value {
        match kind {
            Kind::Bool => json!({ "type": "boolean" }),
            Kind::String => json!({ "type": "string" }),
            Kind::Bytes => json!({ "type": "string", "contentEncoding": "base64" }),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
                json!({ "type": "integer", "minimum": i32::MIN, "maximum": i32::MAX })
            }
            Kind::Uint32 | Kind::Fixed32 => {
                json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX })
            }
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
                json!({ "type": "string", "pattern": "^-?[0-9]+$" })
            }
            Kind::Uint64 | Kind::Fixed64 => json!({ "type": "string", "pattern": "^[0-9]+$" }),
            Kind::Double | Kind::Float => json!({
                "anyOf": [{ "type": "number" }, { "enum": ["NaN", "Infinity", "-Infinity"] }]
            }),
            Kind::Enum(kind) => self.enumeration(kind),
            Kind::Message(message) => self.reference(message),
        }
    }

    /// Values unknown to a consumer come as names, or as numbers where they are unknown to the
    /// publisher too.
    fn enumeration(&mut self, kind: &EnumDescriptor) -> Value {
        let mut known = Vec::new();
        for value in kind.values() {
            let mut choice = json!({ "const": value.name() });
            if let Some(text) = self.comment(&kind.parent_file(), value.path()) {
                choice["description"] = json!(text);
            }
            known.push(choice);
        }
        known.push(json!({ "type": ["string", "integer"] }));
        json!({ "anyOf": known })
    }

    fn reference(&mut self, message: &MessageDescriptor) -> Value {
        let name = message.full_name();
        if let Some(well_known) = well_known(name) {
            return well_known;
        }
        self.met.insert(name.to_owned(), message.clone());
        json!({ "$ref": format!("#/$defs/{name}") })
    }

    fn comment(&mut self, file: &FileDescriptor, path: &[i32]) -> Option<String> {
        let of_file = self.comments.entry(file.name().to_owned()).or_insert_with(|| comments(file));
        of_file.get(path).filter(|text| !text.is_empty()).cloned()
    }
}

/// Google's own messages have forms of their own in JSON.
fn well_known(name: &str) -> Option<Value> {
    let name = name.strip_prefix("google.protobuf.")?;
    Some(match name {
        "Timestamp" => json!({ "type": "string", "format": "date-time" }),
        "Duration" => json!({ "type": "string", "pattern": "^-?[0-9]+(\\.[0-9]+)?s$" }),
        "FieldMask" => json!({ "type": "string" }),
        "Struct" | "Any" | "Empty" => json!({ "type": "object" }),
        "ListValue" => json!({ "type": "array" }),
        "Value" => json!({}),
        "BoolValue" => json!({ "type": ["boolean", "null"] }),
        "StringValue" => json!({ "type": ["string", "null"] }),
        "BytesValue" => json!({ "type": ["string", "null"], "contentEncoding": "base64" }),
        "Int32Value" | "UInt32Value" => json!({ "type": ["integer", "null"] }),
        "Int64Value" => json!({ "type": ["string", "null"], "pattern": "^-?[0-9]+$" }),
        "UInt64Value" => json!({ "type": ["string", "null"], "pattern": "^[0-9]+$" }),
        "DoubleValue" | "FloatValue" => json!({
            "anyOf": [{ "type": ["number", "null"] }, { "enum": ["NaN", "Infinity", "-Infinity"] }]
        }),
        _ => return None,
    })
}
