//! A reader of the protobuf wire format, for reading requests without descriptors.
//!
//! It accepts what the generated decoders accept and nothing else, so that a request that passes
//! here cannot fail there. <https://protobuf.dev/programming-guides/encoding/>

use crate::kernel::error::{Error, INVALID_ARGUMENT, Result};

/// How deep messages and groups may be nested: one less than the generated decoders take.
pub(super) const MAX_DEPTH: usize = 99;

/// A value as the wire carries it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum WireValue<'a> {
    /// Integers, booleans and enums.
    Varint(u64),
    /// Eight bytes, little-endian.
    Fixed64(u64),
    /// Four bytes, little-endian.
    Fixed32(u32),
    /// Strings, bytes, messages and packed lists.
    Bytes(&'a [u8]),
    /// A group, which only proto2 has: skipped, never read.
    Group,
}

/// The fields of one message, in the order of the wire.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
    depth: usize,
}

impl<'a> Fields<'a> {
    /// `depth` is how deep the message itself is nested.
    pub(super) fn new(message: &'a [u8], depth: usize) -> Result<Self> {
        if depth > MAX_DEPTH {
            return Err(too_deep());
        }
        Ok(Self { rest: message, depth })
    }

    /// The next field, or `None` at the end of the message.
    pub(super) fn next(&mut self) -> Result<Option<(u32, WireValue<'a>)>> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (number, wire_type) = key(&mut self.rest)?;
        Ok(Some((number, value(&mut self.rest, number, wire_type, self.depth)?)))
    }
}

/// The items of a packed list.
pub(super) struct Packed<'a> {
    rest: &'a [u8],
    wire_type: u8,
}

impl<'a> Packed<'a> {
    /// `wire_type` is that of one item.
    pub(super) fn new(items: &'a [u8], wire_type: u8) -> Self {
        Self { rest: items, wire_type }
    }

    pub(super) fn next(&mut self) -> Result<Option<WireValue<'a>>> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        value(&mut self.rest, 0, self.wire_type, 0).map(Some)
    }
}

/// What is answered to bytes that are no message of the request's type.
pub(super) fn malformed(description: impl std::fmt::Display) -> Error {
    Error::new(INVALID_ARGUMENT, format!("the request is no valid protobuf message: {description}"))
}

fn key(rest: &mut &[u8]) -> Result<(u32, u8)> {
    let key = varint(rest)?;
    let key = u32::try_from(key).map_err(|_| malformed("a field number is out of range"))?;
    match key >> 3 {
        0 => Err(malformed("a field has the number 0")),
        number => Ok((number, (key & 7) as u8)),
    }
}

fn value<'a>(
    rest: &mut &'a [u8],
    number: u32,
    wire_type: u8,
    depth: usize,
) -> Result<WireValue<'a>> {
    match wire_type {
        0 => varint(rest).map(WireValue::Varint),
        1 => array(rest).map(|bytes| WireValue::Fixed64(u64::from_le_bytes(bytes))),
        2 => {
            let length = varint(rest)?;
            let length = usize::try_from(length).map_err(|_| truncated())?;
            take(rest, length).map(WireValue::Bytes)
        }
        3 => group(rest, number, depth).map(|()| WireValue::Group),
        5 => array(rest).map(|bytes| WireValue::Fixed32(u32::from_le_bytes(bytes))),
        other => Err(malformed(format!("wire type {other} is not defined here"))),
    }
}

fn group(rest: &mut &[u8], number: u32, depth: usize) -> Result<()> {
    if depth >= MAX_DEPTH {
        return Err(too_deep());
    }
    loop {
        match key(rest)? {
            (end, 4) if end == number => return Ok(()),
            (_, 4) => return Err(malformed("a group ends that did not begin")),
            (inner, wire_type) => value(rest, inner, wire_type, depth + 1).map(drop)?,
        }
    }
}

fn varint(rest: &mut &[u8]) -> Result<u64> {
    let mut number = 0;
    for position in 0..10 {
        let [byte] = array(rest)?;
        // The tenth byte holds the one bit that is left of 64.
        if position == 9 && byte > 1 {
            return Err(malformed("a number is longer than 64 bits"));
        }
        number |= u64::from(byte & 0x7f) << (7 * position);
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(malformed("a number is longer than 64 bits"))
}

fn array<const LENGTH: usize>(rest: &mut &[u8]) -> Result<[u8; LENGTH]> {
    let (bytes, after) = rest.split_first_chunk().ok_or_else(truncated)?;
    *rest = after;
    Ok(*bytes)
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8]> {
    let (bytes, after) = rest.split_at_checked(length).ok_or_else(truncated)?;
    *rest = after;
    Ok(bytes)
}

fn too_deep() -> Error {
    malformed("it is nested too deeply")
}

fn truncated() -> Error {
    malformed("it ends in the middle of a field")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn all(message: &[u8]) -> Result<Vec<(u32, WireValue<'_>)>> {
        let (mut fields, mut found) = (Fields::new(message, 0)?, Vec::new());
        while let Some(field) = fields.next()? {
            found.push(field);
        }
        Ok(found)
    }

    #[test]
    fn every_wire_type_is_read() {
        let message = b"\x08\x96\x01\x12\x02hi\x19\x01\0\0\0\0\0\0\0\x25\x02\0\0\0\x2b\x08\x01\x2c";
        let expected = [
            (1, WireValue::Varint(150)),
            (2, WireValue::Bytes(b"hi")),
            (3, WireValue::Fixed64(1)),
            (4, WireValue::Fixed32(2)),
            (5, WireValue::Group),
        ];
        assert_eq!(all(message).unwrap(), expected);
    }

    #[test]
    fn malformed_messages_are_refused() {
        let cases: [(&[u8], &str); 9] = [
            (b"\x08", "ends in the middle"),
            (b"\x12\x05hi", "ends in the middle"),
            (b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "ends in the middle"),
            (b"\x19\x01", "ends in the middle"),
            (b"\x00\x01", "number 0"),
            (b"\x0f", "wire type 7"),
            (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", "longer than 64 bits"),
            (b"\x2b\x34", "a group ends"),
            (b"\x2b\x08\x01", "ends in the middle"),
        ];
        for (message, expected) in cases {
            let error = all(message).unwrap_err();
            assert!(error.is(&INVALID_ARGUMENT) && error.message().contains(expected), "{error}");
        }
        let deep = [0x2b].repeat(100_000);
        assert!(all(&deep).unwrap_err().message().contains("nested too deeply"));
    }
}
