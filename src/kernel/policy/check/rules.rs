//! Validation rules: `buf.validate`.
//!
//! A rule that the kernel does not know would be passed over in silence, so it is refused.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};

use super::Faults;
use super::options::{self, alternative, message, read};

/// The extension number of `buf.validate` on every kind of option.
const EXTENSION: u32 = 1159;

const UNKNOWN: &str = "states a validation rule that is not known here and would not be enforced; \
                       state it by the rules of proto/buf/validate/validate.proto";

pub(super) fn check(message: &MessageDescriptor, faults: &mut Faults) {
    let file = message.parent_file();
    let is_unknown = |options: &DynamicMessage| {
        options.unknown_fields().any(|field| field.number() == EXTENSION)
    };
    if is_unknown(&message.options()) {
        faults.add(&file, message.full_name(), UNKNOWN);
    }
    for oneof in message.oneofs().filter(|oneof| is_unknown(&oneof.options())) {
        faults.add(&file, oneof.full_name(), UNKNOWN);
    }
    for field in message.fields() {
        let declared = field.options();
        let mut found = Vec::new();
        match read(message.parent_pool(), &declared, options::RULES) {
            Some(rules) if has_unknown(&rules) => found.push(UNKNOWN.to_owned()),
            Some(rules) => check_field(&field, &rules, &mut found),
            None if is_unknown(&declared) => found.push(UNKNOWN.to_owned()),
            None => {}
        }
        for fault in found {
            faults.add(&file, field.full_name(), fault);
        }
    }
}

/// A field, or a value of an enum such as a new kind of `ignore`, that our schema does not define.
fn has_unknown(rules: &DynamicMessage) -> bool {
    let is_unknown = |(field, value): (FieldDescriptor, &Value)| match (field.kind(), value) {
        (_, Value::Message(inner)) => has_unknown(inner),
        (Kind::Enum(kind), Value::EnumNumber(number)) => kind.get_value(*number).is_none(),
        _ => false,
    };
    rules.unknown_fields().next().is_some() || rules.fields().any(is_unknown)
}

fn check_field(field: &FieldDescriptor, rules: &DynamicMessage, faults: &mut Vec<String>) {
    let kind = field.kind();
    let expected = match () {
        () if field.is_map() => Some("map"),
        () if field.is_list() => Some("repeated"),
        () => rule_of(&kind),
    };
    let Some(Value::Message(stated)) = check_type(rules, expected, faults) else { return };
    if field.is_map() {
        let Some(entry) = kind.as_message() else { return };
        let (key, value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
        for (name, kind) in [("keys", key.kind()), ("values", value.kind())] {
            if let Some(rules) = message(&stated, name) {
                check_type(&rules, rule_of(&kind), faults);
            }
        }
    } else if field.is_list()
        && let Some(rules) = message(&stated, "items")
    {
        check_type(&rules, rule_of(&kind), faults);
    }
}

/// The rules of one type, if they are of the type expected.
fn check_type(
    rules: &DynamicMessage,
    expected: Option<&str>,
    faults: &mut Vec<String>,
) -> Option<Value> {
    let (stated, value) = alternative(rules, "type")?;
    if expected == Some(stated.as_str()) {
        return Some(value);
    }
    faults.push(match expected {
        Some(expected) => format!(
            "states rules of the type `{stated}`; state rules of the field's own, `{expected}`"
        ),
        None => format!(
            "states rules of the type `{stated}`, but there are none for a field of its type; \
             leave all but `required` and `ignore` out"
        ),
    });
    None
}

/// The name of the rules that a type has; `None` where there are none.
fn rule_of(kind: &Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::Float => "float",
        Kind::Double => "double",
        Kind::Int32 => "int32",
        Kind::Int64 => "int64",
        Kind::Uint32 => "uint32",
        Kind::Uint64 => "uint64",
        Kind::Bool => "bool",
        Kind::String => "string",
        Kind::Bytes => "bytes",
        Kind::Enum(_) => "enum",
        _ => return None,
    })
}
