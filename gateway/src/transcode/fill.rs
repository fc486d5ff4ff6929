//! JSON to message, by descriptor: both spellings of a name, unknown fields refused, every fault
//! named by the path of its field.

use std::collections::{HashMap, HashSet};

use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage as _, Value,
};
use serde_json::{Map, Value as Json};

use super::scalar;
use super::violations::Violations;
use super::well_known;

/// Fills messages from JSON and gathers what is wrong.
pub(crate) struct Fill<'a> {
    /// Paths of the fields that the URL path gives; the body may not give them again.
    pub(crate) taken: &'a [String],
    /// What was wrong so far.
    pub(crate) violations: &'a mut Violations,
}

impl Fill<'_> {
    /// Reads a message. `path` is the path of the field it stands in, empty for the whole body.
    pub(crate) fn message(
        &mut self,
        descriptor: &MessageDescriptor,
        json: &Json,
        path: &str,
    ) -> Option<DynamicMessage> {
        if let Some(read) = well_known::from_json(descriptor, json) {
            return self.checked(read, path);
        }
        let Json::Object(fields) = json else {
            self.violations.add(shown(path), "must be an object");
            return None;
        };
        let mut message = DynamicMessage::new(descriptor.clone());
        self.fields(&mut message, fields, path);
        Some(message)
    }

    /// Reads the value of one field; `None` where it is null, which is as good as absent.
    pub(crate) fn field(
        &mut self,
        field: &FieldDescriptor,
        json: &Json,
        path: &str,
    ) -> Option<Value> {
        match json {
            Json::Null if !well_known::takes_null(&field.kind()) || field.is_list() => None,
            json if field.is_map() => self.map(field, json, path),
            json if field.is_list() => self.list(field, json, path),
            json => self.single(&field.kind(), json, path),
        }
    }

    fn fields(&mut self, message: &mut DynamicMessage, fields: &Map<String, Json>, path: &str) {
        let descriptor = message.descriptor();
        let mut seen = HashSet::new();
        for (key, json) in fields {
            let Some(field) = find(&descriptor, key) else {
                self.violations.add(join(path, key), "is no field of this request");
                continue;
            };
            let path = join(path, field.name());
            if self.taken.contains(&path) {
                self.violations.add(path, "is given by the path and cannot be given again");
            } else if !seen.insert(field.number()) {
                self.violations.add(path, "appears twice, in two spellings");
            } else if let Some(value) = self.field(&field, json, &path) {
                self.set(message, &field, value, path);
            }
        }
    }

    fn set(
        &mut self,
        message: &mut DynamicMessage,
        field: &FieldDescriptor,
        value: Value,
        path: String,
    ) {
        let rival = field.containing_oneof().and_then(|oneof| {
            oneof
                .fields()
                .find(|other| other.number() != field.number() && message.has_field(other))
        });
        match rival {
            Some(rival) => {
                self.violations.add(path, format!("cannot be given beside `{}`", rival.name()));
            }
            None => message.set_field(field, value),
        }
    }

    fn single(&mut self, kind: &Kind, json: &Json, path: &str) -> Option<Value> {
        match kind {
            Kind::Message(inner) => self.message(inner, json, path).map(Value::Message),
            scalar => self.checked(scalar::from_json(scalar, json), path),
        }
    }

    fn list(&mut self, field: &FieldDescriptor, json: &Json, path: &str) -> Option<Value> {
        let Json::Array(items) = json else {
            self.violations.add(shown(path), "must be an array");
            return None;
        };
        let kind = field.kind();
        let mut values = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            values.extend(self.single(&kind, item, &format!("{path}[{index}]")));
        }
        Some(Value::List(values))
    }

    fn map(&mut self, field: &FieldDescriptor, json: &Json, path: &str) -> Option<Value> {
        let (Json::Object(entries), Kind::Message(entry)) = (json, field.kind()) else {
            self.violations.add(shown(path), "must be an object");
            return None;
        };
        let (key_kind, value) = (entry.map_entry_key_field().kind(), entry.map_entry_value_field());
        let mut values = HashMap::new();
        for (key, json) in entries {
            let path = format!("{path}[{key:?}]");
            let key = self.checked(scalar::map_key(&key_kind, key), &path);
            let value = self.single(&value.kind(), json, &path);
            values.extend(key.zip(value));
        }
        Some(Value::Map(values))
    }

    fn checked<T>(&mut self, read: Result<T, String>, path: &str) -> Option<T> {
        read.map_err(|reason| self.violations.add(shown(path), reason)).ok()
    }
}

/// A field by either spelling of its name.
pub(crate) fn find(descriptor: &MessageDescriptor, name: &str) -> Option<FieldDescriptor> {
    descriptor.get_field_by_name(name).or_else(|| descriptor.get_field_by_json_name(name))
}

/// The path of a field within the message at `path`.
pub(crate) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn shown(path: &str) -> &str {
    if path.is_empty() { "body" } else { path }
}
