//! What is known of messages before the first of them comes: names as JSON writes them, defaults,
//! and which field stands where.

use std::collections::HashMap;

use mainstay::kernel::policy::EdgeStyle;
use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind as Described, MessageDescriptor};

use super::wire::WireType;

/// How fields are named, and which of them are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Spelling {
    /// As the contract spells them; a field without presence is written always.
    Contract,
    /// Canonical proto3 JSON: lowerCamelCase, and what has its default is left out.
    Canonical,
}

impl Spelling {
    /// That of an edge style.
    pub(crate) fn of(style: EdgeStyle) -> Self {
        match style {
            EdgeStyle::Envelope => Self::Contract,
            EdgeStyle::Plain => Self::Canonical,
        }
    }
}

/// Message types, compiled for one spelling.
#[derive(Debug)]
pub struct JsonPlan {
    pub(super) spelling: Spelling,
    pub(super) messages: Vec<Message>,
    pub(super) enums: Vec<Enum>,
    known: HashMap<String, usize>,
}

/// One message type.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) form: Form,
    /// By their numbers.
    pub(super) fields: Vec<Field>,
    /// The place among `fields` of each small number.
    small: Box<[u16]>,
}

/// What JSON makes of a message.
#[derive(Debug)]
pub(super) enum Form {
    /// An object of its fields.
    Object,
    Timestamp,
    Duration,
    FieldMask,
    /// The value of its one field.
    Wrapper,
    Struct,
    Value,
    ListValue,
    /// Any message, found by its name when it comes.
    Any(MessageDescriptor),
    /// It has none, for this reason.
    Refused(String),
}

/// One field.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) number: u32,
    pub(super) name: String,
    /// The name as a member begins: `"name":`.
    pub(super) key: Box<[u8]>,
    pub(super) kind: Kind,
    pub(super) shape: Shape,
    /// Whether a field that is not set differs from one that has its default.
    pub(super) presence: bool,
    /// The text of a field that has its default.
    pub(super) default: Box<[u8]>,
    /// The other members of its oneof.
    pub(super) rivals: Box<[u16]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Single,
    List,
    /// Entries, each a message of key and value.
    Map,
}

/// The type of a value; of enums and messages with its place in the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Double,
    Float,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Bool,
    String,
    Bytes,
    Enum(usize),
    Message(usize),
}

/// An enum's values.
#[derive(Debug)]
pub(super) struct Enum {
    /// Its values are all `null`.
    pub(super) is_null: bool,
    /// The quoted names by number, sorted.
    names: Vec<(i32, Box<[u8]>)>,
}

/// No field has this place.
const NOWHERE: u16 = u16::MAX;
/// Numbers up to here are found by one look.
const SMALL: u32 = 256;

impl JsonPlan {
    /// Compiles messages, with all that they hold.
    pub fn compile(
        messages: impl IntoIterator<Item = MessageDescriptor>,
        spelling: Spelling,
    ) -> Self {
        let mut compiler = Compiler::default();
        for message in messages {
            compiler.place(&message);
        }
        let mut compiled = Vec::new();
        while let Some(next) = compiler.descriptors.get(compiled.len()).cloned() {
            compiled.push(compiler.message(&next, spelling));
        }
        Self { spelling, messages: compiled, enums: compiler.enums, known: compiler.known }
    }

    /// The place of a message type by its full name; `None` if it was not compiled.
    pub fn find(&self, full_name: &str) -> Option<usize> {
        self.known.get(full_name).copied()
    }

    /// Why a message, or one that it may hold, has no JSON.
    pub fn refusal(&self, message: usize) -> Option<&str> {
        let (mut seen, mut wanted) = (vec![false; self.messages.len()], vec![message]);
        while let Some(place) = wanted.pop() {
            if std::mem::replace(seen.get_mut(place)?, true) {
                continue;
            }
            let message = self.messages.get(place)?;
            if let Form::Refused(reason) = &message.form {
                return Some(reason);
            }
            wanted.extend(message.fields.iter().filter_map(|field| match field.kind {
                Kind::Message(inner) => Some(inner),
                _ => None,
            }));
        }
        None
    }
}

impl Message {
    /// The place of a field, most likely at or behind the one before.
    pub(super) fn place(&self, number: u32, before: usize) -> Option<usize> {
        for likely in [before, before + 1] {
            if self.fields.get(likely).is_some_and(|field| field.number == number) {
                return Some(likely);
            }
        }
        if number < SMALL {
            let place = self.small.get(number as usize).copied().unwrap_or(NOWHERE);
            return (place != NOWHERE).then_some(usize::from(place));
        }
        self.fields.binary_search_by_key(&number, |field| field.number).ok()
    }

    /// The place of a field by the contract's name.
    pub(super) fn named(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| field.name == name)
    }
}

impl Enum {
    /// The quoted name of a number.
    pub(super) fn name(&self, number: i32) -> Option<&[u8]> {
        let place = self.names.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        self.names.get(place).map(|(_, name)| &**name)
    }
}

impl Kind {
    /// How one value of it is written.
    pub(super) fn wire_type(self) -> WireType {
        match self {
            Self::Double | Self::Fixed64 | Self::Sfixed64 => WireType::Fixed64,
            Self::Float | Self::Fixed32 | Self::Sfixed32 => WireType::Fixed32,
            Self::String | Self::Bytes | Self::Message(_) => WireType::Bytes,
            _ => WireType::Varint,
        }
    }
}

#[derive(Default)]
struct Compiler {
    descriptors: Vec<MessageDescriptor>,
    known: HashMap<String, usize>,
    enums: Vec<Enum>,
    known_enums: HashMap<String, usize>,
}

impl Compiler {
    fn place(&mut self, message: &MessageDescriptor) -> usize {
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
            let mut names: Vec<(i32, Box<[u8]>)> = Vec::new();
            for value in &described.enum_descriptor_proto().value {
                names.push((value.number(), quoted(value.name())));
            }
            // Stable: of several names of a number the first in the contract counts.
            names.sort_by_key(|(number, _)| *number);
            names.dedup_by_key(|(number, _)| *number);
            let is_null = described.full_name() == "google.protobuf.NullValue";
            self.enums.push(Enum { is_null, names });
        }
        place
    }

    fn message(&mut self, message: &MessageDescriptor, spelling: Spelling) -> Message {
        let form = form(message);
        let mut described: Vec<FieldDescriptor> = match form {
            Form::Object | Form::Wrapper => message.fields().collect(),
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
        Message { form, fields, small: small.into() }
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
        let mut key = quoted(name).into_vec();
        key.push(b':');
        Field {
            number: field.number(),
            name: field.name().to_owned(),
            key: key.into(),
            kind,
            shape,
            presence: field.supports_presence(),
            default: self.default_text(kind, shape),
            rivals: rivals(all, field),
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
                Some(known) => known.name(0).unwrap_or(b"0"),
                None => b"0",
            },
            (_, Kind::Message(_)) => b"null",
            _ => b"0",
        };
        text.into()
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

fn form(message: &MessageDescriptor) -> Form {
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
        "Any" => Form::Any(message.clone()),
        "DoubleValue" | "FloatValue" | "Int32Value" | "Int64Value" | "UInt32Value"
        | "UInt64Value" | "BoolValue" | "StringValue" | "BytesValue" => Form::Wrapper,
        _ => Form::Object,
    }
}

/// A name as JSON: names of fields and enum values need no escapes, a `json_name` may.
fn quoted(name: &str) -> Box<[u8]> {
    serde_json::Value::from(name).to_string().into_bytes().into()
}
