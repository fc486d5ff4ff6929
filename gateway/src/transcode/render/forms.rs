//! The messages that proto3 JSON writes in a form of their own.

use std::borrow::Cow;
use std::io::Write as _;

use prost_types::Duration;

use super::number::{three_digits, two_digits};
use super::write::Writer;
use crate::transcode::plan::Form;
use crate::transcode::wire::{self, Malformed, Reader, Result, WireType, joined, merged};

/// The seconds of 0001-01-01T00:00:00Z and of 9999-12-31T23:59:59Z.
const TIMES: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
const DAY: i64 = 86_400;
/// The tags of the fields of a time and of a duration, which are integers.
const SECONDS: u32 = 1 << 3;
const NANOS: u32 = 2 << 3;
/// The longest duration in seconds: about 10,000 years.
const LONGEST: u64 = 315_576_000_000;

impl Writer<'_> {
    pub(super) fn well_known(&mut self, form: &Form, wire: &[u8]) -> Result<()> {
        match form {
            Form::Timestamp => self.timestamp(wire),
            Form::Duration => self.duration(wire),
            Form::FieldMask => self.field_mask(wire),
            Form::Struct => self.structure(wire),
            Form::Value => self.dynamic(wire),
            Form::ListValue => self.dynamic_list(wire),
            Form::Any => self.any(wire),
            Form::Object | Form::Empty | Form::Wrapper | Form::Refused(_) => {
                Err(Malformed("it has no form of its own"))
            }
        }
    }

    fn timestamp(&mut self, wire: &[u8]) -> Result<()> {
        let (seconds, nanos) = seconds_and_nanos(wire)?;
        if !TIMES.contains(&seconds) || !(0..1_000_000_000).contains(&nanos) {
            return Err(Malformed("a time is out of range"));
        }
        let (days, second) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY) as u32);
        let ((year, month, day), nanos) = (date(days), nanos as u32);
        let parts =
            [year / 100, year % 100, month, day, second / 3600, second / 60 % 60, second % 60];
        let [c, y, mo, d, h, mi, s] = parts.map(two_digits);
        let fraction = [nanos / 1_000_000, nanos / 1_000 % 1_000, nanos % 1_000];
        let [milli, micro, nano] = fraction.map(three_digits);
        // Billionths with no digits, three, six or nine: as many as it takes.
        let end = match fraction {
            [0, 0, 0] => 20,
            [_, 0, 0] => 24,
            [_, _, 0] => 27,
            _ => 30,
        };
        self.out.fill(|room: &mut [u8; 32]| {
            *room = [
                b'"', c[0], c[1], y[0], y[1], b'-', mo[0], mo[1], b'-', d[0], d[1], b'T', h[0],
                h[1], b':', mi[0], mi[1], b':', s[0], s[1], b'.', milli[0], milli[1], milli[2],
                micro[0], micro[1], micro[2], nano[0], nano[1], nano[2], b'Z', b'"',
            ];
            if let Some(rest) = room.get_mut(end..).and_then(<[u8]>::first_chunk_mut) {
                *rest = *b"Z\"";
            }
            end + 2
        });
        Ok(())
    }

    fn duration(&mut self, wire: &[u8]) -> Result<()> {
        let (seconds, nanos) = seconds_and_nanos(wire)?;
        let one_sign = seconds.signum() * i64::from(nanos.signum()) >= 0;
        if seconds.unsigned_abs() > LONGEST || nanos.unsigned_abs() > 999_999_999 || !one_sign {
            return Err(Malformed("a duration is out of range"));
        }
        write!(self.out, "\"{}\"", Duration { seconds, nanos })
            .map_err(|_| Malformed("a duration without text"))
    }

    fn field_mask(&mut self, wire: &[u8]) -> Result<()> {
        let mut mask = String::new();
        wire::each(wire, 1, |path| {
            if !mask.is_empty() {
                mask.push(',');
            }
            camel_case(wire::text(path)?, &mut mask)
        })?;
        self.json(mask)
    }

    fn structure(&mut self, wire: &[u8]) -> Result<()> {
        let mut members = Vec::new();
        wire::each(wire, 1, |entry| {
            let name = wire::text(wire::last(entry, 1)?.unwrap_or_default())?;
            members.push((name, joined(entry, 2)?.unwrap_or_default()));
            Ok(())
        })?;
        self.members(members, |writer, name, value| {
            writer.json(name)?;
            writer.out.push(b':');
            writer.nested(|writer| writer.dynamic(&value))
        })
    }

    fn dynamic_list(&mut self, wire: &[u8]) -> Result<()> {
        self.out.push(b'[');
        let begin = self.out.len();
        wire::each(wire, 1, |value| {
            if self.out.len() > begin {
                self.out.push(b',');
            }
            self.nested(|writer| writer.dynamic(value))
        })?;
        self.out.push(b']');
        Ok(())
    }

    /// A `google.protobuf.Value`: what it was set to last.
    fn dynamic(&mut self, wire: &[u8]) -> Result<()> {
        let mut last = Dynamic::Null;
        let mut reader = Reader::new(wire);
        while !reader.is_empty() {
            last = match (reader.tag()?, last) {
                ((1, WireType::Varint), _) => {
                    reader.varint()?;
                    Dynamic::Null
                }
                ((2, WireType::Fixed64), _) => Dynamic::Number(f64::from_bits(reader.fixed64()?)),
                ((3, WireType::Bytes), _) => Dynamic::Text(reader.text()?),
                ((4, WireType::Varint), _) => Dynamic::Flag(reader.varint()? != 0),
                ((5, WireType::Bytes), Dynamic::Struct(before)) => {
                    Dynamic::Struct(merged(before, reader.bytes()?))
                }
                ((6, WireType::Bytes), Dynamic::List(before)) => {
                    Dynamic::List(merged(before, reader.bytes()?))
                }
                ((5, WireType::Bytes), _) => Dynamic::Struct(reader.bytes()?.into()),
                ((6, WireType::Bytes), _) => Dynamic::List(reader.bytes()?.into()),
                ((1..=6, _), _) => return Err(Malformed("a value has another type")),
                ((number, wire_type), last) => {
                    reader.skip(number, wire_type)?;
                    last
                }
            };
        }
        match last {
            Dynamic::Null => self.json(()),
            Dynamic::Number(number) if number.is_finite() => self.json(number),
            Dynamic::Number(_) => Err(Malformed("a value is no number that JSON has")),
            Dynamic::Text(text) => self.json(text),
            Dynamic::Flag(flag) => self.json(flag),
            Dynamic::Struct(wire) => self.nested(|writer| writer.structure(&wire)),
            Dynamic::List(wire) => self.nested(|writer| writer.dynamic_list(&wire)),
        }
    }

    /// A message whose type is found by its name: its own members, or `value` where its form is no
    /// object of its fields.
    fn any(&mut self, wire: &[u8]) -> Result<()> {
        let url = wire::text(wire::last(wire, 1)?.unwrap_or_default())?;
        let value = wire::last(wire, 2)?.unwrap_or_default();
        if url.is_empty() && value.is_empty() {
            self.out.put(b"{}");
            return Ok(());
        }
        let name = url.rsplit_once('/').map(|(_, name)| name);
        let place = name.and_then(|name| self.plan.find(name)).ok_or(NO_TYPE)?;
        let message = self.plan.message(place).ok_or(NO_TYPE)?;
        self.out.put(b"{\"@type\":");
        self.json(url)?;
        if let Form::Object | Form::Empty = message.form {
            self.nested(|writer| writer.object_members(message, value))?;
        } else {
            self.out.put(b",\"value\":");
            self.message(place, value)?;
        }
        self.out.push(b'}');
        Ok(())
    }
}

/// What a `google.protobuf.Value` holds.
enum Dynamic<'a> {
    Null,
    Number(f64),
    Text(&'a str),
    Flag(bool),
    Struct(Cow<'a, [u8]>),
    List(Cow<'a, [u8]>),
}

/// Year, month and day of a day of the years 1 to 9999, counted from 1970-01-01, in the Gregorian
/// calendar: in eras of 400 years from a first of March, so that a leap day is the last of its year.
fn date(days_since_1970: i64) -> (u32, u32, u32) {
    const ERA: u32 = 146_097;
    let days = (days_since_1970 + 719_468) as u32;
    let (era, day) = (days / ERA, days % ERA);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u32::from(month <= 2), month, day)
}

fn seconds_and_nanos(wire: &[u8]) -> Result<(i64, i32)> {
    let (mut seconds, mut nanos) = (0, 0);
    let mut reader = Reader::new(wire);
    while !reader.is_empty() {
        if reader.take_tag(SECONDS) {
            seconds = reader.varint()? as i64;
        } else if reader.take_tag(NANOS) {
            nanos = reader.varint()? as i32;
        } else {
            let (number, wire_type) = reader.tag()?;
            reader.skip(number, wire_type)?;
        }
    }
    Ok((seconds, nanos))
}

/// A path of a field mask in lowerCamelCase. One that does not come back as it was is refused.
fn camel_case(path: &str, into: &mut String) -> Result<()> {
    let mut after_underscore = false;
    for character in path.chars() {
        let upper = character.to_ascii_uppercase();
        match character {
            '_' if after_underscore => return Err(NO_MASK),
            '_' => after_underscore = true,
            'A'..='Z' => return Err(NO_MASK),
            _ if after_underscore && upper == character => return Err(NO_MASK),
            _ => {
                into.push(if after_underscore { upper } else { character });
                after_underscore = false;
            }
        }
    }
    if after_underscore { Err(NO_MASK) } else { Ok(()) }
}

const NO_MASK: Malformed = Malformed("a path of a field mask has no JSON");
const NO_TYPE: Malformed = Malformed("the type of an Any is not known");
