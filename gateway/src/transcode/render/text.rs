//! The JSON that is written. Nearly all of it is short: names, numbers, texts of a few words. Those are
//! copied in pieces whose size the compiler knows, into room that is there already, because a call of
//! `memcpy` and a look at the capacity for each would cost more than the bytes.

use std::io;

/// What a key has room for without memory of its own.
const SHORT: usize = 32;
/// The least room that is made.
const LEAST: usize = 64;

/// A text that grows.
#[derive(Debug, Default)]
pub(super) struct Text {
    /// What is written, and room behind it. All of it has a value, so that it can be written to in place.
    bytes: Vec<u8>,
    /// Where the next byte goes.
    at: usize,
}

/// What stands before the value of a member: `"name":`.
#[derive(Debug)]
pub(in crate::transcode) struct Key {
    start: [u8; SHORT],
    length: usize,
    /// All of it where it is longer.
    long: Box<[u8]>,
}

impl Key {
    pub(in crate::transcode) fn new(text: &[u8]) -> Self {
        let mut start = [0; SHORT];
        start.iter_mut().zip(text).for_each(|(place, byte)| *place = *byte);
        let long = if text.len() > SHORT { text.into() } else { Box::default() };
        Self { start, length: text.len(), long }
    }
}

impl Text {
    /// One that goes on behind what is written.
    pub(super) fn after(mut bytes: Vec<u8>) -> Self {
        let at = bytes.len();
        bytes.resize(bytes.capacity(), 0);
        Self { bytes, at }
    }

    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self { bytes: vec![0; bytes], at: 0 }
    }

    /// What was written.
    pub(super) fn into_bytes(mut self) -> Vec<u8> {
        self.bytes.truncate(self.at);
        self.bytes
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.at
    }

    /// Takes back what was written behind a length that it had.
    #[inline]
    pub(super) fn truncate(&mut self, length: usize) {
        self.at = self.at.min(length);
    }

    /// What was written behind a length that it had.
    #[inline]
    pub(super) fn since(&self, length: usize) -> &[u8] {
        self.bytes.get(length..self.at).unwrap_or_default()
    }

    #[inline]
    pub(super) fn push(&mut self, byte: u8) {
        self.add(|room: &mut [u8; 1]| {
            *room = [byte];
            1
        });
    }

    /// Appends bytes as they are.
    #[inline]
    pub(super) fn put(&mut self, bytes: &[u8]) {
        if bytes.len() <= SHORT {
            self.add(|room: &mut [u8; SHORT]| {
                copy_short(room, bytes);
                bytes.len()
            });
        } else {
            self.put_long(bytes);
        }
    }

    /// Appends a text that needs no escapes, in quotes.
    #[inline]
    pub(super) fn quoted(&mut self, text: &[u8]) {
        const QUOTED: usize = SHORT + 2;
        if text.len() > SHORT {
            self.push(b'"');
            self.put_long(text);
            self.push(b'"');
            return;
        }
        self.add(|room: &mut [u8; QUOTED]| {
            let [first, rest @ ..] = room;
            *first = b'"';
            copy_short(rest, text);
            if let Some(last) = rest.get_mut(text.len()) {
                *last = b'"';
            }
            text.len() + 2
        });
    }

    /// Begins a member of an object; what comes before the first is no comma.
    #[inline]
    pub(super) fn key(&mut self, key: &Key, is_first: bool) {
        const WITH_COMMA: usize = SHORT + 1;
        if key.length > SHORT {
            self.long_key(key, is_first);
            return;
        }
        let comma = usize::from(!is_first);
        self.add(|room: &mut [u8; WITH_COMMA]| {
            if let Some(first) = room.first_mut() {
                *first = b',';
            }
            if let Some(room) = room.get_mut(comma..comma + SHORT) {
                room.copy_from_slice(&key.start);
            }
            comma + key.length
        });
    }

    #[cold]
    fn long_key(&mut self, key: &Key, is_first: bool) {
        if !is_first {
            self.push(b',');
        }
        self.put_long(&key.long);
    }

    /// Room for so many bytes more, all of which are to be written.
    pub(super) fn room(&mut self, length: usize) -> &mut [u8] {
        if self.bytes.len() - self.at < length {
            self.grow(length);
        }
        let begin = self.at;
        self.at += length;
        self.bytes.get_mut(begin..self.at).unwrap_or_default()
    }

    /// Takes what was written behind a length that it had.
    pub(super) fn split_off(&mut self, length: usize) -> Vec<u8> {
        let taken = self.since(length).to_vec();
        self.truncate(length);
        taken
    }

    /// Has `write` fill room for `N` bytes and say how many of them it wrote.
    #[inline]
    fn add<const N: usize>(&mut self, write: impl FnOnce(&mut [u8; N]) -> usize) {
        if self.bytes.len() - self.at < N {
            self.grow(N);
        }
        let rest = self.bytes.get_mut(self.at..).unwrap_or_default();
        if let Some(room) = rest.first_chunk_mut() {
            self.at += write(room);
        }
    }

    fn put_long(&mut self, bytes: &[u8]) {
        self.room(bytes.len()).copy_from_slice(bytes);
    }

    #[cold]
    fn grow(&mut self, by: usize) {
        let length = (self.at + by).max(self.bytes.len() * 2).max(LEAST);
        self.bytes.resize(length, 0);
    }
}

impl io::Write for Text {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put(bytes);
        Ok(bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.put(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Copies up to 32 bytes to the beginning of room for at least as many: their first ones and their last
/// ones, which may overlap.
#[inline]
fn copy_short(room: &mut [u8], bytes: &[u8]) {
    if bytes.len() >= 16 {
        copy_ends::<16>(room, bytes);
    } else if bytes.len() >= 8 {
        copy_ends::<8>(room, bytes);
    } else if bytes.len() >= 4 {
        copy_ends::<4>(room, bytes);
    } else {
        room.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
    }
}

#[inline]
fn copy_ends<const N: usize>(room: &mut [u8], bytes: &[u8]) {
    let (Some(first), Some(last)) = (bytes.first_chunk::<N>(), bytes.last_chunk::<N>()) else {
        return;
    };
    if let Some(room) = room.get_mut(..bytes.len()) {
        if let Some(begin) = room.first_chunk_mut() {
            *begin = *first;
        }
        if let Some(end) = room.last_chunk_mut() {
            *end = *last;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test fails by panicking
mod tests {
    use std::io::Write as _;

    use super::*;

    /// Bytes of which none is like its neighbours.
    fn sample(length: usize) -> Vec<u8> {
        (0..length).map(|place| b' ' + (place * 7 % 90) as u8).collect()
    }

    #[test]
    fn texts_of_every_length_follow_one_another() {
        let (mut text, mut expected) = (Text::default(), Vec::new());
        for length in (0..70).chain([1_000, 5]) {
            let bytes = sample(length);
            text.put(&bytes);
            text.quoted(&bytes);
            text.push(b'.');
            text.write_all(&bytes).unwrap();
            for part in [&*bytes, b"\"", &bytes, b"\".", &bytes] {
                expected.extend_from_slice(part);
            }
            assert_eq!(text.len(), expected.len(), "{length}");
        }
        assert_eq!(text.into_bytes(), expected);
    }

    #[test]
    fn keys_of_every_length_have_commas_between_them() {
        for length in 0..70 {
            let (mut text, name) = (Text::default(), sample(length));
            let key = Key::new(&name);
            text.key(&key, true);
            text.key(&key, false);
            assert_eq!(text.into_bytes(), [&*name, b",", &name].concat(), "{length}");
        }
    }

    #[test]
    fn what_is_taken_back_is_written_over() {
        let mut text = Text::after(b"kept ".to_vec());
        text.put(b"taken back");
        assert_eq!(text.since(5), b"taken back");
        text.truncate(5);
        text.put(b"split");
        assert_eq!(text.split_off(5), b"split");
        text.room(3).copy_from_slice(b"new");
        assert_eq!(text.into_bytes(), b"kept new");
    }
}
