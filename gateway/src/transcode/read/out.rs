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
    pub(super) fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
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
