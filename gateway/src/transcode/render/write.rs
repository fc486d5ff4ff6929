//! One message from the wire to JSON. Whoever writes protobuf nearly always has the fields in the order
//! of their numbers, each once: they are written as they are read. Fields may come in any order and more
//! than once, though: where that shows, it is noted first where each field stands.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::slots::{Slot, entry_slots};
use super::text::{Key, Text};
use crate::transcode::plan::{Field, Form, JsonPlan, Kind, Message, Shape, Spelling};
use crate::transcode::wire::{self, Malformed, Reader, Result, WireType, each, joined};

/// Messages in one another that are read at most: the outermost and, as protobuf's own readers have it, a
/// hundred within.
const DEEPEST: u32 = 101;

/// What a field is not, whichever way it is read.
pub(super) const OTHER_TYPE: Malformed =
    Malformed("a field has another type than the contract says");

/// Writes JSON.
pub(super) struct Writer<'p> {
    pub(super) plan: &'p JsonPlan,
    pub(super) out: Text,
    /// Of each message that is being written, from the outermost on.
    pub(super) slots: Vec<Slot>,
    depth: u32,
    /// Whether no message had its fields in another order so far. After the first that has, none is tried
    /// that way, so that little is written in vain.
    orderly: bool,
}

impl<'p> Writer<'p> {
    pub(super) fn new(plan: &'p JsonPlan, out: Text) -> Self {
        Self { plan, out, slots: Vec::new(), depth: 0, orderly: true }
    }

    /// Writes a message in its form.
    pub(super) fn message(&mut self, place: usize, wire: &[u8]) -> Result<()> {
        let plan = self.plan;
        let message = plan.messages.get(place).ok_or(Malformed("its type is not known"))?;
        self.nested(|writer| match &message.form {
            Form::Object | Form::Empty => writer.object(message, wire),
            Form::Wrapper => writer.wrapper(message, wire),
            form => writer.well_known(form, wire),
        })
    }

    /// Writes what is one level deeper.
    pub(super) fn nested(&mut self, write: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(Malformed("messages nest too deep"));
        }
        write(self)?;
        self.depth -= 1;
        Ok(())
    }

    fn object(&mut self, message: &Message, wire: &[u8]) -> Result<()> {
        self.out.push(b'{');
        let begin = self.out.len();
        if !(self.orderly && self.members_in_order(message, wire)?) {
            self.orderly = false;
            self.out.truncate(begin);
            self.object_members(message, wire, &mut true)?;
        }
        self.out.push(b'}');
        Ok(())
    }

    /// Writes the members of an object as its fields come. `false` if they come in another order than that
    /// of their numbers, or more than once: what was written is worthless then.
    fn members_in_order(&mut self, message: &Message, wire: &[u8]) -> Result<bool> {
        let (mut reader, mut next) = (Reader::new(wire), 0);
        let (mut first, mut in_oneof) = (true, false);
        while !reader.is_empty() {
            let begin = reader.position();
            // Most likely the field after the one before, as the contract has it.
            let likely = message.fields.get(next).filter(|field| reader.take_tag(field.tag));
            let (place, field) = match likely {
                Some(field) => (next, field),
                None => {
                    let (number, wire_type) = reader.tag()?;
                    let found = message.place(number, next);
                    let Some((place, field)) =
                        found.and_then(|at| Some((at, message.fields.get(at)?)))
                    else {
                        reader.skip(number, wire_type)?;
                        continue;
                    };
                    if !field.takes(wire_type) {
                        return Err(OTHER_TYPE);
                    }
                    (place, field)
                }
            };
            // Of a oneof the last member counts; which fields are of the same one is not looked at here.
            let rivals = !field.rivals.is_empty();
            if place < next || (in_oneof && rivals) {
                return Ok(false);
            }
            for unset in message.fields.get(next..place).unwrap_or_default() {
                self.member(unset, Slot::default(), wire, &mut first)?;
            }
            (next, in_oneof) = (place + 1, in_oneof || rivals);
            if field.shape == Shape::Single {
                self.member_with(&field.key, field, &mut first, |writer| match field.kind {
                    Kind::String => writer.text(&mut reader),
                    kind => writer.value(kind, &mut reader),
                })?;
                continue;
            }
            let value = reader.position();
            let (number, wire_type) = Reader::from(wire, begin).tag()?;
            reader.skip(number, wire_type)?;
            reader.skip_more(number, |wire_type| field.takes(wire_type))?;
            let slot = Slot::new(begin, value, reader.position())?;
            self.member(field, slot, wire, &mut first)?;
        }
        for unset in message.fields.get(next..).unwrap_or_default() {
            self.member(unset, Slot::default(), wire, &mut first)?;
        }
        Ok(true)
    }

    /// Writes the members of an object, some of which may have been written already.
    pub(super) fn object_members(
        &mut self,
        message: &Message,
        wire: &[u8],
        first: &mut bool,
    ) -> Result<()> {
        self.with_slots(message, wire, |writer, slots| {
            for (place, field) in message.fields.iter().enumerate() {
                writer.member(field, slots.at(writer, place), wire, first)?;
            }
            Ok(())
        })
    }

    fn wrapper(&mut self, message: &Message, wire: &[u8]) -> Result<()> {
        let Some(field) = message.fields.first() else { return Err(Malformed("it is empty")) };
        self.with_slots(message, wire, |writer, slots| {
            writer.value_or_default(field, slots.at(writer, 0), wire)
        })
    }

    /// Writes a field as a member of an object, if it is to be written.
    pub(super) fn member(
        &mut self,
        field: &Field,
        slot: Slot,
        wire: &[u8],
        first: &mut bool,
    ) -> Result<()> {
        self.member_as(&field.key, field, slot, wire, first)
    }

    /// As [`Writer::member`], under another name.
    pub(super) fn member_as(
        &mut self,
        key: &Key,
        field: &Field,
        slot: Slot,
        wire: &[u8],
        first: &mut bool,
    ) -> Result<()> {
        if slot.count == 0 && (field.presence || self.plan.spelling != Spelling::Contract) {
            return Ok(());
        }
        self.member_with(key, field, first, |writer| writer.value_or_default(field, slot, wire))
    }

    fn member_with(
        &mut self,
        key: &Key,
        field: &Field,
        first: &mut bool,
        write: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        let begin = self.out.len();
        self.out.key(key, *first);
        let value = self.out.len();
        write(self)?;
        // Set, but to the default, which is as good as not set.
        let may_be_left_out = !field.presence && self.plan.spelling != Spelling::Contract;
        if may_be_left_out && self.out.since(value) == &*field.default {
            self.out.truncate(begin);
        } else {
            *first = false;
        }
        Ok(())
    }

    /// Writes the value of a field; its default if it is not set.
    pub(super) fn value_or_default(
        &mut self,
        field: &Field,
        slot: Slot,
        wire: &[u8],
    ) -> Result<()> {
        match (slot.count, field.shape, field.kind) {
            (0, ..) => {
                self.out.put(&field.default);
                Ok(())
            }
            (_, Shape::List, _) => self.list(field, slot, wire),
            (_, Shape::Map, Kind::Message(entry)) => self.map(field, entry, slot, wire),
            (2.., _, Kind::Message(place)) => {
                self.message(place, &joined(slot.part(wire), field.number)?.unwrap_or_default())
            }
            (_, _, kind) => self.value(kind, &mut Reader::from(wire, slot.value as usize)),
        }
    }

    fn list(&mut self, field: &Field, slot: Slot, wire: &[u8]) -> Result<()> {
        self.out.push(b'[');
        let begin = self.out.len();
        let mut reader = Reader::new(slot.part(wire));
        while !reader.is_empty() {
            let (number, wire_type) = reader.tag()?;
            if number != field.number {
                reader.skip(number, wire_type)?;
            } else if wire_type == field.kind.wire_type() {
                self.item(field.kind, &mut reader, begin)?;
            } else {
                let mut packed = Reader::new(reader.bytes()?);
                while !packed.is_empty() {
                    self.item(field.kind, &mut packed, begin)?;
                }
            }
        }
        self.out.push(b']');
        Ok(())
    }

    fn item(&mut self, kind: Kind, reader: &mut Reader<'_>, begin: usize) -> Result<()> {
        if self.out.len() > begin {
            self.out.push(b',');
        }
        self.value(kind, reader)
    }

    fn map(&mut self, field: &Field, entry: usize, slot: Slot, wire: &[u8]) -> Result<()> {
        let plan = self.plan;
        let entry = plan.messages.get(entry).ok_or(Malformed("its type is not known"))?;
        let (Some(key_field), Some(value_field)) = (entry.fields.first(), entry.fields.get(1))
        else {
            return Err(Malformed("an entry has no key and value"));
        };
        let (part, number) = (slot.part(wire), field.number);
        if let Some(wire) = wire::only(part, number)? {
            let slots = entry_slots(entry, wire)?;
            self.out.push(b'{');
            self.map_key(key_field, slots, wire)?;
            self.map_value(value_field, slots, wire)?;
            self.out.push(b'}');
            return Ok(());
        }
        let mut entries = Vec::new();
        each(part, number, |wire| {
            let (slots, begin) = (entry_slots(entry, wire)?, self.out.len());
            self.map_key(key_field, slots, wire)?;
            entries.push((self.out.split_off(begin), (slots, wire)));
            Ok(())
        })?;
        self.members(entries, |writer, key, (slots, wire)| {
            writer.out.put(&key);
            writer.map_value(value_field, slots, wire)
        })
    }

    /// Writes the key of an entry and its colon. Numbers and booleans are written as text.
    fn map_key(&mut self, field: &Field, slots: [Slot; 2], wire: &[u8]) -> Result<()> {
        let [slot, _] = slots;
        let bare = matches!(
            field.kind,
            Kind::Int32 | Kind::Uint32 | Kind::Sint32 | Kind::Fixed32 | Kind::Sfixed32 | Kind::Bool
        );
        if bare {
            self.out.push(b'"');
        }
        self.value_or_default(field, slot, wire)?;
        if bare {
            self.out.push(b'"');
        }
        self.out.push(b':');
        Ok(())
    }

    fn map_value(&mut self, field: &Field, slots: [Slot; 2], wire: &[u8]) -> Result<()> {
        let [_, slot] = slots;
        match (slot.count, field.kind) {
            (0, Kind::Message(place)) => self.message(place, &[]),
            _ => self.value_or_default(field, slot, wire),
        }
    }

    /// Writes an object of entries by their keys; of those with the same key the last counts.
    pub(super) fn members<K: Ord, V>(
        &mut self,
        mut entries: Vec<(K, V)>,
        mut write: impl FnMut(&mut Self, K, V) -> Result<()>,
    ) -> Result<()> {
        // Stable, so the last of equal keys stays the last.
        entries.sort_by(|one, other| one.0.cmp(&other.0));
        self.out.push(b'{');
        let begin = self.out.len();
        let mut entries = entries.into_iter().peekable();
        while let Some((key, value)) = entries.next() {
            if entries.peek().is_some_and(|next| next.0 == key) {
                continue;
            }
            if self.out.len() > begin {
                self.out.push(b',');
            }
            write(self, key, value)?;
        }
        self.out.push(b'}');
        Ok(())
    }

    fn value(&mut self, kind: Kind, reader: &mut Reader<'_>) -> Result<()> {
        match kind {
            Kind::Double => self.double(f64::from_bits(reader.fixed64()?)),
            Kind::Float => self.float(f32::from_bits(reader.fixed32()?)),
            Kind::Int32 => self.number(reader.varint()? as i32),
            Kind::Int64 => self.quoted_number(reader.varint()? as i64),
            Kind::Uint32 => self.number(reader.varint()? as u32),
            Kind::Uint64 => self.quoted_number(reader.varint()?),
            Kind::Sint32 => {
                let value = reader.varint()? as u32;
                self.number((value >> 1) as i32 ^ -((value & 1) as i32))
            }
            Kind::Sint64 => {
                let value = reader.varint()?;
                self.quoted_number((value >> 1) as i64 ^ -((value & 1) as i64))
            }
            Kind::Fixed32 => self.number(reader.fixed32()?),
            Kind::Fixed64 => self.quoted_number(reader.fixed64()?),
            Kind::Sfixed32 => self.number(reader.fixed32()? as i32),
            Kind::Sfixed64 => self.quoted_number(reader.fixed64()? as i64),
            Kind::Bool => {
                let text: &[u8] = if reader.varint()? != 0 { b"true" } else { b"false" };
                self.out.put(text);
                Ok(())
            }
            Kind::String => self.text(reader),
            Kind::Bytes => self.base64(reader.bytes()?),
            Kind::Enum(place) => self.enumerated(place, reader.varint()? as i32),
            Kind::Message(place) => self.message(place, reader.bytes()?),
        }
    }

    fn enumerated(&mut self, place: usize, number: i32) -> Result<()> {
        let plan = self.plan;
        match plan.enums.get(place) {
            Some(known) if known.is_null => self.out.put(b"null"),
            Some(known) => match known.name(number) {
                Some(name) => self.out.put(name),
                None => self.number(number)?,
            },
            None => self.number(number)?,
        }
        Ok(())
    }

    /// A text; most need neither escapes nor a check that they are UTF-8.
    #[inline]
    fn text(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        let text = reader.bytes()?;
        if is_plain(text) {
            self.out.quoted(text);
            return Ok(());
        }
        self.json(wire::text(text)?)
    }

    fn base64(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.push(b'"');
        let room = self.out.room(bytes.len().div_ceil(3) * 4);
        let encoded = STANDARD.encode_slice(bytes, room);
        encoded.map_err(|_| Malformed("bytes without room"))?;
        self.out.push(b'"');
        Ok(())
    }

    pub(super) fn double(&mut self, value: f64) -> Result<()> {
        if value.is_finite() { self.json(value) } else { self.json(not_finite(value)) }
    }

    fn float(&mut self, value: f32) -> Result<()> {
        if value.is_finite() { self.json(value) } else { self.json(not_finite(value.into())) }
    }

    /// A number of 64 bits, which JSON has as text.
    fn quoted_number(&mut self, value: impl itoa::Integer) -> Result<()> {
        self.out.quoted(itoa::Buffer::new().format(value).as_bytes());
        Ok(())
    }

    fn number(&mut self, value: impl itoa::Integer) -> Result<()> {
        self.out.put(itoa::Buffer::new().format(value).as_bytes());
        Ok(())
    }

    /// Writes a scalar.
    pub(super) fn json(&mut self, value: impl serde::Serialize) -> Result<()> {
        serde_json::to_writer(&mut self.out, &value).map_err(|_| Malformed("a value without JSON"))
    }
}

impl Field {
    /// Whether a value of it may be written so.
    pub(super) fn takes(&self, wire_type: WireType) -> bool {
        let own = self.kind.wire_type();
        wire_type == own
            || (self.shape == Shape::List && wire_type == WireType::Bytes && own != WireType::Bytes)
    }
}

/// Whether a text is ASCII that needs no escapes. Eight bytes are looked at at once, with no way out
/// between: asking the reader's `plain` where an escape stands made replies 2 to 7 % dearer.
#[inline]
fn is_plain(text: &[u8]) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let special = |word: u64| {
        // A byte is below another when taking that one from it borrows.
        let below = |word: u64, limit: u8| word.wrapping_sub(ONES * u64::from(limit)) & !word;
        let quotes = below(word ^ (ONES * u64::from(b'"')), 1);
        let escapes = below(word ^ (ONES * u64::from(b'\\')), 1);
        (word | below(word, 0x20) | quotes | escapes) & HIGH
    };
    let (words, rest) = text.as_chunks::<8>();
    let found = words.iter().fold(0, |found, word| found | special(u64::from_le_bytes(*word)));
    // The last bytes once more with some before them; a text that is shorter, one by one.
    let rest = match text.last_chunk::<8>() {
        Some(last) => special(u64::from_le_bytes(*last)),
        None => rest.iter().fold(0, |found, byte| found | special(ONES * u64::from(*byte))),
    };
    found | rest == 0
}

fn not_finite(value: f64) -> &'static str {
    match value {
        f64::INFINITY => "Infinity",
        f64::NEG_INFINITY => "-Infinity",
        _ => "NaN",
    }
}
