//! Descriptors to plans.

use std::collections::HashMap;

use prost_reflect::{
    EnumDescriptor, FieldDescriptor, Kind as Described, MessageDescriptor, Syntax,
};

use super::names::Names;
use super::{Enum, Field, Form, Kind, Message, NOWHERE, Named, SMALL, Shape, Spelling};
use crate::transcode::render::Word;
use crate::transcode::wire::WireType;

/// Types that were met, each with its place.
#[derive(Default)]
pub(super) struct Compiler {
    pub(super) descriptors: Vec<MessageDescriptor>,
    pub(super) known: HashMap<String, usize>,
    pub(super) enums: Vec<Enum>,
    known_enums: HashMap<String, usize>,
}

impl Compiler {
    pub(super) fn place(&mut self, message: &MessageDescriptor) -> usize {
        let next = self.descriptors.len();
        let place = *self.known.entry(message.full_name().to_owned()).or_insert(next);
        if place == next {
            self.descriptors.push(message.clone());
        }
        place
    }

    fn place_enum(&mut self, described: &EnumDescriptor) -> usize {
        let next = self.enums.len();
        let place = *self.known_enums.entry(described.full_name().to_owned()).or_insert(next);
        if place == next {
            let values = &described.enum_descriptor_proto().value;
            let mut names: Vec<(i32, Word)> = values
                .iter()
                .map(|value| (value.number(), Word::new(&quoted(value.name()))))
                .collect();
            let numbers = values.iter().map(|value| (value.name(), value.number()));
            let all: Vec<&str> = values.iter().map(|value| value.name()).collect();
            // Stable: of several names of a number the first in the contract counts.
            names.sort_by_key(|(number, _)| *number);
            names.dedup_by_key(|(number, _)| *number);
            let is_null = described.full_name() == "google.protobuf.NullValue";
            self.enums.push(Enum {
                is_null,
                open: described.parent_file().syntax() == Syntax::Proto3,
                choices: all.join(", "),
                names,
                numbers: Names::new(numbers),
            });
        }
        place
    }

    pub(super) fn message(&mut self, message: &MessageDescriptor, spelling: Spelling) -> Message {
        let form = form(message);
        if let Form::Any = form {
            // Whatever is described may be in it.
            for known in message.parent_pool().all_messages() {
                if !known.is_map_entry() {
                    self.place(&known);
                }
            }
        }
        let mut described: Vec<FieldDescriptor> = match form {
            Form::Object | Form::Wrapper | Form::Empty => message.fields().collect(),
            // Read by what is known of them, not by their fields.
            _ => Vec::new(),
        };
        described.sort_by_key(FieldDescriptor::number);
        let fields: Vec<Field> =
            described.iter().map(|field| self.field(&described, field, spelling)).collect();
        let mut small = vec![NOWHERE; SMALL as usize];
        for (place, field) in fields.iter().enumerate() {
            if let Some(slot) = small.get_mut(field.number as usize) {
                *slot = narrow(place);
            }
        }
        let used = small.iter().rposition(|place| *place != NOWHERE).map_or(0, |last| last + 1);
        small.truncate(used);
        let expected = expected(message, spelling);
        Message { form, expected, fields, small: small.into(), names: spellings(&described) }
    }

    fn field(
        &mut self,
        all: &[FieldDescriptor],
        field: &FieldDescriptor,
        spelling: Spelling,
    ) -> Field {
        let kind = self.kind(&field.kind());
        let shape = match (field.is_map(), field.is_list()) {
            (true, _) => Shape::Map,
            (_, true) => Shape::List,
            _ => Shape::Single,
        };
        let name = match spelling {
            Spelling::Contract => field.name(),
            Spelling::Canonical => field.json_name(),
        };
        let key = [b",", &*quoted(name), b":"].concat();
        let packed = shape == Shape::List && field.is_packed();
        let wire_type = if packed { WireType::Bytes } else { kind.wire_type() };
        let (presence, rivals) = (field.supports_presence(), rivals(all, field));
        Field {
            number: field.number(),
            name: field.name().to_owned(),
            key: Word::new(&key),
            tag: wire_type.tag(field.number()),
            packed,
            takes_null: shape == Shape::Single && takes_null(&field.kind()),
            kind,
            shape,
            presence,
            omitted: !presence && spelling != Spelling::Contract,
            direct: rivals.is_empty() && shape != Shape::Map && !packed,
            default: self.default_text(kind, shape),
            rivals,
        }
    }

    fn kind(&mut self, kind: &Described) -> Kind {
        match kind {
            Described::Double => Kind::Double,
            Described::Float => Kind::Float,
            Described::Int32 => Kind::Int32,
            Described::Int64 => Kind::Int64,
            Described::Uint32 => Kind::Uint32,
            Described::Uint64 => Kind::Uint64,
            Described::Sint32 => Kind::Sint32,
            Described::Sint64 => Kind::Sint64,
            Described::Fixed32 => Kind::Fixed32,
            Described::Fixed64 => Kind::Fixed64,
            Described::Sfixed32 => Kind::Sfixed32,
            Described::Sfixed64 => Kind::Sfixed64,
            Described::Bool => Kind::Bool,
            Described::String => Kind::String,
            Described::Bytes => Kind::Bytes,
            Described::Enum(described) => Kind::Enum(self.place_enum(described)),
            Described::Message(message) => Kind::Message(self.place(message)),
        }
    }

    fn default_text(&self, kind: Kind, shape: Shape) -> Box<[u8]> {
        let text: &[u8] = match (shape, kind) {
            (Shape::List, _) => b"[]",
            (Shape::Map, _) => b"{}",
            (_, Kind::Double | Kind::Float) => b"0.0",
            (_, Kind::String | Kind::Bytes) => b"\"\"",
            (_, Kind::Bool) => b"false",
            (_, Kind::Int64 | Kind::Uint64 | Kind::Sint64 | Kind::Fixed64 | Kind::Sfixed64) => {
                b"\"0\""
            }
            (_, Kind::Enum(place)) => match self.enums.get(place) {
                Some(known) if known.is_null => b"null",
                Some(known) => known.name(0).map_or(&b"0"[..], Word::bytes),
                None => b"0",
            },
            (_, Kind::Message(_)) => b"null",
            _ => b"0",
        };
        text.into()
    }
}

/// The fields by the contract's names and, where those are others, by the names that JSON has.
fn spellings(fields: &[FieldDescriptor]) -> Names<Named> {
    let named = |camel: bool| {
        let name = move |field: &FieldDescriptor| match camel {
            true => field.json_name().to_owned(),
            false => field.name().to_owned(),
        };
        fields
            .iter()
            .enumerate()
            .map(move |(place, field)| (name(field), Named { place: narrow(place), camel }))
    };
    Names::new(named(false).chain(named(true)))
}

fn takes_null(kind: &Described) -> bool {
    match kind {
        Described::Message(message) => message.full_name() == "google.protobuf.Value",
        Described::Enum(described) => described.full_name() == "google.protobuf.NullValue",
        _ => false,
    }
}

fn rivals(all: &[FieldDescriptor], field: &FieldDescriptor) -> Box<[u16]> {
    let Some(oneof) = field.containing_oneof() else { return Box::default() };
    let others = all.iter().enumerate().filter(|(_, other)| {
        other.number() != field.number() && other.containing_oneof().as_ref() == Some(&oneof)
    });
    others.map(|(place, _)| narrow(place)).collect()
}

/// A place; a message has fewer fields than that, or it is refused.
fn narrow(place: usize) -> u16 {
    u16::try_from(place).unwrap_or(NOWHERE)
}

/// What JSON makes of a message.
pub(super) fn form(message: &MessageDescriptor) -> Form {
    if let Some(group) = message.fields().find(FieldDescriptor::is_group) {
        return Form::Refused(format!(
            "`{}` is a group of proto2, which has no JSON",
            group.full_name()
        ));
    }
    if message.fields().len() >= usize::from(NOWHERE) {
        return Form::Refused(format!("`{}` has too many fields", message.full_name()));
    }
    match message.full_name().strip_prefix("google.protobuf.").unwrap_or_default() {
        "Timestamp" => Form::Timestamp,
        "Duration" => Form::Duration,
        "FieldMask" => Form::FieldMask,
        "Struct" => Form::Struct,
        "Value" => Form::Value,
        "ListValue" => Form::ListValue,
        "Empty" => Form::Empty,
        "Any" => Form::Any,
        "DoubleValue" | "FloatValue" | "Int32Value" | "Int64Value" | "UInt32Value"
        | "UInt64Value" | "BoolValue" | "StringValue" | "BytesValue" => Form::Wrapper,
        _ => Form::Object,
    }
}

/// What a caller is told that a message is to be.
fn expected(message: &MessageDescriptor, spelling: Spelling) -> &'static str {
    match message.full_name().strip_prefix("google.protobuf.").unwrap_or_default() {
        "Timestamp" => "a time by RFC 3339, such as 2026-01-31T12:00:00Z",
        "Duration" => "a duration in seconds, such as 1.5s",
        "FieldMask" => match spelling {
            Spelling::Contract => "a string of field paths with commas between them",
            Spelling::Canonical => {
                "a string of field paths in lowerCamelCase with commas between them"
            }
        },
        "Any" => "an object with a known `@type`",
        "ListValue" => "an array",
        "Value" => "a JSON value",
        "Empty" => "an empty object",
        "DoubleValue" | "FloatValue" => "a number",
        "Int32Value" | "Int64Value" => "an integer",
        "UInt32Value" | "UInt64Value" => "an unsigned integer",
        "BoolValue" => "true or false",
        "StringValue" => "a string",
        "BytesValue" => "a base64 string",
        _ => "an object",
    }
}

/// A name as JSON: names of fields and enum values need no escapes, a `json_name` may.
fn quoted(name: &str) -> Box<[u8]> {
    serde_json::Value::from(name).to_string().into_bytes().into()
}
