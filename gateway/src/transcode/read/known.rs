//! The messages that JSON writes as a text or that queries may name: times, durations, masks,
//! wrappers.

use super::out::Wire;
use super::path::{Path, Step};
use super::token::Scalar;
use super::{Reader, scalar, time};
use crate::transcode::plan::{Form, JsonPlan, Kind, Message, Spelling};

/// Tags of the fields of the messages that are known by their names.
const SECONDS: u32 = 0x08;
const NANOS: u32 = 0x10;
const PATHS: u32 = 0x0a;

impl<'p> Reader<'p, '_> {
    /// A message that is one text.
    pub(super) fn text_form(&mut self, message: &'p Message, path: &Path<'_>) -> Step<bool> {
        let refused = || format!("must be {}", message.expected);
        if self.tokens.peek()? != b'"' {
            return self.refuse(path, refused());
        }
        let spelling = self.plan.spelling;
        let written = write_form(self.out, spelling, &message.form, self.tokens.string()?);
        if written.is_none() {
            self.violations.add(path.show(&mut self.tokens), refused());
        }
        Ok(written.is_some())
    }
}

/// Writes the value of a field, with its length, from the text of a path or query: a scalar, or a
/// message that is written as one text. `None` where the field is another message.
pub(in crate::transcode) fn write_text(
    out: &mut Wire,
    plan: &JsonPlan,
    kind: Kind,
    text: &str,
) -> Option<scalar::Result> {
    let Kind::Message(place) = kind else { return Some(scalar::from_text(out, plan, kind, text)) };
    let message = plan.message(place)?;
    let begin = out.begin();
    let written = match &message.form {
        Form::Timestamp | Form::Duration | Form::FieldMask => {
            write_form(out, plan.spelling, &message.form, text)
        }
        Form::Wrapper => message.fields.first().and_then(|field| {
            let mark = out.mark();
            out.tag(field.tag);
            let value = out.mark();
            let written = match field.kind {
                Kind::Bool => scalar::from_text(out, plan, Kind::Bool, text),
                kind => scalar::from_json(out, plan, kind, Scalar::Text(text)),
            };
            if out.is_dispensable(value) {
                out.back_to(mark);
            }
            written.ok()
        }),
        _ => {
            out.back_to(begin - 1);
            return None;
        }
    };
    out.end(begin);
    Some(written.ok_or_else(|| scalar::Wrong::Said(format!("must be {}", message.expected).into())))
}

fn write_form(out: &mut Wire, spelling: Spelling, form: &Form, text: &str) -> Option<()> {
    match form {
        Form::Timestamp => seconds_and_nanos(out, time::timestamp(text)?),
        Form::Duration => seconds_and_nanos(out, time::duration(text)?),
        Form::FieldMask => field_mask(out, spelling, text)?,
        _ => return None,
    }
    Some(())
}

fn seconds_and_nanos(out: &mut Wire, (seconds, nanos): (i64, i32)) {
    if seconds != 0 || out.overriding {
        out.tag(SECONDS);
        out.varint(seconds as u64);
    }
    if nanos != 0 || out.overriding {
        out.tag(NANOS);
        out.varint(i64::from(nanos) as u64);
    }
}

/// The paths of a field mask. Canonical JSON has them in lowerCamelCase alone; where a contract's own
/// spelling is spoken, both are taken, as of names.
fn field_mask(out: &mut Wire, spelling: Spelling, text: &str) -> Option<()> {
    if spelling == Spelling::Canonical && text.contains('_') {
        return None;
    }
    for path in text.split(',').filter(|path| !path.is_empty()) {
        out.tag(PATHS);
        let begin = out.begin();
        for byte in path.bytes() {
            if byte.is_ascii_uppercase() {
                out.bytes.push(b'_');
            }
            out.bytes.push(byte.to_ascii_lowercase());
        }
        out.end(begin);
    }
    Some(())
}

/// A field mask, with its length, of field names as the contract has them.
pub(crate) fn write_mask<'a>(out: &mut Wire, names: impl IntoIterator<Item = &'a str>) {
    let begin = out.begin();
    for name in names {
        out.tag(PATHS);
        out.block(name.as_bytes());
    }
    out.end(begin);
}
