//! An HTTP request to the request message on the wire: body first, then query, then path. Protobuf
//! merges what follows, so each is appended to what is there.

use std::sync::Arc;

use bytes::Bytes;
use mainstay::kernel::error::{Error, Result};

use super::binding::{Binding, Body};
use super::plan::{Field, JsonPlan, Message};
use super::query::{self, Given, Parameters};
use super::read::out::Wire;
use super::read::{Reader, Taken, Unknown, write_mask};
use super::violations::Violations;
use crate::error::UNSUPPORTED_MEDIA_TYPE;
use crate::route::template::Capture;

/// Room for what path and query add to a body.
const ROOM: usize = 64;
/// Tags of `google.api.HttpBody`.
const CONTENT_TYPE: u32 = 0x0a;
const DATA: u32 = 0x12;

/// How JSON becomes messages of one type.
#[derive(Clone, Debug)]
pub struct RequestPlan {
    pub(crate) table: Arc<JsonPlan>,
    pub(crate) root: usize,
    pub(crate) unknown: Unknown,
}

impl RequestPlan {
    /// The plan for a message that was compiled into `table`, by its full name.
    ///
    /// # Errors
    ///
    /// When it was not compiled, or has no JSON; the text says why.
    pub fn new(
        table: Arc<JsonPlan>,
        message: &str,
        unknown: Unknown,
    ) -> std::result::Result<Self, String> {
        let root = table.find(message).ok_or_else(|| format!("`{message}` was not compiled"))?;
        match table.refusal(root) {
            Some(reason) => Err(reason.to_owned()),
            None => Ok(Self { table, root, unknown }),
        }
    }

    /// Reads a whole message from JSON to its bytes on the wire.
    ///
    /// # Errors
    ///
    /// `MALFORMED_JSON` where it is no JSON, else `INVALID_ARGUMENT` with what is wrong with each
    /// field: 20 at most, and never what a field holds.
    pub fn message(&self, json: &[u8]) -> Result<Bytes> {
        let mut violations = Violations::default();
        let mut wire = Wire::with_capacity(json.len());
        self.reader(json, &mut wire, &mut violations)?.whole(self.root, None)?;
        violations.into_result()?;
        Ok(wire.into_bytes())
    }

    /// The message that is read.
    pub(super) fn message_type(&self) -> Option<&Message> {
        self.table.message(self.root)
    }

    pub(super) fn reader<'a>(
        &'a self,
        json: &'a [u8],
        wire: &'a mut Wire,
        violations: &'a mut Violations,
    ) -> Result<Reader<'a, 'a>> {
        Reader::new(&self.table, self.unknown, json, wire, violations)
    }
}

/// The places of the fields that the parts of a request fill.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    /// Of each variable of the path, in its order.
    pub(crate) captured: Vec<Vec<u16>>,
    /// The same, for a body that may not give them again.
    pub(crate) taken: Taken,
    /// Of the field that the body fills.
    pub(crate) body: Option<u16>,
    /// Of the field mask that a PATCH fills by its body.
    pub(crate) update_mask: Option<u16>,
    /// Of the page token that a cursor fills.
    pub(crate) page_token: Option<u16>,
}

/// The parts of an HTTP request that fill a message.
pub(crate) struct Parts<'a> {
    /// What the path says.
    pub(crate) captures: &'a [Capture],
    /// What the query says, without the cursor.
    pub(crate) parameters: &'a Parameters,
    /// `Content-Type`.
    pub(crate) content_type: Option<&'a str>,
    /// The page token that the cursor holds.
    pub(crate) page_token: Option<&'a str>,
    /// The body.
    pub(crate) body: Bytes,
    /// Whether that is the content of a field of bytes as it is, and not JSON.
    pub(crate) is_file: bool,
}

impl Binding {
    /// Writes the request message.
    pub(crate) fn request(&self, parts: Parts<'_>) -> Result<Bytes> {
        let mut violations = Violations::default();
        let mut wire = Wire::with_capacity(parts.body.len() + ROOM);
        let has_body = self.write_body(&parts, &mut wire, &mut violations)?;
        if !parts.parameters.is_empty() {
            let mut given = Given::by(&self.places, has_body);
            query::apply(self, parts.parameters, &mut given, &mut wire, &mut violations);
        }
        self.write_path(parts.captures, &mut wire, &mut violations);
        if let (Some(token), Some(field)) = (parts.page_token, self.field(self.places.page_token)) {
            wire.tag(field.tag);
            wire.block(token.as_bytes());
        }
        violations.into_result()?;
        Ok(wire.into_bytes())
    }

    /// Writes what the path says.
    pub(super) fn write_path(
        &self,
        captures: &[Capture],
        wire: &mut Wire,
        violations: &mut Violations,
    ) {
        for (capture, place) in captures.iter().zip(&self.places.captured) {
            if let Err(reason) = self.write_captured(wire, place, capture) {
                violations.add(capture.field.join("."), reason);
            }
        }
    }

    fn write_captured(
        &self,
        wire: &mut Wire,
        place: &[u16],
        capture: &Capture,
    ) -> std::result::Result<(), String> {
        let text = capture.text.as_ref().map_err(ToString::to_string)?;
        query::write(wire, &self.plan, place, text).map_err(|wrong| wrong.into_text().into_owned())
    }

    /// Writes what the body says. Whether it sets the one field that it fills.
    fn write_body(
        &self,
        parts: &Parts<'_>,
        wire: &mut Wire,
        violations: &mut Violations,
    ) -> Result<bool> {
        match &self.body {
            Body::Field(_) if parts.is_file => {
                if let Some(field) = self.field(self.places.body) {
                    wire.tag(field.tag);
                    wire.block(&parts.body);
                }
                return Ok(true);
            }
            // Nothing says nothing, whatever the body fills.
            Body::Nothing | Body::Message | Body::Field(_) if parts.body.is_empty() => {}
            Body::Nothing if self.plan.unknown == Unknown::Ignore => {}
            Body::Nothing => self.plan.reader(json(parts)?, wire, violations)?.nothing()?,
            Body::Raw => write_raw(wire, parts),
            Body::RawField(_) => {
                if let Some(field) = self.field(self.places.body) {
                    wire.tag(field.tag);
                    wire.length(raw_length(parts));
                    write_raw(wire, parts);
                }
                return Ok(true);
            }
            Body::Message => {
                let reader = self.plan.reader(json(parts)?, wire, violations)?;
                reader.whole(self.plan.root, Some(&self.places.taken))?;
            }
            Body::Field(_) => {
                return self.write_field(json(parts)?, parts.parameters, wire, violations);
            }
        }
        Ok(false)
    }

    /// Writes the one field that the body fills. Whether it is set.
    pub(super) fn write_field(
        &self,
        json: &[u8],
        parameters: &Parameters,
        wire: &mut Wire,
        violations: &mut Violations,
    ) -> Result<bool> {
        let (Some(field), Some(place)) = (self.field(self.places.body), self.places.body) else {
            return Ok(false);
        };
        let reader = self.plan.reader(json, wire, violations)?;
        let (set, keys) = reader.one_field(field, self.places.taken.within(place))?;
        if set {
            self.write_update_mask(parameters, field, &keys, wire);
        }
        Ok(set)
    }

    /// A PATCH that names no mask changes the fields that its body has.
    fn write_update_mask(
        &self,
        parameters: &Parameters,
        body: &Field,
        keys: &[u16],
        wire: &mut Wire,
    ) {
        let (Some(mask), Some(request)) =
            (self.field(self.places.update_mask), self.plan.message_type())
        else {
            return;
        };
        let is_mask = |name: &str| {
            request.find(name).is_some_and(|found| Some(found.place) == self.places.update_mask)
        };
        let Some(resource) = body.message(&self.plan.table) else { return };
        if parameters.iter().any(|(name, _)| is_mask(name)) {
            return;
        }
        let fields = keys.iter().filter_map(|place| resource.fields.get(usize::from(*place)));
        wire.tag(mask.tag);
        write_mask(wire, fields.map(|field| field.name.as_str()));
    }

    fn field(&self, place: Option<u16>) -> Option<&Field> {
        self.plan.message_type()?.fields.get(usize::from(place?))
    }
}

/// The body as JSON.
fn json<'a>(parts: &'a Parts<'_>) -> Result<&'a [u8]> {
    let stated = parts.content_type.unwrap_or_default();
    let essence = stated.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        let shown = if stated.is_empty() { "no content type" } else { stated };
        return Err(Error::new(
            UNSUPPORTED_MEDIA_TYPE,
            format!("the body must be application/json, not {shown}"),
        ));
    }
    Ok(&parts.body)
}

/// The body as it is, in a `google.api.HttpBody`.
fn write_raw(wire: &mut Wire, parts: &Parts<'_>) {
    let content_type = parts.content_type.unwrap_or_default();
    for (tag, bytes) in [(CONTENT_TYPE, content_type.as_bytes()), (DATA, &*parts.body)] {
        if !bytes.is_empty() {
            wire.tag(tag);
            wire.block(bytes);
        }
    }
}

/// How long that is.
fn raw_length(parts: &Parts<'_>) -> usize {
    let content_type = parts.content_type.unwrap_or_default();
    let block = |bytes: &[u8]| match bytes.len() {
        0 => 0,
        length => 1 + prost::length_delimiter_len(length) + length,
    };
    block(content_type.as_bytes()) + block(&parts.body)
}
