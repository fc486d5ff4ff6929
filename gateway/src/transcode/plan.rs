//! What is known of messages before the first of them comes: names as JSON writes and reads them,
//! defaults, tags, and which field stands where. One table serves both directions.

mod compile;
mod names;

use std::collections::HashMap;

use mainstay::kernel::policy::EdgeStyle;
use prost_reflect::MessageDescriptor;

use super::render::Word;
use super::wire::WireType;
use compile::{Compiler, form};
use names::Names;

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
    /// What JSON must be to be this message, as the end of `must be …`.
    pub(super) expected: &'static str,
    /// By their numbers.
    pub(super) fields: Vec<Field>,
    /// The place among `fields` of each small number.
    small: Box<[u16]>,
    /// The fields by both spellings of their names.
    names: Names<Named>,
}

/// A field that was found by a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Named {
    /// Its place among the fields of its message.
    pub(super) place: u16,
    /// Whether the name was the one of JSON, where the contract has another.
    pub(super) camel: bool,
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
    /// An object without fields.
    Empty,
    /// Any message of the table, found by its name when it comes.
    Any,
    /// It has none, for this reason.
    Refused(String),
}

/// One field.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) number: u32,
    pub(super) name: String,
    /// The name as a member begins that is not the first: `,"name":`.
    pub(super) key: Word,
    /// What stands on the wire before a value of it; before all of them where they are packed.
    pub(super) tag: u32,
    /// Whether the values of a list stand in one piece.
    pub(super) packed: bool,
    /// Whether null is a value of it, and not the absence of one.
    pub(super) takes_null: bool,
    pub(super) kind: Kind,
    pub(super) shape: Shape,
    /// Whether a field that is not set differs from one that has its default.
    pub(super) presence: bool,
    /// Whether one that has its default is not written.
    pub(super) omitted: bool,
    /// Whether its values can be written as they are read, when they follow its tag.
    pub(super) direct: bool,
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
    /// Whether numbers without a name are values too, as in proto3.
    pub(super) open: bool,
    /// All names, as the end of `must be one of …`.
    pub(super) choices: String,
    /// The quoted names by number, sorted.
    names: Vec<(i32, Word)>,
    numbers: Names<i32>,
}

/// Whether JSON has a message's one value in its place.
pub(super) fn is_wrapper(message: &MessageDescriptor) -> bool {
    matches!(form(message), Form::Wrapper)
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

    /// The message type at a place.
    #[inline]
    pub(super) fn message(&self, place: usize) -> Option<&Message> {
        self.messages.get(place)
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

    /// The field of a name in either spelling.
    #[inline]
    pub(super) fn find(&self, name: &str) -> Option<Named> {
        self.names.get(name)
    }

    /// The place of a field by the contract's name.
    pub(super) fn named(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| field.name == name)
    }
}

impl Field {
    /// The message that it holds, where it holds one and not several.
    pub(super) fn message<'p>(&self, table: &'p JsonPlan) -> Option<&'p Message> {
        match (self.shape, self.kind) {
            (Shape::Single, Kind::Message(place)) => table.message(place),
            _ => None,
        }
    }
}

impl Enum {
    /// The quoted name of a number.
    pub(super) fn name(&self, number: i32) -> Option<&Word> {
        // Most enums count from zero.
        let likely = usize::try_from(number).ok().and_then(|place| self.names.get(place));
        if let Some((_, name)) = likely.filter(|(found, _)| *found == number) {
            return Some(name);
        }
        let place = self.names.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        self.names.get(place).map(|(_, name)| name)
    }

    /// The number of a name; where none is written so, of one that differs in its case alone.
    pub(super) fn number(&self, name: &str) -> Option<i32> {
        self.numbers.get(name).or_else(|| self.numbers.get_ignoring_case(name))
    }

    /// Whether a number may stand for a value.
    pub(super) fn takes(&self, number: i32) -> bool {
        self.open || self.name(number).is_some()
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
