//! Replies from the wire to what HTTP sends: JSON in an envelope, plain JSON, or raw bytes.
//!
//! A [`JsonPlan`] is compiled once for all messages of a service; a reply is then written from its
//! bytes, with no message between.

mod forms;
mod number;
mod slots;
mod text;
mod write;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use mainstay::kernel::error::{Error, Result};
use prost_reflect::{FieldDescriptor, MessageDescriptor};

use super::binding::Binding;
use super::plan::{self, JsonPlan, Message, Shape};
use super::wire::{self, Malformed};
pub(crate) use text::Text;
pub(super) use text::Word;
use write::Writer;

/// Field of a list's reply that says how many match in all, and the name by which `meta` has it.
const TOTAL_SIZE: &str = "total_size";
const TOTAL: &[u8] = b",\"total\":";
/// Room for an envelope, and for how much longer JSON is than the wire.
const ENVELOPE: usize = 128;
const GROWTH: usize = 3;

impl JsonPlan {
    /// Appends a message's JSON to `out`. `message` is from [`JsonPlan::find`].
    ///
    /// # Errors
    ///
    /// When `wire` is no such message, nests deeper than 100 messages, or holds what JSON cannot
    /// say, such as a time beyond the year 9999. `out` is empty then.
    pub fn write(
        &self,
        message: usize,
        wire: &[u8],
        out: &mut Vec<u8>,
    ) -> std::result::Result<(), Malformed> {
        out.reserve(wire.len() * GROWTH + ENVELOPE);
        let mut writer = Writer::new(self, wire, Text::after(std::mem::take(out)));
        writer.message(message, wire)?;
        *out = writer.out.into_bytes();
        Ok(())
    }
}

/// One type of message as JSON, whole and with nothing around it.
#[derive(Clone, Debug)]
pub(crate) struct MessagePlan {
    plan: Arc<JsonPlan>,
    root: usize,
}

impl MessagePlan {
    /// The plan for a message that was compiled into `plan`; `None` if it has no form in JSON.
    pub(crate) fn new(plan: &Arc<JsonPlan>, message: &MessageDescriptor) -> Option<Self> {
        let root = plan.find(message.full_name())?;
        plan.refusal(root).is_none().then(|| Self { plan: Arc::clone(plan), root })
    }

    /// Appends the message's JSON to `out`.
    pub(crate) fn write(&self, wire: &[u8], out: &mut Vec<u8>) -> Result<()> {
        self.plan.write(self.root, wire, out).map_err(Error::internal)
    }
}

/// How the replies of one route are rendered.
#[derive(Clone, Debug)]
pub(crate) struct ReplyPlan {
    plan: Arc<JsonPlan>,
    root: usize,
    content: Content,
    list: Option<ListPlaces>,
}

/// What of the response message the reply is.
#[derive(Clone, Copy, Debug)]
enum Content {
    /// All of it.
    Whole,
    /// One field, by its place.
    Field(usize),
    /// All of it, which is a `google.api.HttpBody`.
    Raw,
    /// One field, by its number, which is a `google.api.HttpBody`.
    RawField(u32),
}

/// The places of the fields that make a response a page of a list.
#[derive(Clone, Copy, Debug)]
struct ListPlaces {
    items: usize,
    next_page_token: usize,
}

/// A reply's body.
#[derive(Debug)]
pub(crate) enum Rendered {
    /// JSON.
    Json {
        /// The text.
        body: Vec<u8>,
        /// The resource's `etag`.
        etag: Option<String>,
    },
    /// Bytes that travel as they are.
    Raw {
        /// Their media type.
        content_type: String,
        /// The bytes.
        data: Bytes,
    },
}

impl ReplyPlan {
    /// The plan for the replies of a binding, whose response message was compiled into `plan`.
    pub(crate) fn new(plan: Arc<JsonPlan>, binding: &Binding) -> std::result::Result<Self, String> {
        let unknown = || format!("`{}` was not compiled", binding.output.full_name());
        let root = plan.find(binding.output.full_name()).ok_or_else(unknown)?;
        let message = plan.messages.get(root).ok_or_else(unknown)?;
        if let Some(reason) = plan.refusal(root) {
            return Err(reason.to_owned());
        }
        let place = |field: &FieldDescriptor| message.named(field.name()).ok_or_else(unknown);
        let content = match &binding.response_field {
            None if binding.replies_raw() => Content::Raw,
            None => Content::Whole,
            Some(field) if binding.replies_raw() => Content::RawField(field.number()),
            Some(field) => Content::Field(place(field)?),
        };
        let list = match (&binding.list, content) {
            (Some(list), Content::Whole) => Some(ListPlaces {
                items: place(&list.items)?,
                next_page_token: place(&list.next_page_token)?,
            }),
            _ => None,
        };
        Ok(Self { plan, root, content, list })
    }

    /// Renders for an envelope. `sign` turns the contract's page token into a cursor.
    pub(crate) fn enveloped(
        &self,
        wire: &Bytes,
        request_id: &str,
        sign: impl FnOnce(&str) -> String,
    ) -> Result<Rendered> {
        if let Some(raw) = self.part(wire)? {
            return Ok(raw);
        }
        let mut writer = self.writer(wire);
        let etag = match self.list {
            Some(list) => self.page(&mut writer, list, wire, request_id, sign).map(|()| None),
            None => self.single(&mut writer, wire, request_id),
        };
        let etag = etag.map_err(Error::internal)?;
        Ok(Rendered::Json { body: writer.out.into_bytes(), etag })
    }

    /// Appends one message of a stream to `out`: `{"data": …}` for an envelope, else bare. The message stands
    /// at `place` in `bytes`. What is appended of one that has no JSON is worthless.
    pub(crate) fn element(
        &self,
        bytes: &[u8],
        place: Range<usize>,
        enveloped: bool,
        out: &mut Text,
    ) -> Result<()> {
        let wire = bytes.get(place).unwrap_or_default();
        let mut writer = Writer::new(&self.plan, bytes, std::mem::take(out));
        if enveloped {
            writer.out.put(b"{\"data\":");
        }
        let written = self.data(&mut writer, wire);
        if enveloped {
            writer.out.push(b'}');
        }
        *out = writer.out;
        written.map_err(Error::internal)
    }

    /// Renders without an envelope.
    pub(crate) fn plain(&self, wire: &Bytes) -> Result<Rendered> {
        if let Some(raw) = self.part(wire)? {
            return Ok(raw);
        }
        let mut writer = self.writer(wire);
        self.data(&mut writer, wire).map_err(Error::internal)?;
        Ok(Rendered::Json { body: writer.out.into_bytes(), etag: None })
    }

    fn writer<'a>(&'a self, wire: &'a [u8]) -> Writer<'a> {
        Writer::new(&self.plan, wire, Text::with_capacity(wire.len() * GROWTH + ENVELOPE))
    }

    fn root(&self) -> wire::Result<&Message> {
        self.plan.messages.get(self.root).ok_or(Malformed("its type is not known"))
    }

    fn single(
        &self,
        writer: &mut Writer<'_>,
        wire: &[u8],
        request_id: &str,
    ) -> wire::Result<Option<String>> {
        writer.out.put(b"{\"data\":");
        self.data(writer, wire)?;
        writer.out.put(b",\"meta\":{\"request_id\":");
        writer.json(request_id)?;
        writer.out.put(b"}}");
        self.etag(wire)
    }

    /// The response message, or the field of it that is the reply.
    fn data(&self, writer: &mut Writer<'_>, wire: &[u8]) -> wire::Result<()> {
        let Content::Field(place) = self.content else { return writer.message(self.root, wire) };
        let message = self.root()?;
        let field = message.fields.get(place).ok_or(Malformed("a field is not known"))?;
        writer.with_slots(message, wire, |writer, slots| {
            writer.value_or_default(field, slots.at(writer, place), wire)
        })
    }

    /// `{"data": items, "meta": …}`: what a list says beside its items is in `meta`.
    fn page(
        &self,
        writer: &mut Writer<'_>,
        list: ListPlaces,
        wire: &[u8],
        request_id: &str,
        sign: impl FnOnce(&str) -> String,
    ) -> wire::Result<()> {
        let message = self.root()?;
        let fields = |place: usize| message.fields.get(place).ok_or(Malformed("no such field"));
        let (items, token) = (fields(list.items)?, fields(list.next_page_token)?);
        writer.with_slots(message, wire, |writer, slots| {
            writer.out.put(b"{\"data\":");
            writer.value_or_default(items, slots.at(writer, list.items), wire)?;
            writer.out.put(b",\"meta\":{\"request_id\":");
            writer.json(request_id)?;
            if let Some(token) = slots.at(writer, list.next_page_token).text(wire)? {
                writer.out.put(b",\"next_cursor\":");
                writer.json(sign(token))?;
            }
            let own = [items.number, token.number];
            for (place, field) in message.fields.iter().enumerate() {
                let slot = slots.at(writer, place);
                if field.name == TOTAL_SIZE {
                    writer.member_as(&Word::new(TOTAL), field, slot, wire)?;
                } else if !own.contains(&field.number) {
                    writer.member(field, slot, wire)?;
                }
            }
            writer.out.put(b"}}");
            Ok(())
        })
    }

    /// The `etag` of the resource that the reply is.
    fn etag(&self, whole: &[u8]) -> wire::Result<Option<String>> {
        let (mut message, mut wire) = (self.root()?, Cow::Borrowed(whole));
        if let Content::Field(place) = self.content {
            let Some(field) = message.fields.get(place) else { return Ok(None) };
            let (Shape::Single, plan::Kind::Message(inner)) = (field.shape, field.kind) else {
                return Ok(None);
            };
            let Some(inner) = self.plan.messages.get(inner) else { return Ok(None) };
            wire = wire::joined(whole, field.number)?.unwrap_or_default();
            message = inner;
        }
        let Some(field) = message.named("etag").and_then(|place| message.fields.get(place)) else {
            return Ok(None);
        };
        if field.kind != plan::Kind::String || field.shape != Shape::Single {
            return Ok(None);
        }
        let etag = wire::last(&wire, field.number)?.and_then(|etag| std::str::from_utf8(etag).ok());
        Ok(etag.filter(|etag| !etag.is_empty()).map(str::to_owned))
    }

    /// The reply, or a part of it, where it is raw bytes.
    pub(crate) fn part(&self, wire: &Bytes) -> Result<Option<Rendered>> {
        self.raw(wire).map_err(Error::internal)
    }

    fn raw(&self, wire: &Bytes) -> wire::Result<Option<Rendered>> {
        let body = match self.content {
            Content::Raw => wire.clone(),
            Content::RawField(number) => match wire::joined(wire, number)?.unwrap_or_default() {
                Cow::Borrowed(part) => wire.slice_ref(part),
                Cow::Owned(parts) => parts.into(),
            },
            Content::Whole | Content::Field(_) => return Ok(None),
        };
        let content_type = wire::last(&body, 1)?.unwrap_or_default();
        let content_type = String::from_utf8_lossy(content_type).into_owned();
        let data = wire::last(&body, 2)?.map(|data| body.slice_ref(data)).unwrap_or_default();
        Ok(Some(Rendered::Raw { content_type, data }))
    }
}
