//! Protobuf's wire format, written front to back into one buffer.
//!
//! The length of a message within another stands before it and is known behind it: one byte is
//! kept free, and the message is moved where its length takes more.

/// Bytes that grow into a message.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    pub(super) bytes: Vec<u8>,
    /// Whether a default is written, too, since it overrides what stands before it.
    pub(super) overriding: bool,
}

impl Wire {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), overriding: false }
    }

    /// One for what is appended to a message and overrides what that says: of a field that is written
    /// twice the last value counts, be it the default.
    pub(crate) fn overriding() -> Self {
        Self { bytes: Vec::new(), overriding: true }
    }

    /// What was written.
    pub(crate) fn into_bytes(self) -> bytes::Bytes {
        self.bytes.into()
    }

    /// Where what is written next begins.
    #[inline]
    pub(crate) fn mark(&self) -> usize {
        self.bytes.len()
    }

    /// Takes back what was written after a mark.
    #[inline]
    pub(crate) fn back_to(&mut self, mark: usize) {
        self.bytes.truncate(mark);
    }

    /// A length, for what follows.
    pub(crate) fn length(&mut self, length: usize) {
        self.varint(length as u64);
    }

    #[inline]
    pub(super) fn varint(&mut self, value: u64) {
        if value < 0x80 {
            self.bytes.push(value as u8);
        } else {
            self.long_varint(value);
        }
    }

    #[inline(never)]
    fn long_varint(&mut self, mut value: u64) {
        // Up to eight bytes at once: seven bits in each of four, of two, of one.
        if value < 1 << 56 {
            let spread = (value & 0x0fff_ffff) | ((value & 0x00ff_ffff_f000_0000) << 4);
            let spread = (spread & 0x0000_3fff_0000_3fff) | ((spread & 0x0fff_c000_0fff_c000) << 2);
            let spread = (spread & 0x007f_007f_007f_007f) | ((spread & 0x3f80_3f80_3f80_3f80) << 1);
            let last = spread.ilog2() / 8;
            let more = 0x8080_8080_8080_8080 & ((1 << (8 * last)) - 1);
            self.start_of((spread | more).to_le_bytes(), last as usize + 1);
            return;
        }
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    /// Appends the first bytes, so many of them; that all are copied is cheaper than how many to look at.
    #[inline]
    fn start_of<const N: usize>(&mut self, bytes: [u8; N], length: usize) {
        let end = self.bytes.len() + length;
        self.bytes.extend_from_slice(&bytes);
        self.bytes.truncate(end);
    }

    #[inline]
    pub(crate) fn tag(&mut self, tag: u32) {
        self.varint(tag.into());
    }

    #[inline]
    pub(super) fn fixed32(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    #[inline]
    pub(super) fn fixed64(&mut self, value: u64) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// Bytes with their length before them.
    #[inline]
    pub(crate) fn block(&mut self, bytes: &[u8]) {
        self.varint(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }

    /// As [`Wire::block`], of the first bytes, so many of them.
    #[inline]
    pub(super) fn short_block<const N: usize>(&mut self, bytes: &[u8; N], length: usize) {
        self.varint(length as u64);
        self.start_of(*bytes, length);
    }

    /// Begins what has its length before it; the mark is for [`Wire::end`].
    #[inline]
    pub(crate) fn begin(&mut self) -> usize {
        self.bytes.push(0);
        self.bytes.len()
    }

    /// Ends it, and says where it begins now.
    #[inline]
    pub(crate) fn end(&mut self, begin: usize) -> usize {
        let length = self.bytes.len() - begin;
        match self.bytes.get_mut(begin - 1) {
            Some(place) if length < 0x80 => {
                *place = length as u8;
                begin
            }
            _ => self.end_long(begin, length),
        }
    }

    fn end_long(&mut self, begin: usize, length: usize) -> usize {
        let (mut prefix, mut size, mut rest) = ([0; 10], 0, length);
        for place in &mut prefix {
            size += 1;
            *place = rest as u8 | 0x80;
            rest >>= 7;
            if rest == 0 {
                *place &= 0x7f;
                break;
            }
        }
        let (end, moved) = (self.bytes.len(), begin + size - 1);
        self.bytes.resize(end + size - 1, 0);
        self.bytes.copy_within(begin..end, moved);
        if let (Some(place), Some(prefix)) =
            (self.bytes.get_mut(begin - 1..moved), prefix.get(..size))
        {
            place.copy_from_slice(prefix);
        }
        moved
    }

    /// Whether all that was written after a mark is the default of its kind: nothing but zeros.
    #[inline]
    pub(crate) fn is_default(&self, mark: usize) -> bool {
        self.bytes.get(mark..).unwrap_or_default().iter().all(|byte| *byte == 0)
    }

    /// Whether all that was written after a mark may be left out, where a default is as good as nothing.
    pub(crate) fn is_dispensable(&self, mark: usize) -> bool {
        !self.overriding && self.is_default(mark)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test fails by panicking
mod tests {
    use prost::Message as _;

    use super::*;

    #[test]
    fn integers_of_every_length_are_written() {
        let edges = (0..64).flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit, u64::MAX >> bit]);
        for value in
            edges.chain((1..3_000).map(|n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (n % 64)))
        {
            let (mut wire, mut expected) = (Wire::default(), Vec::new());
            wire.varint(value);
            prost::encoding::encode_varint(value, &mut expected);
            assert_eq!(wire.bytes, expected, "{value}");
        }
    }

    #[test]
    fn lengths_of_every_size_stand_before_what_they_measure() {
        for length in [0, 1, 127, 128, 16_383, 16_384, 2_097_152] {
            let text = "x".repeat(length);
            let mut wire = Wire::default();
            wire.tag(0x0a);
            let outer = wire.begin();
            wire.tag(0x0a);
            let inner = wire.begin();
            wire.bytes.extend_from_slice(text.as_bytes());
            wire.end(inner);
            let begin = wire.end(outer);
            assert_eq!(wire.bytes.get(begin).copied(), Some(0x0a));
            let read = prost_types::FileDescriptorSet::decode(&*wire.bytes).unwrap();
            assert_eq!(read.file[0].name(), text, "{length}");
        }
    }
}
