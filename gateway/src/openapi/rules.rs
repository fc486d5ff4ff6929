//! `buf.validate` rules as JSON Schema keywords, and what the policy says of fields.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, ReflectMessage as _, Value};
use serde_json::{Map, Value as Json, json};

/// Rules that have a keyword of JSON Schema with the same meaning: rule, keyword.
const SAME: [(&str, &str); 17] = [
    ("min_len", "minLength"),
    ("max_len", "maxLength"),
    ("len", "minLength"),
    ("pattern", "pattern"),
    ("gte", "minimum"),
    ("lte", "maximum"),
    ("gt", "exclusiveMinimum"),
    ("lt", "exclusiveMaximum"),
    ("min_items", "minItems"),
    ("max_items", "maxItems"),
    ("unique", "uniqueItems"),
    ("min_pairs", "minProperties"),
    ("max_pairs", "maxProperties"),
    ("const", "const"),
    ("in", "enum"),
    ("min_bytes", "x-min-bytes"),
    ("max_bytes", "x-max-bytes"),
];

/// Rules that are formats: rule, format.
const FORMATS: [(&str, &str); 5] =
    [("email", "email"), ("hostname", "hostname"), ("uri", "uri"), ("uuid", "uuid"), ("ip", "ip")];

/// The schema with the field's rules in it.
pub(super) fn with_rules(mut schema: Json, field: &FieldDescriptor) -> Json {
    let Json::Object(keywords) = &mut schema else { return schema };
    if let Some(rules) = option(field, "buf.validate.field") {
        add_rules(keywords, &rules);
    }
    if policy_flag(field, "personal") {
        keywords.insert("x-personal-data".into(), true.into());
    }
    schema
}

/// Whether a request without the field is refused.
pub(super) fn is_required(field: &FieldDescriptor) -> bool {
    let Some(rules) = option(field, "buf.validate.field") else { return false };
    if flag(&rules, "required") {
        return true;
    }
    let kind = typed(&rules);
    let positive = |name: &str| {
        kind.as_ref().and_then(|rules| number(rules, name)).is_some_and(|least| least > 0.0)
    };
    let formats = ["uuid", "email", "uri", "hostname", "ip"];
    positive("min_len")
        || positive("min_items")
        || kind.as_ref().is_some_and(|rules| formats.iter().any(|name| flag(rules, name)))
}

/// Whether the field holds a secret.
pub(super) fn is_secret(field: &FieldDescriptor) -> bool {
    policy_flag(field, "secret")
}

fn policy_flag(field: &FieldDescriptor, name: &str) -> bool {
    option(field, "mainstay.policy.v1.field").is_some_and(|policy| flag(&policy, name))
}

fn add_rules(keywords: &mut Map<String, Json>, rules: &DynamicMessage) {
    let Some(rules) = typed(rules) else { return };
    for field in rules.descriptor().fields().filter(|field| rules.has_field(field)) {
        let value = rules.get_field(&field);
        if let Some((_, keyword)) = SAME.iter().find(|(rule, _)| *rule == field.name()) {
            keywords.insert((*keyword).to_owned(), plain(&value));
        }
        if let Some((_, format)) = FORMATS.iter().find(|(rule, _)| *rule == field.name()) {
            keywords.insert("format".to_owned(), json!(format));
        }
        if let (("items", Kind::Message(_)), Value::Message(inner)) =
            ((field.name(), field.kind()), value.as_ref())
            && let Some(Json::Object(items)) = keywords.get_mut("items")
        {
            add_rules(items, inner);
        }
    }
}

/// The rules for the field's type: the one message that `FieldRules.type` holds.
fn typed(rules: &DynamicMessage) -> Option<DynamicMessage> {
    let oneof = rules.descriptor().oneofs().find(|oneof| oneof.name() == "type")?;
    let field = oneof.fields().find(|field| rules.has_field(field))?;
    match rules.get_field(&field).as_ref() {
        Value::Message(typed) => Some(typed.clone()),
        _ => None,
    }
}

fn option(field: &FieldDescriptor, extension: &str) -> Option<DynamicMessage> {
    let extension = field.parent_message().parent_pool().get_extension_by_name(extension)?;
    let options = field.options();
    match options.get_extension(&extension).as_ref() {
        Value::Message(message) if options.has_extension(&extension) => Some(message.clone()),
        _ => None,
    }
}

fn flag(message: &DynamicMessage, name: &str) -> bool {
    message.get_field_by_name(name).and_then(|value| value.as_bool()).unwrap_or(false)
}

fn number(message: &DynamicMessage, name: &str) -> Option<f64> {
    plain(message.get_field_by_name(name)?.as_ref()).as_f64()
}

fn plain(value: &Value) -> Json {
    match value {
        Value::Bool(value) => json!(value),
        Value::I32(value) => json!(value),
        Value::I64(value) => json!(value),
        Value::U32(value) => json!(value),
        Value::U64(value) => json!(value),
        Value::F32(value) => json!(value),
        Value::F64(value) => json!(value),
        Value::String(value) => json!(value),
        Value::List(values) => Json::Array(values.iter().map(plain).collect()),
        _ => Json::Null,
    }
}
