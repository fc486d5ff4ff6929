//! What the fields of a message hold, as the wire brought it.

use std::borrow::Cow;

use super::scalar::Scalar;

/// What a field holds: nothing, one value, or several.
#[derive(Debug, Default)]
pub(super) struct Slot<'a> {
    pub(super) first: Option<Scalar<'a>>,
    pub(super) rest: Vec<Scalar<'a>>,
}

impl<'a> Slot<'a> {
    pub(super) fn push(&mut self, value: Scalar<'a>) {
        match self.first {
            None => self.first = Some(value),
            Some(_) => self.rest.push(value),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Scalar<'a>> {
        self.first.iter().chain(&self.rest)
    }

    pub(super) fn messages(&self) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter_map(|value| match value {
            Scalar::Bytes(bytes) => Some(*bytes),
            _ => None,
        })
    }

    pub(super) fn merged(&self) -> Cow<'a, [u8]> {
        match (self.first, &self.rest[..]) {
            (Some(Scalar::Bytes(bytes)), []) => Cow::Borrowed(bytes),
            _ => Cow::Owned(self.messages().flatten().copied().collect()),
        }
    }
}

/// A value as something that can be compared for equality.
#[derive(PartialEq, Eq, Hash)]
pub(super) enum Key<'a> {
    Integer(i128),
    Bits(u64),
    Bool(bool),
    Bytes(&'a [u8]),
}

impl<'a> Key<'a> {
    pub(super) fn of(value: &Scalar<'a>) -> Self {
        match value {
            Scalar::Integer(number) => Self::Integer(*number),
            Scalar::Float(number) => Self::Bits(number.to_bits()),
            Scalar::Bool(flag) => Self::Bool(*flag),
            Scalar::Text(text) => Self::Bytes(text.as_bytes()),
            Scalar::Bytes(bytes) => Self::Bytes(bytes),
        }
    }
}

pub(super) fn display(key: &Scalar<'_>) -> String {
    match key {
        Scalar::Integer(number) => number.to_string(),
        Scalar::Float(number) => number.to_string(),
        Scalar::Bool(flag) => flag.to_string(),
        Scalar::Text(text) => format!("{text:?}"),
        Scalar::Bytes(bytes) => format!("{bytes:?}"),
    }
}
