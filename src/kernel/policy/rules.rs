//! Validation rules of messages: the standard rules of protovalidate, compiled to a flat tree.
//!
//! The tree is run over the wire bytes of a request. It knows every field of every message that the
//! request can hold, also those without a rule: what the generated decoders would refuse is refused
//! here first, as the caller's fault and with the field's name.

mod compile;
mod constraint;
mod format;
mod report;
mod run;
mod scalar;
mod slot;

use constraint::Constraint;
use scalar::ScalarKind;

/// The rules of one type of message and of all that it contains.
#[derive(Debug)]
pub struct MessageRules {
    /// The first is the message itself; fields refer to the others by position, so that a message
    /// can contain itself.
    messages: Vec<Message>,
}

/// One type of message.
#[derive(Debug, Default)]
struct Message {
    /// By number.
    fields: Vec<Field>,
    /// Whether there are rules for it or for anything in it.
    is_ruled: bool,
}

impl Message {
    fn position(&self, number: u32) -> Option<usize> {
        self.fields.binary_search_by_key(&number, |field| field.number).ok()
    }
}

/// One field of a message.
#[derive(Debug)]
struct Field {
    number: u32,
    /// Name in the contract.
    name: String,
    kind: Kind,
    shape: Shape,
    /// Which oneof it is an alternative of: setting one clears the others.
    oneof: Option<usize>,
    constraint: Constraint,
}

/// What a field, or an item of it, holds.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Scalar(ScalarKind),
    /// A message, by its position in the tree.
    Message(usize),
}

/// How often a field may occur.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// Once; an absent one is the zero value.
    Implicit,
    /// Once; absence is known.
    Explicit,
    /// Any number of times.
    List,
    /// Any number of times, as entries of key and value.
    Map,
}
