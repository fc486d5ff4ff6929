//! Query parameters: `?page_size=20&user.name=x&state=ACTIVE&state=PENDING`.

use mainstay::kernel::error::Result;
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage, Value,
};

use super::binding::{Binding, Body};
use super::fill::find;
use super::scalar;
use super::violations::Violations;
use super::well_known;
use crate::route::percent;

/// The most parameters that one request may have.
const MOST_PARAMETERS: usize = 200;

/// The parameter that carries a list's cursor.
pub(crate) const CURSOR: &str = "cursor";

/// The decoded parameters of a request, in their order.
pub(crate) type Parameters = Vec<(String, String)>;

/// Decodes a query string.
pub(crate) fn parse(query: Option<&str>) -> Result<Parameters> {
    let mut parameters = Vec::new();
    let mut violations = Violations::default();
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match (percent::decode_query(name), percent::decode_query(value)) {
            (Ok(name), Ok(value)) => parameters.push((name, value)),
            (name, _) => violations
                .add(name.unwrap_or_else(|_| "query".to_owned()), percent::NotText.to_string()),
        }
        if parameters.len() > MOST_PARAMETERS {
            violations.add("query", format!("has more than {MOST_PARAMETERS} parameters"));
            break;
        }
    }
    violations.into_result()?;
    Ok(parameters)
}

/// The one cursor among the parameters, taken out of them.
pub(crate) fn take_cursor(parameters: &mut Parameters) -> Result<Option<String>> {
    let mut cursors: Vec<String> = Vec::new();
    parameters.retain(|(name, value)| {
        let is_cursor = name == CURSOR;
        if is_cursor {
            cursors.push(value.clone());
        }
        !is_cursor
    });
    let mut violations = Violations::default();
    if cursors.len() > 1 {
        violations.add(CURSOR, "is given twice");
    }
    violations.into_result()?;
    Ok(cursors.pop().filter(|cursor| !cursor.is_empty()))
}

/// Sets the fields that the parameters name.
pub(crate) fn apply(
    binding: &Binding,
    parameters: &Parameters,
    message: &mut DynamicMessage,
    violations: &mut Violations,
) {
    let mut given = std::collections::HashSet::new();
    for (name, text) in parameters {
        let Some(path) = resolve(binding, name) else {
            violations.add(name, "is no query parameter of this call");
            continue;
        };
        let canonical = dotted(&path);
        if binding.path_fields.contains(&canonical) {
            violations.add(name, "is given by the path and cannot be given again");
            continue;
        }
        let repeated = path.last().is_some_and(FieldDescriptor::is_list);
        if !given.insert(canonical) && !repeated {
            violations.add(name, "is given twice");
        } else if let Err(reason) = set(message, &path, text) {
            violations.add(name, reason);
        }
    }
}

/// Sets the field at a path within a message, through the messages on the way.
pub(crate) fn set(
    message: &mut DynamicMessage,
    path: &[FieldDescriptor],
    text: &str,
) -> std::result::Result<(), String> {
    let Some((first, rest)) = path.split_first() else { return Ok(()) };
    if rest.is_empty() {
        let value = value(first, text)?;
        match (first.is_list(), message.get_field_mut(first)) {
            (true, Value::List(values)) => values.push(value),
            (_, place) => *place = value,
        }
        return Ok(());
    }
    match message.get_field_mut(first) {
        Value::Message(inner) => set(inner, rest, text),
        _ => Err("is no message".into()),
    }
}

/// The fields that a dotted name passes through; `None` where there are none such.
pub(crate) fn fields_at(
    message: &MessageDescriptor,
    names: impl IntoIterator<Item = impl AsRef<str>>,
) -> Option<Vec<FieldDescriptor>> {
    let mut message = Some(message.clone());
    let mut path = Vec::new();
    for name in names {
        let field = find(message.as_ref()?, name.as_ref())?;
        message = match field.kind() {
            Kind::Message(inner) if !field.is_list() => Some(inner),
            _ => None,
        };
        path.push(field);
    }
    Some(path)
}

/// Whether a query may set a field: every scalar, and messages that are written as one text.
pub(crate) fn settable(field: &FieldDescriptor) -> bool {
    match field.kind() {
        _ if field.is_map() => false,
        Kind::Message(message) => well_known::from_text(&message, "").is_some(),
        _ => true,
    }
}

fn resolve(binding: &Binding, name: &str) -> Option<Vec<FieldDescriptor>> {
    let path = fields_at(&binding.input, name.split('.'))?;
    let first = path.first()?;
    let bound_by_body = match &binding.body {
        Body::Nothing => false,
        Body::Message | Body::Raw => true,
        Body::Field(field) | Body::RawField(field) => field.number() == first.number(),
    };
    let page_token = binding.list.as_ref().is_some_and(|list| list.page_token == *first);
    let wanted = !bound_by_body && !page_token && path.last().is_some_and(settable);
    wanted.then_some(path)
}

fn value(field: &FieldDescriptor, text: &str) -> std::result::Result<Value, String> {
    match field.kind() {
        Kind::Message(message) => well_known::from_text(&message, text)
            .unwrap_or_else(|| Err("cannot be a query parameter".into()))
            .map(Value::Message),
        kind => scalar::from_text(&kind, text),
    }
}

fn dotted(path: &[FieldDescriptor]) -> String {
    path.iter().map(FieldDescriptor::name).collect::<Vec<_>>().join(".")
}

/// The parameters that a request message has, as OpenAPI lists them: dotted name and field.
pub(crate) fn available(binding: &Binding) -> Vec<(String, FieldDescriptor)> {
    let mut found = Vec::new();
    collect(&DynamicMessage::new(binding.input.clone()).descriptor(), "", 0, &mut found);
    found.retain(|(name, _)| {
        resolve(binding, name).is_some() && !binding.path_fields.contains(name)
    });
    found
}

fn collect(
    message: &MessageDescriptor,
    prefix: &str,
    depth: usize,
    found: &mut Vec<(String, FieldDescriptor)>,
) {
    const DEEPEST: usize = 3;
    for field in message.fields() {
        let name = super::fill::join(prefix, field.name());
        match field.kind() {
            _ if settable(&field) => found.push((name, field)),
            Kind::Message(inner) if !field.is_list() && !field.is_map() && depth < DEEPEST => {
                collect(&inner, &name, depth + 1, found);
            }
            _ => {}
        }
    }
}
