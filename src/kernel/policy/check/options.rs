//! Options and fields, read without generated types.

use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value,
};

pub(super) const METHOD: &str = "mainstay.policy.v1.method";
pub(super) const SERVICE: &str = "mainstay.policy.v1.service";
pub(super) const EVENT: &str = "mainstay.policy.v1.event";
pub(super) const FIELD: &str = "mainstay.policy.v1.field";
pub(super) const HTTP: &str = "google.api.http";
pub(super) const RULES: &str = "buf.validate.field";

/// An option that is a message; `None` where it is not stated.
pub(super) fn read(
    pool: &DescriptorPool,
    options: &DynamicMessage,
    name: &str,
) -> Option<DynamicMessage> {
    let option = pool.get_extension_by_name(name)?;
    if !options.has_extension(&option) {
        return None;
    }
    options.get_extension(&option).as_message().cloned()
}

/// A string field; empty where it is absent.
pub(super) fn text(message: &DynamicMessage, name: &str) -> String {
    let value = message.get_field_by_name(name);
    value.as_deref().and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// A repeated string field.
pub(super) fn texts(message: &DynamicMessage, name: &str) -> Vec<String> {
    let value = message.get_field_by_name(name);
    let items = value.as_deref().and_then(Value::as_list).unwrap_or_default();
    items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// A boolean field; false where it is absent.
pub(super) fn flag(message: &DynamicMessage, name: &str) -> bool {
    let value = message.get_field_by_name(name);
    value.as_deref().and_then(Value::as_bool).unwrap_or_default()
}

/// A `uint32` field; 0 where it is absent.
pub(super) fn number(message: &DynamicMessage, name: &str) -> u32 {
    let value = message.get_field_by_name(name);
    value.as_deref().and_then(Value::as_u32).unwrap_or_default()
}

/// A message field; `None` where it is absent.
pub(super) fn message(message: &DynamicMessage, name: &str) -> Option<DynamicMessage> {
    let field = message.get_field_by_name(name).filter(|_| message.has_field_by_name(name))?;
    field.as_message().cloned()
}

/// The alternative of a oneof that is set, with its value.
pub(super) fn alternative(message: &DynamicMessage, oneof: &str) -> Option<(String, Value)> {
    let set = message.fields().find(|(field, _)| {
        field.containing_oneof().is_some_and(|containing| containing.name() == oneof)
    });
    set.map(|(field, value)| (field.name().to_owned(), value.clone()))
}

/// A `google.protobuf.Duration` in nanoseconds.
pub(super) fn nanoseconds(duration: &DynamicMessage) -> i128 {
    let number = |name| duration.get_field_by_name(name).map(|value| value.into_owned());
    let seconds = number("seconds").and_then(|value| value.as_i64()).unwrap_or_default();
    let nanos = number("nanos").and_then(|value| value.as_i32()).unwrap_or_default();
    i128::from(seconds) * 1_000_000_000 + i128::from(nanos)
}

/// The field at a dotted path: single at every step, and in no oneof, where another alternative
/// could take its place.
pub(super) fn field_at(message: &MessageDescriptor, path: &str) -> Result<FieldDescriptor, String> {
    let mut names = path.split('.');
    let first = names.next().unwrap_or_default();
    let mut field = single_field(message, first)?;
    for name in names {
        let kind = field.kind();
        let Some(message) = kind.as_message() else {
            return Err(format!("the field {} holds no fields", field.name()));
        };
        field = single_field(message, name)?;
    }
    Ok(field)
}

/// As [`field_at`], where the field must be a string.
pub(super) fn string_at(message: &MessageDescriptor, path: &str) -> Result<(), String> {
    match field_at(message, path)?.kind() {
        Kind::String => Ok(()),
        kind => Err(format!("the field {path} is no string but {kind:?}")),
    }
}

fn single_field(message: &MessageDescriptor, name: &str) -> Result<FieldDescriptor, String> {
    let Some(field) = message.get_field_by_name(name) else {
        let fields: Vec<_> = message.fields().map(|field| field.name().to_owned()).collect();
        let known = if fields.is_empty() { "none".to_owned() } else { fields.join(", ") };
        return Err(format!("{} has no field {name:?} (it has {known})", message.full_name()));
    };
    if field.is_list() || field.is_map() {
        return Err(format!("the field {name} is repeated"));
    }
    if field.containing_oneof().is_some_and(|oneof| !oneof.is_synthetic()) {
        return Err(format!("the field {name} is one of several alternatives"));
    }
    Ok(field)
}
