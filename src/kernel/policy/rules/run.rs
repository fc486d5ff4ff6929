//! Runs the tree over wire bytes.

use std::collections::HashSet;

use super::constraint::{Check, Constraint, Ignore};
use super::report::{At, Path, Report};
use super::scalar::Scalar;
use super::slot::{Key, Slot, display};
use super::{Field, Kind, MessageRules, Shape};
use crate::kernel::error::Result;
use crate::kernel::policy::wire::{Fields, Packed, WireValue, malformed};

impl MessageRules {
    /// `INVALID_ARGUMENT` that names every field at fault.
    pub fn validate(&self, message: &[u8]) -> Result<()> {
        self.run(message, Report::default())
    }

    /// As [`validate`](Self::validate), for bytes that were just written by a plan of the same contract
    /// and so are readable: what no rule is about is not looked at.
    pub fn validate_written(&self, message: &[u8]) -> Result<()> {
        self.run(message, Report::of_readable())
    }

    fn run(&self, message: &[u8], mut report: Report) -> Result<()> {
        self.message(0, message, At { path: &Path::Root, depth: 0 }, &mut report)?;
        report.finish()
    }

    fn message(
        &self,
        position: usize,
        bytes: &[u8],
        at: At<'_>,
        report: &mut Report,
    ) -> Result<()> {
        if report.is_of_readable() && !self.messages[position].is_ruled {
            return Ok(());
        }
        let slots = self.collect(position, bytes, at)?;
        for (field, slot) in self.messages[position].fields.iter().zip(&slots) {
            self.field(field, slot, at.field(&Path::Field(at.path, &field.name)), report)?;
        }
        Ok(())
    }

    /// What each field of a message holds, by position.
    fn collect<'a>(&self, position: usize, bytes: &'a [u8], at: At<'_>) -> Result<Vec<Slot<'a>>> {
        let message = &self.messages[position];
        let mut slots: Vec<_> = message.fields.iter().map(|_| Slot::default()).collect();
        let mut fields = Fields::new(bytes, at.depth)?;
        while let Some((number, value)) = fields.next()? {
            let Some(position) = message.position(number) else { continue };
            let field = &message.fields[position];
            if let Some(oneof) = field.oneof {
                for (other, slot) in message.fields.iter().zip(&mut slots) {
                    if other.oneof == Some(oneof) && other.number != number {
                        self.discard(other, std::mem::take(slot), at)?;
                    }
                }
            }
            self.put(field, value, &mut slots[position], at)?;
        }
        Ok(slots)
    }

    fn put<'a>(
        &self,
        field: &Field,
        value: WireValue<'a>,
        slot: &mut Slot<'a>,
        at: At<'_>,
    ) -> Result<()> {
        let path = Path::Field(at.path, &field.name);
        let Kind::Scalar(kind) = field.kind else {
            let WireValue::Bytes(bytes) = value else {
                return Err(malformed(format!("{path} has the wrong wire type")));
            };
            slot.push(Scalar::Bytes(bytes));
            return Ok(());
        };
        let mut put = |value| {
            let scalar = kind.read(value, &path)?;
            if field.shape != Shape::List {
                *slot = Slot::default();
            }
            slot.push(scalar);
            Ok(())
        };
        match value {
            // Numbers of a list come one by one or all in one piece, whatever the contract says.
            WireValue::Bytes(bytes) if field.shape == Shape::List && kind.wire_type() != 2 => {
                let mut items = Packed::new(bytes, kind.wire_type());
                while let Some(item) = items.next()? {
                    put(item)?;
                }
                Ok(())
            }
            value => put(value),
        }
    }

    /// An alternative that another one replaced has no rules, but must have been readable.
    fn discard(&self, field: &Field, slot: Slot<'_>, at: At<'_>) -> Result<()> {
        let Kind::Message(message) = field.kind else { return Ok(()) };
        let path = Path::Field(at.path, &field.name);
        for bytes in slot.messages() {
            self.message(message, bytes, at.field(&path).deeper(), &mut Report::muted())?;
        }
        Ok(())
    }

    fn field(&self, field: &Field, slot: &Slot<'_>, at: At<'_>, report: &mut Report) -> Result<()> {
        let constraint = &field.constraint;
        if constraint.ignore == Ignore::Always {
            return self.contents(field, None, slot, at, &mut Report::muted());
        }
        let is_absent = match field.shape {
            Shape::Implicit => slot.iter().all(Scalar::is_zero),
            Shape::Explicit | Shape::List | Shape::Map => slot.is_empty(),
        };
        if constraint.required && is_absent {
            report.refuse(at.path, "must be set".to_owned());
            return Ok(());
        }
        let skip = match (field.shape, constraint.ignore) {
            (Shape::Explicit, Ignore::Zero) => slot.iter().all(Scalar::is_zero),
            (Shape::Explicit, _) => is_absent,
            (_, ignore) => is_absent && ignore == Ignore::Zero,
        };
        let check = constraint.check.as_ref().filter(|_| !skip);
        self.contents(field, check, slot, at, report)
    }

    fn contents(
        &self,
        field: &Field,
        check: Option<&Check>,
        slot: &Slot<'_>,
        at: At<'_>,
        report: &mut Report,
    ) -> Result<()> {
        match (field.shape, field.kind) {
            (Shape::List, _) => self.list(field, check, slot, at, report),
            (Shape::Map, Kind::Message(entry)) => self.map(entry, check, slot, at, report),
            (_, Kind::Message(message)) => self.single(message, slot, at, report),
            (_, Kind::Scalar(kind)) => {
                let value = slot.first.unwrap_or_else(|| kind.zero());
                if let Some(check) = check {
                    check.scalar(&value, &mut |text| report.refuse(at.path, text));
                }
                Ok(())
            }
        }
    }

    /// A message that comes in several pieces is their merger, which is their concatenation.
    fn single(
        &self,
        message: usize,
        slot: &Slot<'_>,
        at: At<'_>,
        report: &mut Report,
    ) -> Result<()> {
        if slot.is_empty() {
            return Ok(());
        }
        if !slot.rest.is_empty() {
            for piece in slot.messages() {
                self.message(message, piece, at.deeper(), &mut Report::muted())?;
            }
        }
        self.message(message, &slot.merged(), at.deeper(), report)
    }

    fn list(
        &self,
        field: &Field,
        check: Option<&Check>,
        slot: &Slot<'_>,
        at: At<'_>,
        report: &mut Report,
    ) -> Result<()> {
        let mut each = None;
        if let Some(Check::List { items, unique, each: stated }) = check {
            items.check(slot.len(), "have", "items", &mut |text| report.refuse(at.path, text));
            let mut seen = HashSet::new();
            if *unique && !slot.iter().all(|item| seen.insert(Key::of(item))) {
                report.refuse(at.path, "must not hold an item twice".to_owned());
            }
            each = Some(&**stated);
        }
        for (index, item) in slot.iter().enumerate() {
            let path = Path::Index(at.path, index);
            self.item(field.kind, each, *item, at.field(&path), report)?;
        }
        Ok(())
    }

    fn map(
        &self,
        entry: usize,
        check: Option<&Check>,
        slot: &Slot<'_>,
        at: At<'_>,
        report: &mut Report,
    ) -> Result<()> {
        let mut entries = HashSet::new();
        let [key_field, value_field] = &self.messages[entry].fields[..] else { return Ok(()) };
        let Kind::Scalar(key_kind) = key_field.kind else { return Ok(()) };
        let (keys, values) = match check {
            Some(Check::Map { keys, values, .. }) => (Some(&**keys), Some(&**values)),
            _ => (None, None),
        };
        for bytes in slot.messages() {
            let pair = self.collect(entry, bytes, at.deeper())?;
            let key = pair[0].first.unwrap_or_else(|| key_kind.zero());
            let path = Path::Key(at.path, display(&key));
            let at = at.deeper().field(&path);
            self.item(key_field.kind, keys, key, at, report)?;
            match value_field.kind {
                Kind::Message(message) => {
                    let merged = pair[1].merged();
                    let at = at.deeper();
                    if values.is_some_and(|values| values.ignore == Ignore::Always) {
                        self.message(message, &merged, at, &mut Report::muted())?;
                    } else {
                        self.message(message, &merged, at, report)?;
                    }
                }
                Kind::Scalar(kind) => {
                    let value = pair[1].first.unwrap_or_else(|| kind.zero());
                    self.item(value_field.kind, values, value, at, report)?;
                }
            }
            entries.insert(Key::of(&key));
        }
        if let Some(Check::Map { pairs, .. }) = check {
            pairs.check(entries.len(), "have", "pairs", &mut |text| report.refuse(at.path, text));
        }
        Ok(())
    }

    /// An item of a list, or a key or value of a map.
    fn item(
        &self,
        kind: Kind,
        constraint: Option<&Constraint>,
        value: Scalar<'_>,
        at: At<'_>,
        report: &mut Report,
    ) -> Result<()> {
        let none = Constraint::default();
        let constraint = constraint.unwrap_or(&none);
        let mut muted = Report::muted();
        let report = if constraint.ignore == Ignore::Always { &mut muted } else { report };
        match (kind, value) {
            (Kind::Message(message), Scalar::Bytes(bytes)) => {
                self.message(message, bytes, at.deeper(), report)
            }
            _ if constraint.required && value.is_zero() => {
                report.refuse(at.path, "must be set".to_owned());
                Ok(())
            }
            _ if constraint.ignore == Ignore::Zero && value.is_zero() => Ok(()),
            _ => {
                if let Some(check) = &constraint.check {
                    check.scalar(&value, &mut |text| report.refuse(at.path, text));
                }
                Ok(())
            }
        }
    }
}
