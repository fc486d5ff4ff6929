//! One message from the wire to JSON. Whoever writes protobuf nearly always has the fields in the order
//! of their numbers, each once: they are written as they are read. Fields may come in any order and more
//! than once, though: where that shows, it is noted first where each field stands.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::slots::{Slot, entry_slots};
use super::text::{SHORT, Text, Word};
use crate::transcode::plan::{Field, Form, JsonPlan, Kind, Message, Shape};
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
    /// What is read, all of it.
    wire: &'p [u8],
    pub(super) out: Text,
    /// Of each message that is being written, from the outermost on.
    pub(super) slots: Vec<Slot>,
    depth: u32,
    /// Whether no message had its fields in another order so far. After the first that has, none is tried
    /// that way, so that little is written in vain.
    orderly: bool,
}

impl<'p> Writer<'p> {
    pub(super) fn new(plan: &'p JsonPlan, wire: &'p [u8], out: Text) -> Self {
        Self { plan, wire, out, slots: Vec::new(), depth: 0, orderly: true }
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
        let begin = self.out.len();
        if !(self.orderly && self.members_in_order(message, wire)?) {
            self.orderly = false;
            self.out.truncate(begin);
            self.object_members(message, wire)?;
        }
        self.out.enclose(begin);
        Ok(())
    }

    /// Writes the members of an object as its fields come, each with a comma before it. `false` if they come
    /// in another order than that of their numbers, or more than once: what was written is worthless then.
    fn members_in_order(&mut self, message: &Message, wire: &[u8]) -> Result<bool> {
        let (mut reader, mut next, mut in_oneof) = (Reader::new(wire), 0, false);
        loop {
            // Most likely the field after the one before, as the contract has it.
            while let Some(field) = message.fields.get(next)
                && field.direct
                && reader.take_tag(field.tag)
            {
                next += 1;
                match (field.shape, field.kind) {
                    (Shape::Single, Kind::String) => self.text_member(field, reader.bytes()?)?,
                    (Shape::Single, kind) => self
                        .member_with(&field.key, field, |writer| writer.value(kind, &mut reader))?,
                    _ => self.member_with(&field.key, field, |writer| {
                        writer.items(field, &mut reader)
                    })?,
                }
            }
            if reader.is_empty() {
                break;
            }
            let begin = reader.position();
            let (number, wire_type) = reader.tag()?;
            let value = reader.position();
            reader.skip(number, wire_type)?;
            let found = message.place(number, next);
            let Some((place, field)) = found.and_then(|at| Some((at, message.fields.get(at)?)))
            else {
                continue;
            };
            if !field.takes(wire_type) {
                return Err(OTHER_TYPE);
            }
            // Of a oneof the last member counts; which fields are of the same one is not looked at here.
            let rivals = !field.rivals.is_empty();
            if place < next || (in_oneof && rivals) {
                return Ok(false);
            }
            for unset in message.fields.get(next..place).unwrap_or_default() {
                self.member(unset, Slot::default(), wire)?;
            }
            (next, in_oneof) = (place + 1, in_oneof || rivals);
            if field.shape != Shape::Single {
                reader.skip_more(number, |wire_type| field.takes(wire_type))?;
            }
            self.member(field, Slot::new(begin, value, reader.position())?, wire)?;
        }
        for unset in message.fields.get(next..).unwrap_or_default() {
            self.member(unset, Slot::default(), wire)?;
        }
        Ok(true)
    }

    /// Writes the members of an object, each with a comma before it.
    pub(super) fn object_members(&mut self, message: &Message, wire: &[u8]) -> Result<()> {
        self.with_slots(message, wire, |writer, slots| {
            for (place, field) in message.fields.iter().enumerate() {
                writer.member(field, slots.at(writer, place), wire)?;
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

    /// Writes a field as a member of an object, a comma before it, if it is to be written.
    pub(super) fn member(&mut self, field: &Field, slot: Slot, wire: &[u8]) -> Result<()> {
        self.member_as(&field.key, field, slot, wire)
    }

    /// As [`Writer::member`], under another name.
    pub(super) fn member_as(
        &mut self,
        key: &Word,
        field: &Field,
        slot: Slot,
        wire: &[u8],
    ) -> Result<()> {
        if slot.count == 0 && (field.presence || field.omitted) {
            return Ok(());
        }
        self.member_with(key, field, |writer| writer.value_or_default(field, slot, wire))
    }

    #[inline]
    fn member_with(
        &mut self,
        key: &Word,
        field: &Field,
        write: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        let begin = self.out.len();
        self.out.word(key);
        let value = self.out.len();
        write(self)?;
        // Set, but to the default, which is as good as not set.
        if field.omitted && self.out.since(value) == &*field.default {
            self.out.truncate(begin);
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

    /// Writes the items of a list that follow one another, from the first value on.
    fn items(&mut self, field: &Field, reader: &mut Reader<'_>) -> Result<()> {
        self.out.push(b'[');
        let begin = self.out.len();
        let tag = field.kind.wire_type().tag(field.number);
        loop {
            self.item(field.kind, reader, begin)?;
            if !reader.take_tag(tag) {
                break;
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
            Kind::Int32 => self.integer((reader.varint()? as i32).into()),
            Kind::Int64 => self.quoted_integer(reader.varint()? as i64),
            Kind::Uint32 => self.integer((reader.varint()? as u32).into()),
            Kind::Uint64 => self.quoted_unsigned(reader.varint()?),
            Kind::Sint32 => {
                let value = reader.varint()? as u32;
                self.integer(((value >> 1) as i32 ^ -((value & 1) as i32)).into())
            }
            Kind::Sint64 => {
                let value = reader.varint()?;
                self.quoted_integer((value >> 1) as i64 ^ -((value & 1) as i64))
            }
            Kind::Fixed32 => self.integer(reader.fixed32()?.into()),
            Kind::Fixed64 => self.quoted_unsigned(reader.fixed64()?),
            Kind::Sfixed32 => self.integer((reader.fixed32()? as i32).into()),
            Kind::Sfixed64 => self.quoted_integer(reader.fixed64()? as i64),
            Kind::Bool => {
                let (text, length) =
                    if reader.varint()? != 0 { (*b"true ", 4) } else { (*b"false", 5) };
                self.out.fill(|room| {
                    *room = text;
                    length
                });
                Ok(())
            }
            Kind::String => self.text(reader.bytes()?),
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
                Some(name) => self.out.word(name),
                None => self.out.integer(number.into()),
            },
            None => self.out.integer(number.into()),
        }
        Ok(())
    }

    /// Writes a text as a member, as [`Writer::member_with`] does.
    #[inline]
    fn text_member(&mut self, field: &Field, text: &[u8]) -> Result<()> {
        if let Some(ahead) = self.ahead(text)
            && !(text.is_empty() && field.omitted)
            && self.out.plain_after(&field.key, text, ahead)
        {
            return Ok(());
        }
        self.member_with(&field.key, field, |writer| writer.text(text))
    }

    /// A text; most need neither escapes nor a check that they are UTF-8.
    fn text(&mut self, text: &[u8]) -> Result<()> {
        if self.out.plain(text, self.ahead(text)) { Ok(()) } else { self.special_text(text) }
    }

    #[inline(never)]
    fn special_text(&mut self, text: &[u8]) -> Result<()> {
        let text = wire::text(text)?;
        if text.bytes().any(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
            return self.json(text);
        }
        self.out.quoted(text.as_bytes());
        Ok(())
    }

    /// What stands in memory from the beginning of a text on, where it is a part of what is read.
    #[inline]
    fn ahead(&self, text: &[u8]) -> Option<&'p [u8; SHORT]> {
        let at = text.as_ptr().addr().wrapping_sub(self.wire.as_ptr().addr());
        self.wire.get(at..)?.first_chunk()
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
        if self.out.decimal(value) {
            return Ok(());
        }
        if value.is_finite() { self.json(value) } else { self.json(not_finite(value)) }
    }

    fn float(&mut self, value: f32) -> Result<()> {
        if value.is_finite() { self.json(value) } else { self.json(not_finite(value.into())) }
    }

    fn integer(&mut self, value: i64) -> Result<()> {
        self.out.integer(value);
        Ok(())
    }

    fn quoted_integer(&mut self, value: i64) -> Result<()> {
        self.out.quoted_integer(value < 0, value.unsigned_abs());
        Ok(())
    }

    fn quoted_unsigned(&mut self, value: u64) -> Result<()> {
        self.out.quoted_integer(false, value);
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

fn not_finite(value: f64) -> &'static str {
    match value {
        f64::INFINITY => "Infinity",
        f64::NEG_INFINITY => "-Infinity",
        _ => "NaN",
    }
}
