//! The JSON that is written. Nearly all of it is short: names, numbers, texts of a few words. Those are
//! copied in pieces whose size the compiler knows, into room that is there already, because a call of
//! `memcpy` and a look at the capacity for each would cost more than the bytes.

use std::io;

/// So much of a text is looked at and copied at once; what a word has room for without memory of its own.
pub(super) const SHORT: usize = 32;
/// That, in quotes.
const QUOTED: usize = SHORT + 2;
/// So much of the room is given a value at once.
const STEP: usize = 2048;

/// A text that grows.
#[derive(Debug, Default)]
pub(crate) struct Text {
    /// What is written, and room behind it. All of it has a value, so that it can be written to in place.
    bytes: Vec<u8>,
    /// Where the next byte goes.
    at: usize,
}

/// What is known before it is written: what stands before the value of a member, `"name":`, or the name of
/// an enum's value.
#[derive(Debug)]
pub(in crate::transcode) struct Word {
    start: [u8; SHORT],
    length: usize,
    /// All of it where it is longer.
    long: Box<[u8]>,
}

impl Word {
    pub(in crate::transcode) fn new(text: &[u8]) -> Self {
        let mut start = [0; SHORT];
        start.iter_mut().zip(text).for_each(|(place, byte)| *place = *byte);
        let long = if text.len() > SHORT { text.into() } else { Box::default() };
        Self { start, length: text.len(), long }
    }

    pub(in crate::transcode) fn bytes(&self) -> &[u8] {
        if self.length > SHORT {
            &self.long
        } else {
            self.start.get(..self.length).unwrap_or_default()
        }
    }
}

impl Text {
    /// One that goes on behind what is written.
    pub(super) fn after(bytes: Vec<u8>) -> Self {
        let at = bytes.len();
        Self { bytes, at }
    }

    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self::after(Vec::with_capacity(bytes))
    }

    /// Makes room for so many bytes more at once.
    pub(crate) fn reserve(&mut self, bytes: usize) {
        self.bytes.reserve((self.at + bytes).saturating_sub(self.bytes.len()));
    }

    /// What was written.
    pub(crate) fn into_bytes(mut self) -> Vec<u8> {
        self.bytes.truncate(self.at);
        self.bytes
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.at
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.at == 0
    }

    /// Takes back what was written behind a length that it had.
    #[inline]
    pub(crate) fn truncate(&mut self, length: usize) {
        self.at = self.at.min(length);
    }

    /// What was written behind a length that it had.
    #[inline]
    pub(super) fn since(&self, length: usize) -> &[u8] {
        self.bytes.get(length..self.at).unwrap_or_default()
    }

    #[inline]
    pub(super) fn push(&mut self, byte: u8) {
        self.fill(|room: &mut [u8; 1]| {
            *room = [byte];
            1
        });
    }

    /// Appends bytes as they are.
    #[inline]
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        if bytes.len() <= SHORT {
            self.fill(|room: &mut [u8; SHORT]| {
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
        if text.len() > SHORT {
            self.push(b'"');
            self.put_long(text);
            self.push(b'"');
            return;
        }
        self.fill(|room: &mut [u8; QUOTED]| {
            let [first, rest @ ..] = room;
            *first = b'"';
            copy_short(rest, text);
            if let Some(last) = rest.get_mut(text.len()) {
                *last = b'"';
            }
            text.len() + 2
        });
    }

    /// Appends a text in quotes, if it is ASCII that needs no escapes, and says whether it is. `ahead` is what
    /// stands in memory from its beginning on, where there is as much.
    #[inline]
    pub(super) fn plain(&mut self, text: &[u8], ahead: Option<&[u8; SHORT]>) -> bool {
        if text.len() > SHORT {
            return self.long_plain(text);
        }
        let Some(ahead) = ahead else {
            let is_plain = text.iter().fold(0, |found, byte| found | special(*byte)) == 0;
            if is_plain {
                self.quoted(text);
            }
            return is_plain;
        };
        let is_plain = is_plain_until(ahead, text.len());
        if is_plain {
            self.fill(|room: &mut [u8; QUOTED]| quote(room, ahead, text.len()));
        }
        is_plain
    }

    /// Appends a word and after it a text, as [`Text::plain`] does, in one go; `false` also where one of them
    /// is not short.
    #[inline]
    pub(super) fn plain_after(&mut self, word: &Word, text: &[u8], ahead: &[u8; SHORT]) -> bool {
        let short = word.length <= SHORT && text.len() <= SHORT;
        if !short || !is_plain_until(ahead, text.len()) {
            return false;
        }
        self.fill(|room: &mut [u8; SHORT + QUOTED]| {
            if let Some(start) = room.first_chunk_mut() {
                *start = word.start;
            }
            let rest = room.get_mut(word.length..).and_then(<[u8]>::first_chunk_mut);
            word.length + rest.map_or(0, |rest| quote(rest, ahead, text.len()))
        });
        true
    }

    /// As [`Text::plain`], piece by piece; the last one once more with some before it.
    fn long_plain(&mut self, text: &[u8]) -> bool {
        let begin = self.at;
        let [first, inside @ .., last] = self.room(text.len() + 2) else { return false };
        (*first, *last) = (b'"', b'"');
        let mut is_plain = true;
        let places = inside.as_chunks_mut().0.iter_mut();
        places.zip(text.as_chunks().0).for_each(|(place, piece)| {
            is_plain &= is_plain_until(piece, SHORT);
            *place = *piece;
        });
        if let (Some(place), Some(piece)) = (inside.last_chunk_mut(), text.last_chunk()) {
            is_plain &= is_plain_until(piece, SHORT);
            *place = *piece;
        }
        if !is_plain {
            self.truncate(begin);
        }
        is_plain
    }

    /// Appends what was known before.
    #[inline]
    pub(super) fn word(&mut self, word: &Word) {
        if word.length > SHORT {
            self.put_long(&word.long);
            return;
        }
        self.fill(|room: &mut [u8; SHORT]| {
            *room = word.start;
            word.length
        });
    }

    /// Makes an object of the members that were written behind a length that it had, each with a comma
    /// before it: the brace takes the place of the first one.
    #[inline]
    pub(super) fn enclose(&mut self, begin: usize) {
        if self.at == begin {
            self.push(b',');
        }
        if let Some(comma) = self.bytes.get_mut(begin) {
            *comma = b'{';
        }
        self.push(b'}');
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
    #[inline(always)]
    pub(super) fn fill<const N: usize>(&mut self, write: impl FnOnce(&mut [u8; N]) -> usize) {
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

    /// Gives more of the room a value, a little at a time: while that is in the processor's nearest cache,
    /// it is written over.
    #[cold]
    fn grow(&mut self, by: usize) {
        let length = self.at + by;
        if self.bytes.capacity() < length {
            self.bytes.reserve(by.max(self.bytes.len()));
        }
        let length = self.bytes.capacity().min(self.bytes.len() + STEP).max(length);
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

/// 1 for a byte that JSON escapes, or that is not ASCII: below zero, as a signed one.
#[inline]
fn special(byte: u8) -> u8 {
    u8::from(((byte as i8) < 0x20) | (byte == b'"') | (byte == b'\\'))
}

/// Whether none of the first bytes, `length` of them, is special. All are looked at, by a few instructions of
/// the processor's vectors.
#[inline]
fn is_plain_until(bytes: &[u8; SHORT], length: usize) -> bool {
    /// From here on as many are set as is wanted.
    const MASKS: [u8; 2 * SHORT] = {
        let mut masks = [0; 2 * SHORT];
        masks.split_at_mut(SHORT).0.copy_from_slice(&[0xff; SHORT]);
        masks
    };
    let mask = MASKS.get(SHORT.saturating_sub(length)..).and_then(<[u8]>::first_chunk);
    let Some(mask): Option<&[u8; SHORT]> = mask else { return false };
    let looked_at = bytes.iter().zip(mask);
    looked_at.fold(0, |found, (byte, mask)| found | (special(*byte) & mask)) == 0
}

/// Copies a text with quotes around it, and what stands behind it: a branch on the length, which is another
/// each time, would cost more.
#[inline(always)]
fn quote(room: &mut [u8; QUOTED], ahead: &[u8; SHORT], length: usize) -> usize {
    let [first, rest @ ..] = room;
    *first = b'"';
    if let Some(start) = rest.first_chunk_mut() {
        *start = *ahead;
    }
    if let Some(last) = rest.get_mut(length) {
        *last = b'"';
    }
    length + 2
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
    fn words_of_every_length_follow_one_another() {
        for length in 0..70 {
            let (mut text, name) = (Text::default(), sample(length));
            let word = Word::new(&name);
            assert_eq!(word.bytes(), name);
            text.word(&word);
            text.push(b'.');
            text.word(&word);
            assert_eq!(text.into_bytes(), [&*name, b".", &name].concat(), "{length}");
        }
    }

    #[test]
    fn members_are_enclosed() {
        let mut text = Text::default();
        text.enclose(0);
        let begin = text.len();
        text.put(b",1,2");
        text.enclose(begin);
        assert_eq!(text.into_bytes(), b"{}{1,2}");
    }

    #[test]
    fn a_text_is_plain_wherever_nothing_special_is_in_it() {
        for (length, behind) in (0..100).flat_map(|length| [(length, 0), (length, SHORT)]) {
            let plain = |bytes: &[u8]| {
                let mut text = Text::after(b"kept ".to_vec());
                let (bytes, all) = (bytes.get(..length).unwrap(), bytes);
                let is_plain = text.plain(bytes, all.first_chunk());
                let quoted = [b"kept \"", bytes, b"\""].concat();
                assert_eq!(text.into_bytes(), if is_plain { &*quoted } else { b"kept " });
                let (mut text, word) = (Text::default(), Word::new(b"word:"));
                if all.first_chunk().is_some_and(|ahead| text.plain_after(&word, bytes, ahead)) {
                    assert!(is_plain && length <= SHORT);
                    assert_eq!(text.into_bytes(), [b"word:\"", bytes, b"\""].concat());
                } else {
                    assert!(!is_plain || length > SHORT || behind == 0);
                    assert_eq!(text.len(), 0);
                }
                is_plain
            };
            let mut bytes = vec![b'a'; length];
            bytes.resize(length + behind, b'\\');
            assert!(plain(&bytes), "{length}");
            for place in 0..length {
                for special in [0, 0x1f, b'"', b'\\', 0x80, 0xff] {
                    *bytes.get_mut(place).unwrap() = special;
                    assert!(!plain(&bytes), "{special} at {place} of {length}");
                }
                for other in [b' ', 0x7f] {
                    *bytes.get_mut(place).unwrap() = other;
                    assert!(plain(&bytes), "{other} at {place} of {length}");
                }
            }
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
