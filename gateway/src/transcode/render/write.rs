//! One message from the wire to JSON, in one pass over each level: where each field stands is noted
//! first, for fields may come in any order and more than once; then they are written.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::transcode::plan::{Field, Form, JsonPlan, Kind, Message, Shape, Spelling};
use crate::transcode::wire::{self, Malformed, Reader, Result, WireType, each, joined};

/// Messages within messages that are read at most, as protobuf's own readers have it.
const DEEPEST: u32 = 100;

/// Writes JSON.
pub(super) struct Writer<'p> {
    pub(super) plan: &'p JsonPlan,
    pub(super) out: Vec<u8>,
    /// Of each message that is being written, from the outermost on.
    slots: Vec<Slot>,
    depth: u32,
}

/// Where a field stands in its message.
#[derive(Clone, Copy, Default)]
pub(super) struct Slot {
    /// How often it comes.
    count: u32,
    /// Where the first tag begins.
    begin: u32,
    /// Where the last value begins.
    value: u32,
    /// Where it ends.
    end: u32,
}

impl Slot {
    /// From the first tag to the end of the last value.
    fn part(self, wire: &[u8]) -> &[u8] {
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

impl<'p> Writer<'p> {
    pub(super) fn new(plan: &'p JsonPlan, out: Vec<u8>) -> Self {
        Self { plan, out, slots: Vec::new(), depth: 0 }
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
        self.object_members(message, wire, &mut true)?;
        self.out.push(b'}');
        Ok(())
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
        if u32::try_from(wire.len()).is_err() {
            return Err(Malformed("it is larger than messages may be"));
        }
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
                return Err(Malformed("a field has another type than the contract says"));
            }
            before = place;
            if slot.count == 0 {
                slot.begin = begin as u32;
            }
            slot.count = slot.count.saturating_add(1);
            (slot.value, slot.end) = (value as u32, reader.position() as u32);
            // Of a oneof the last member counts.
            for rival in &field.rivals {
                if let Some(slot) = slots.get_mut(usize::from(*rival)) {
                    slot.count = 0;
                }
            }
        }
        Ok(())
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
        key: &[u8],
        field: &Field,
        slot: Slot,
        wire: &[u8],
        first: &mut bool,
    ) -> Result<()> {
        let every = self.plan.spelling == Spelling::Contract;
        if slot.count == 0 && (field.presence || !every) {
            return Ok(());
        }
        let begin = self.out.len();
        if !*first {
            self.out.push(b',');
        }
        self.out.extend_from_slice(key);
        let value = self.out.len();
        self.value_or_default(field, slot, wire)?;
        // Set, but to the default, which is as good as not set.
        if !field.presence && !every && self.out.get(value..) == Some(&*field.default) {
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
                self.out.extend_from_slice(&field.default);
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
        let mut entries = Vec::new();
        each(slot.part(wire), field.number, |wire| {
            let begin = self.out.len();
            self.with_slots(entry, wire, |writer, slots| {
                writer.value_or_default(key_field, slots.at(writer, 0), wire)
            })?;
            entries.push((self.out.split_off(begin), wire));
            Ok(())
        })?;
        self.members(entries, |writer, key, wire| {
            // Keys that are numbers or booleans are written as text.
            let quote: &[u8] = if key.starts_with(b"\"") { b"" } else { b"\"" };
            for part in [quote, &key, quote, b":"] {
                writer.out.extend_from_slice(part);
            }
            writer.with_slots(entry, wire, |writer, slots| {
                let slot = slots.at(writer, 1);
                match (slot.count, value_field.kind) {
                    (0, Kind::Message(place)) => writer.message(place, &[]),
                    _ => writer.value_or_default(value_field, slot, wire),
                }
            })
        })
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
            Kind::Int32 => self.json(reader.varint()? as i32),
            Kind::Int64 => self.quoted_number(reader.varint()? as i64),
            Kind::Uint32 => self.json(reader.varint()? as u32),
            Kind::Uint64 => self.quoted_number(reader.varint()?),
            Kind::Sint32 => {
                let value = reader.varint()? as u32;
                self.json((value >> 1) as i32 ^ -((value & 1) as i32))
            }
            Kind::Sint64 => {
                let value = reader.varint()?;
                self.quoted_number((value >> 1) as i64 ^ -((value & 1) as i64))
            }
            Kind::Fixed32 => self.json(reader.fixed32()?),
            Kind::Fixed64 => self.quoted_number(reader.fixed64()?),
            Kind::Sfixed32 => self.json(reader.fixed32()? as i32),
            Kind::Sfixed64 => self.quoted_number(reader.fixed64()? as i64),
            Kind::Bool => self.json(reader.varint()? != 0),
            Kind::String => self.text(reader),
            Kind::Bytes => self.base64(reader.bytes()?),
            Kind::Enum(place) => self.enumerated(place, reader.varint()? as i32),
            Kind::Message(place) => self.message(place, reader.bytes()?),
        }
    }

    fn enumerated(&mut self, place: usize, number: i32) -> Result<()> {
        let plan = self.plan;
        match plan.enums.get(place) {
            Some(known) if known.is_null => self.out.extend_from_slice(b"null"),
            Some(known) => match known.name(number) {
                Some(name) => self.out.extend_from_slice(name),
                None => self.json(number)?,
            },
            None => self.json(number)?,
        }
        Ok(())
    }

    /// A text; most need neither escapes nor a check that they are UTF-8.
    fn text(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        let text = reader.bytes()?;
        let is_plain = |byte: u8| (0x20..0x7f).contains(&byte) & (byte != b'"') & (byte != b'\\');
        // Every byte is looked at, with no way out between, so that many are looked at at once.
        if text.iter().fold(true, |plain, byte| plain & is_plain(*byte)) {
            self.out.push(b'"');
            self.out.extend_from_slice(text);
            self.out.push(b'"');
            return Ok(());
        }
        self.json(wire::text(text)?)
    }

    fn base64(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.push(b'"');
        let begin = self.out.len();
        self.out.resize(begin + bytes.len().div_ceil(3) * 4, 0);
        let room = self.out.get_mut(begin..).unwrap_or_default();
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

    fn quoted_number(&mut self, value: impl serde::Serialize) -> Result<()> {
        self.out.push(b'"');
        self.json(value)?;
        self.out.push(b'"');
        Ok(())
    }

    /// Writes a scalar.
    pub(super) fn json(&mut self, value: impl serde::Serialize) -> Result<()> {
        serde_json::to_writer(&mut self.out, &value).map_err(|_| Malformed("a value without JSON"))
    }
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

impl Field {
    fn takes(&self, wire_type: WireType) -> bool {
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
