//! Protobuf's wire format, read in place.

use std::borrow::Cow;
use std::fmt;

/// Groups within groups that are skipped at most.
const DEEPEST_GROUP: u32 = 100;

/// The bytes are not what the descriptor says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub(super) &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the message is malformed: {}", self.0)
    }
}

impl std::error::Error for Malformed {}

pub(super) type Result<T> = std::result::Result<T, Malformed>;

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WireType {
    Varint,
    Fixed64,
    Bytes,
    Group,
    GroupEnd,
    Fixed32,
}

impl WireType {
    /// What stands before a value of a field that is written so.
    pub(super) fn tag(self, number: u32) -> u32 {
        let wire_type = match self {
            Self::Varint => 0,
            Self::Fixed64 => 1,
            Self::Bytes => 2,
            Self::Group => 3,
            Self::GroupEnd => 4,
            Self::Fixed32 => 5,
        };
        number << 3 | wire_type
    }
}

/// Reads fields one after the other.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0 }
    }

    /// One that goes on at an offset.
    pub(super) fn from(data: &'a [u8], at: usize) -> Self {
        Self { data, at }
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn is_empty(&self) -> bool {
        self.at >= self.data.len()
    }

    /// Field number and wire type of what comes next.
    #[inline]
    pub(super) fn tag(&mut self) -> Result<(u32, WireType)> {
        let tag = u32::try_from(self.varint()?).map_err(|_| Malformed("a tag is too large"))?;
        let wire_type = match tag & 7 {
            0 => WireType::Varint,
            1 => WireType::Fixed64,
            2 => WireType::Bytes,
            3 => WireType::Group,
            4 => WireType::GroupEnd,
            5 => WireType::Fixed32,
            _ => return Err(Malformed("there is no such wire type")),
        };
        match tag >> 3 {
            0 => Err(Malformed("no field has the number 0")),
            number => Ok((number, wire_type)),
        }
    }

    /// Takes a tag if it is what comes next.
    #[inline]
    pub(super) fn take_tag(&mut self, tag: u32) -> bool {
        if tag >= 0x80 {
            return self.take_long_tag(tag);
        }
        let taken = self.data.get(self.at).is_some_and(|next| u32::from(*next) == tag);
        self.at += usize::from(taken);
        taken
    }

    #[inline(never)]
    fn take_long_tag(&mut self, tag: u32) -> bool {
        let mut ahead = *self;
        let taken = ahead.varint() == Ok(tag.into());
        if taken {
            *self = ahead;
        }
        taken
    }

    #[inline(always)]
    pub(super) fn varint(&mut self) -> Result<u64> {
        // Nearly all tags and lengths are one byte.
        match self.data.get(self.at) {
            Some(byte) if *byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    #[inline(never)]
    fn long_varint(&mut self) -> Result<u64> {
        // Eight bytes at once: the first without its highest bit is the last of the number.
        let rest = self.data.get(self.at..).unwrap_or_default();
        if let Some(word) = rest.first_chunk().map(|chunk| u64::from_le_bytes(*chunk))
            && let ends = !word & 0x8080_8080_8080_8080
            && ends != 0
        {
            let bits = ends.trailing_zeros() + 1;
            self.at += bits as usize / 8;
            // Seven bits of each byte, of two together, of four.
            let word = word & 0x7f7f_7f7f_7f7f_7f7f & (u64::MAX >> (64 - bits));
            let word = word & 0x007f_007f_007f_007f | (word & 0x7f00_7f00_7f00_7f00) >> 1;
            let word = word & 0x0000_3fff_0000_3fff | (word & 0x3fff_0000_3fff_0000) >> 2;
            return Ok(word & 0x0fff_ffff | (word & 0x0fff_ffff_0000_0000) >> 4);
        }
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.data.get(self.at).ok_or(Malformed("it ends within a number"))?;
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                // The tenth byte has room for one bit.
                return if shift == 63 && byte > 1 { Err(TOO_LONG) } else { Ok(value) };
            }
        }
        Err(TOO_LONG)
    }

    pub(super) fn fixed32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn fixed64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// Bytes with their length before them.
    #[inline(always)]
    pub(super) fn bytes(&mut self) -> Result<&'a [u8]> {
        let length = usize::try_from(self.varint()?).map_err(|_| SHORT)?;
        let end = self.at.checked_add(length).ok_or(SHORT)?;
        let bytes = self.data.get(self.at..end).ok_or(SHORT)?;
        self.at = end;
        Ok(bytes)
    }

    pub(super) fn text(&mut self) -> Result<&'a str> {
        text(self.bytes()?)
    }

    /// Passes over the value of a field.
    #[inline]
    pub(super) fn skip(&mut self, number: u32, wire_type: WireType) -> Result<()> {
        match wire_type {
            WireType::Bytes => self.bytes().map(drop),
            WireType::Varint => self.varint().map(drop),
            _ => self.skip_within(number, wire_type, 0),
        }
    }

    /// Passes over what comes next of a field, as long as it `takes` the way in which it is written.
    pub(super) fn skip_more(
        &mut self,
        number: u32,
        takes: impl Fn(WireType) -> bool,
    ) -> Result<()> {
        while !self.is_empty() {
            let mut ahead = *self;
            let (next, wire_type) = ahead.tag()?;
            if next != number || !takes(wire_type) {
                break;
            }
            ahead.skip(number, wire_type)?;
            *self = ahead;
        }
        Ok(())
    }

    fn skip_within(&mut self, number: u32, wire_type: WireType, depth: u32) -> Result<()> {
        match wire_type {
            WireType::Varint => self.varint().map(drop),
            WireType::Fixed64 => self.fixed64().map(drop),
            WireType::Fixed32 => self.fixed32().map(drop),
            WireType::Bytes => self.bytes().map(drop),
            WireType::GroupEnd => Err(Malformed("a group ends that has not begun")),
            WireType::Group if depth == DEEPEST_GROUP => Err(Malformed("groups nest too deep")),
            WireType::Group => loop {
                match self.tag()? {
                    (end, WireType::GroupEnd) if end == number => return Ok(()),
                    (inner, wire_type) => self.skip_within(inner, wire_type, depth + 1)?,
                }
            },
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let rest = self.data.get(self.at..).unwrap_or_default();
        let array = rest.first_chunk().copied().ok_or(SHORT)?;
        self.at += N;
        Ok(array)
    }
}

/// Bytes that must be a text.
pub(super) fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| Malformed("a text is not UTF-8"))
}

const SHORT: Malformed = Malformed("it ends within a value");
const TOO_LONG: Malformed = Malformed("a number has more than 64 bits");

/// Visits each value of a field that is written with its length.
pub(super) fn each<'a>(
    wire: &'a [u8],
    wanted: u32,
    mut visit: impl FnMut(&'a [u8]) -> Result<()>,
) -> Result<()> {
    let mut reader = Reader::new(wire);
    while !reader.is_empty() {
        match reader.tag()? {
            (number, WireType::Bytes) if number == wanted => visit(reader.bytes()?)?,
            (number, wire_type) => reader.skip(number, wire_type)?,
        }
    }
    Ok(())
}

/// The value of a field that is written with its length, where that is all there is.
pub(super) fn only(wire: &[u8], wanted: u32) -> Result<Option<&[u8]>> {
    let mut reader = Reader::new(wire);
    match reader.tag()? {
        (number, WireType::Bytes) if number == wanted => {
            let value = reader.bytes()?;
            Ok(reader.is_empty().then_some(value))
        }
        _ => Ok(None),
    }
}

/// The bytes that a field was set to last.
pub(super) fn last(wire: &[u8], wanted: u32) -> Result<Option<&[u8]>> {
    let mut found = None;
    each(wire, wanted, |value| {
        found = Some(value);
        Ok(())
    })?;
    Ok(found)
}

/// The message that a field holds, of all the parts that it was set to.
pub(super) fn joined(wire: &[u8], wanted: u32) -> Result<Option<Cow<'_, [u8]>>> {
    let mut found = None;
    each(wire, wanted, |part| {
        found = Some(match found.take() {
            Some(before) => merged(before, part),
            None => Cow::Borrowed(part),
        });
        Ok(())
    })?;
    Ok(found)
}

/// Messages that are set one after the other are one.
pub(super) fn merged<'a>(before: Cow<'a, [u8]>, more: &[u8]) -> Cow<'a, [u8]> {
    let mut all = before.into_owned();
    all.extend_from_slice(more);
    all.into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test fails by panicking
mod tests {
    use super::*;

    #[test]
    fn integers_of_every_length_are_read_whatever_follows() {
        let edges = (0..64).flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit, u64::MAX >> bit]);
        for value in edges {
            for (behind, rest) in (0..10).flat_map(|length| [(0_u8, length), (0xff, length)]) {
                let mut bytes = Vec::new();
                prost::encoding::encode_varint(value, &mut bytes);
                let length = bytes.len();
                bytes.resize(length + rest, behind);
                let mut reader = Reader::new(&bytes);
                assert_eq!(reader.varint(), Ok(value), "{rest} times {behind} behind it");
                assert_eq!(reader.position(), length, "{value}");
            }
        }
        let mut reader = Reader::new(&[0x81, 0x80, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(reader.varint(), Ok(1), "more bytes than it takes");
        assert!(reader.varint().is_err(), "it does not end");
    }

    #[test]
    fn a_tag_is_taken_only_if_it_is_what_comes_next() {
        for number in [1, 15, 16, 300, 536_870_911] {
            let tag = WireType::Bytes.tag(number);
            let mut bytes = Vec::new();
            prost::encoding::encode_varint(tag.into(), &mut bytes);
            let mut reader = Reader::new(&bytes);
            assert!(!reader.take_tag(WireType::Varint.tag(number)));
            assert_eq!(reader.position(), 0);
            assert!(reader.take_tag(tag));
            assert!(reader.is_empty() && !reader.take_tag(tag));
        }
    }
}
