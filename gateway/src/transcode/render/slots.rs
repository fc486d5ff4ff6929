//! Where the fields of a message stand, noted before it is written: of a message whose fields come in
//! another order than that of their numbers, or more than once.

use super::write::{OTHER_TYPE, Writer};
use crate::transcode::plan::Message;
use crate::transcode::wire::{Malformed, Reader, Result};

const TOO_LARGE: Malformed = Malformed("it is larger than messages may be");

/// Where a field stands in its message.
#[derive(Clone, Copy, Default)]
pub(super) struct Slot {
    /// How often it comes.
    pub(super) count: u32,
    /// Where the first tag begins.
    begin: u32,
    /// Where the last value begins.
    pub(super) value: u32,
    /// Where it ends.
    end: u32,
}

impl Slot {
    /// That of a field that has come in one piece.
    pub(super) fn new(begin: usize, value: usize, end: usize) -> Result<Self> {
        let end = u32::try_from(end).map_err(|_| TOO_LARGE)?;
        Ok(Self { count: 1, begin: begin as u32, value: value as u32, end })
    }

    /// Notes that the field comes, once more where it has come already.
    fn come(&mut self, begin: usize, value: usize, end: usize) -> Result<()> {
        let next = Self::new(begin, value, end)?;
        let first = if self.count == 0 { next.begin } else { self.begin };
        *self = Self { count: self.count.saturating_add(1), begin: first, ..next };
        Ok(())
    }

    /// From the first tag to the end of the last value.
    pub(super) fn part(self, wire: &[u8]) -> &[u8] {
        wire.get(self.begin as usize..self.end as usize).unwrap_or_default()
    }

    /// The text of a field that is one; `None` if it is not set or empty.
    pub(super) fn text<'a>(&self, wire: &'a [u8]) -> Result<Option<&'a str>> {
        match self.count {
            0 => Ok(None),
            _ => Ok(Some(Reader::from(wire, self.value as usize).text()?)
                .filter(|text| !text.is_empty())),
        }
    }
}

/// Where key and value of an entry of a map stand.
pub(super) fn entry_slots(entry: &Message, wire: &[u8]) -> Result<[Slot; 2]> {
    let (mut slots, mut reader) = ([Slot::default(); 2], Reader::new(wire));
    while !reader.is_empty() {
        let begin = reader.position();
        let (number, wire_type) = reader.tag()?;
        let value = reader.position();
        reader.skip(number, wire_type)?;
        // Key and value have the numbers 1 and 2.
        let place = number as usize - 1;
        let (Some(field), Some(slot)) = (entry.fields.get(place), slots.get_mut(place)) else {
            continue;
        };
        if !field.takes(wire_type) {
            return Err(OTHER_TYPE);
        }
        slot.come(begin, value, reader.position())?;
    }
    Ok(slots)
}

/// The slots of one message.
#[derive(Clone, Copy)]
pub(super) struct Slots {
    base: usize,
}

impl Slots {
    pub(super) fn at(self, writer: &Writer<'_>, place: usize) -> Slot {
        writer.slots.get(self.base + place).copied().unwrap_or_default()
    }
}

impl Writer<'_> {
    /// Notes where the fields of a message stand, for as long as `with` runs.
    pub(super) fn with_slots<T>(
        &mut self,
        message: &Message,
        wire: &[u8],
        with: impl FnOnce(&mut Self, Slots) -> Result<T>,
    ) -> Result<T> {
        let base = self.slots.len();
        self.slots.resize(base + message.fields.len(), Slot::default());
        self.scan(message, wire, base)?;
        let outcome = with(self, Slots { base })?;
        self.slots.truncate(base);
        Ok(outcome)
    }

    fn scan(&mut self, message: &Message, wire: &[u8], base: usize) -> Result<()> {
        let slots = self.slots.get_mut(base..).unwrap_or_default();
        let (mut reader, mut before) = (Reader::new(wire), 0);
        while !reader.is_empty() {
            let begin = reader.position();
            let (number, wire_type) = reader.tag()?;
            let value = reader.position();
            reader.skip(number, wire_type)?;
            let Some(place) = message.place(number, before) else { continue };
            let (Some(field), Some(slot)) = (message.fields.get(place), slots.get_mut(place))
            else {
                continue;
            };
            if !field.takes(wire_type) {
                return Err(OTHER_TYPE);
            }
            before = place;
            slot.come(begin, value, reader.position())?;
            // Of a oneof the last member counts.
            for rival in &field.rivals {
                if let Some(slot) = slots.get_mut(usize::from(*rival)) {
                    slot.count = 0;
                }
            }
        }
        Ok(())
    }
}
