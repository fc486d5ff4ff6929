//! String fields of a request, found in its wire bytes by number.

use anyhow::{Context as _, bail, ensure};
use prost_reflect::{Kind, MessageDescriptor};

use super::wire::{Fields, WireValue, malformed};
use crate::kernel::error::Result;

/// The way to one string field of a message, such as `user_id` or `user.id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldPath {
    name: String,
    numbers: Vec<u32>,
}

impl FieldPath {
    /// Resolves a dotted path. Refused where a field is unknown, repeated, one of several
    /// alternatives, or no string at the end.
    pub fn resolve(message: &MessageDescriptor, path: &str) -> anyhow::Result<Self> {
        let (mut numbers, mut current) = (Vec::new(), Some(message.clone()));
        let mut last = None;
        for name in path.split('.') {
            let message = current.with_context(|| format!("{path}: {name} is in no message"))?;
            let field = message
                .get_field_by_name(name)
                .with_context(|| format!("{} has no field {name}", message.full_name()))?;
            let alternative = field.containing_oneof().is_some_and(|oneof| !oneof.is_synthetic());
            if field.is_list() || field.is_map() || alternative {
                bail!("{path}: {name} must be a single field that is in no oneof");
            }
            numbers.push(field.number());
            current = field.kind().as_message().cloned();
            last = Some(field.kind());
        }
        ensure!(last == Some(Kind::String), "{path} must be a string field");
        Ok(Self { name: path.to_owned(), numbers })
    }

    /// The path as the contract states it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The field's content in a message's wire bytes; `None` when it is absent.
    pub fn read(&self, message: &[u8]) -> Result<Option<String>> {
        let found = find(message, &self.numbers, 0)?;
        let text = found.map(|bytes| {
            std::str::from_utf8(bytes).map_err(|_| malformed(format!("{} is not UTF-8", self.name)))
        });
        Ok(text.transpose()?.map(str::to_owned))
    }
}

/// Of several occurrences the last counts, as in every decoder; occurrences of a message are merged.
fn find<'a>(message: &'a [u8], numbers: &[u32], depth: usize) -> Result<Option<&'a [u8]>> {
    let Some((&wanted, deeper)) = numbers.split_first() else { return Ok(Some(message)) };
    let (mut fields, mut found) = (Fields::new(message, depth)?, None);
    while let Some((number, value)) = fields.next()? {
        if number != wanted {
            continue;
        }
        let WireValue::Bytes(bytes) = value else {
            return Err(malformed(format!("field {number} has the wrong wire type")));
        };
        found = find(bytes, deeper, depth + 1)?.or(found);
    }
    Ok(found)
}

/// A resource name with fields of the request in it, such as `users/{user_id}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceTemplate {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Field(FieldPath),
}

impl ResourceTemplate {
    /// Parses a template and resolves its fields.
    pub fn resolve(message: &MessageDescriptor, template: &str) -> anyhow::Result<Self> {
        let (mut parts, mut rest) = (Vec::new(), template);
        while let Some((literal, after)) = rest.split_once('{') {
            let (path, after) = after
                .split_once('}')
                .with_context(|| format!("{template}: a brace is not closed"))?;
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.to_owned()));
            }
            parts.push(Part::Field(FieldPath::resolve(message, path)?));
            rest = after;
        }
        ensure!(!rest.contains('}'), "{template}: a brace is closed that was not opened");
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        Ok(Self { parts })
    }

    /// The resource that a request's wire bytes name.
    pub fn render(&self, message: &[u8]) -> Result<String> {
        let mut resource = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(literal) => resource.push_str(literal),
                Part::Field(path) => resource.push_str(&path.read(message)?.unwrap_or_default()),
            }
        }
        Ok(resource)
    }
}
