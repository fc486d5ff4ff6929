//! Scalar values off the wire.

use prost_reflect::Kind;

use super::report::Path;
use crate::kernel::error::Result;
use crate::kernel::policy::wire::{WireValue, malformed};

/// The scalar types of protobuf, and enums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScalarKind {
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
    Float,
    Double,
    Bool,
    Enum,
    String,
    Bytes,
}

/// A value off the wire.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scalar<'a> {
    /// Every integer type, and enums.
    Integer(i128),
    Float(f64),
    Bool(bool),
    Text(&'a str),
    /// Bytes, and messages that are yet to be read.
    Bytes(&'a [u8]),
}

impl Scalar<'_> {
    pub(super) fn is_zero(&self) -> bool {
        match self {
            Self::Integer(value) => *value == 0,
            // Negative zero is not the zero value: it is written to the wire.
            Self::Float(value) => value.to_bits() == 0,
            Self::Bool(value) => !value,
            Self::Text(text) => text.is_empty(),
            Self::Bytes(bytes) => bytes.is_empty(),
        }
    }
}

impl ScalarKind {
    /// The scalar that a descriptor states; `None` for messages.
    pub(super) fn of(kind: &Kind) -> Option<Self> {
        Some(match kind {
            Kind::Int32 => Self::Int32,
            Kind::Int64 => Self::Int64,
            Kind::Uint32 => Self::Uint32,
            Kind::Uint64 => Self::Uint64,
            Kind::Sint32 => Self::Sint32,
            Kind::Sint64 => Self::Sint64,
            Kind::Fixed32 => Self::Fixed32,
            Kind::Fixed64 => Self::Fixed64,
            Kind::Sfixed32 => Self::Sfixed32,
            Kind::Sfixed64 => Self::Sfixed64,
            Kind::Float => Self::Float,
            Kind::Double => Self::Double,
            Kind::Bool => Self::Bool,
            Kind::Enum(_) => Self::Enum,
            Kind::String => Self::String,
            Kind::Bytes => Self::Bytes,
            Kind::Message(_) => return None,
        })
    }

    /// The wire type of one value.
    pub(super) fn wire_type(self) -> u8 {
        match self {
            Self::Fixed64 | Self::Sfixed64 | Self::Double => 1,
            Self::String | Self::Bytes => 2,
            Self::Fixed32 | Self::Sfixed32 | Self::Float => 5,
            _ => 0,
        }
    }

    /// The value of an absent field.
    pub(super) fn zero(self) -> Scalar<'static> {
        match self {
            Self::Float | Self::Double => Scalar::Float(0.0),
            Self::Bool => Scalar::Bool(false),
            Self::String => Scalar::Text(""),
            Self::Bytes => Scalar::Bytes(b""),
            _ => Scalar::Integer(0),
        }
    }

    /// Reads a value as this type; `path` leads to the field, for the message.
    pub(super) fn read<'a>(self, value: WireValue<'a>, path: &Path<'_>) -> Result<Scalar<'a>> {
        // Numbers longer than the type are cut off, as every decoder does.
        #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)]
        let scalar = match (self, value) {
            (Self::Int32 | Self::Enum, WireValue::Varint(number)) => integer(number as i32),
            (Self::Int64, WireValue::Varint(number)) => integer(number as i64),
            (Self::Uint32, WireValue::Varint(number)) => integer(number as u32),
            (Self::Uint64, WireValue::Varint(number)) => integer(number),
            (Self::Sint32, WireValue::Varint(number)) => integer(zigzag(number & 0xffff_ffff)),
            (Self::Sint64, WireValue::Varint(number)) => integer(zigzag(number)),
            (Self::Bool, WireValue::Varint(number)) => Scalar::Bool(number != 0),
            (Self::Fixed32, WireValue::Fixed32(bits)) => integer(bits),
            (Self::Sfixed32, WireValue::Fixed32(bits)) => integer(bits as i32),
            (Self::Float, WireValue::Fixed32(bits)) => Scalar::Float(f32::from_bits(bits).into()),
            (Self::Fixed64, WireValue::Fixed64(bits)) => integer(bits),
            (Self::Sfixed64, WireValue::Fixed64(bits)) => integer(bits as i64),
            (Self::Double, WireValue::Fixed64(bits)) => Scalar::Float(f64::from_bits(bits)),
            (Self::Bytes, WireValue::Bytes(bytes)) => Scalar::Bytes(bytes),
            (Self::String, WireValue::Bytes(bytes)) => match std::str::from_utf8(bytes) {
                Ok(text) => Scalar::Text(text),
                Err(_) => {
                    let description = "must be valid UTF-8";
                    let error = malformed(format!("{path} {description}"));
                    return Err(error.field(path.to_string(), description));
                }
            },
            _ => return Err(malformed(format!("{path} has the wrong wire type"))),
        };
        Ok(scalar)
    }
}

fn integer<'a>(value: impl Into<i128>) -> Scalar<'a> {
    Scalar::Integer(value.into())
}

/// Signed numbers that are small on the wire: 0, -1, 1, -2, …
fn zigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}
