//! Uploads: a body cut into messages as it arrives, and forms of several parts.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body_util::BodyExt as _;
use mainstay::kernel::error::{Error, INVALID_ARGUMENT, Result};
use multer::{Constraints, Multipart};
use prost_reflect::Kind;

use super::super::body;
use super::super::exchange::{Exchange, Sending};
use super::super::messages;
use crate::route::Target;
use crate::transcode::binding;
use crate::transcode::query::{self, Parameters};
use crate::transcode::request::Parts;

/// The most bytes of one message.
const CHUNK_BYTES: usize = 64 * 1024;

/// The most parts of a form.
const MOST_PARTS: usize = 100;

/// The body in chunks, each a message with what path and query say.
pub(super) fn messages(
    exchange: &mut Exchange,
    target: &Arc<Target>,
    body: Body,
) -> Result<Sending> {
    exchange.parameters = query::parse(exchange.head.uri.query())?;
    let most_bytes = exchange.rpc.policy.max_body_bytes;
    refuse_announced(&exchange.head.headers, most_bytes)?;
    let chunks = Chunks {
        body,
        rest: Bytes::new(),
        sent: false,
        left: most_bytes,
        most_bytes,
        timeout: exchange.edge.settings.body_timeout,
    };
    let (target, parameters) = (Arc::clone(target), exchange.parameters.clone());
    let content_type = super::content_type(exchange).map(str::to_owned);
    let sent = stream::try_unfold(chunks, async move |mut chunks| {
        Ok(chunks.next().await?.map(|chunk| (chunk, chunks)))
    });
    let sent = sent.map(move |chunk: Result<Bytes>| {
        target.route.binding.request(Parts {
            captures: &target.captures,
            parameters: &parameters,
            content_type: content_type.as_deref(),
            page_token: None,
            body: chunk?,
        })
    });
    Ok(Sending::Many(sent.boxed()))
}

fn refuse_announced(headers: &HeaderMap, most_bytes: usize) -> Result<()> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let announced: Option<usize> = announced.and_then(|length| length.parse().ok());
    match announced {
        Some(length) if length > most_bytes => Err(body::too_large(most_bytes)),
        _ => Ok(()),
    }
}

/// What has come of a body and is not sent yet.
struct Chunks {
    body: Body,
    rest: Bytes,
    sent: bool,
    /// How many bytes may still come.
    left: usize,
    most_bytes: usize,
    /// How long the next bytes may take.
    timeout: Duration,
}

impl Chunks {
    /// The next chunk; of an empty body one that is empty.
    async fn next(&mut self) -> Result<Option<Bytes>> {
        while self.rest.is_empty() {
            let frame = tokio::time::timeout(self.timeout, self.body.frame()).await;
            let data = match frame.map_err(|_| body::too_slow(self.timeout))? {
                None if self.sent => return Ok(None),
                None => break,
                Some(frame) => frame.map_err(|_| messages::broken())?.into_data(),
            };
            let data = data.unwrap_or_default();
            self.left = self
                .left
                .checked_sub(data.len())
                .ok_or_else(|| body::too_large(self.most_bytes))?;
            self.rest = data;
        }
        self.sent = true;
        Ok(Some(self.rest.split_to(self.rest.len().min(CHUNK_BYTES))))
    }
}

/// A form (RFC 7578): its parts of text fill fields by their names, as a query does, its file is the body.
pub(super) struct FormData {
    /// The parts of text.
    pub(super) parameters: Parameters,
    /// The file's media type.
    pub(super) content_type: String,
    /// The file.
    pub(super) file: Bytes,
}

/// The boundary of a form for a route whose body is bytes; `None` where the body is no form, or where
/// it is JSON that is wanted.
pub(super) fn boundary(target: &Target, content_type: Option<&str>) -> Option<String> {
    let wanted = match &target.route.binding.body {
        binding::Body::Raw | binding::Body::RawField(_) => true,
        binding::Body::Field(field) => field.kind() == Kind::Bytes && !field.is_list(),
        binding::Body::Nothing | binding::Body::Message => false,
    };
    content_type.filter(|_| wanted).and_then(|stated| multer::parse_boundary(stated).ok())
}

/// Reads a form.
pub(super) async fn form(body: Bytes, boundary: String) -> Result<FormData> {
    let source = stream::iter([Ok::<_, std::convert::Infallible>(body)]);
    let mut parts = Multipart::with_constraints(source, boundary, Constraints::new());
    let (mut parameters, mut file) = (Parameters::new(), None);
    while let Some(part) = parts.next_field().await.map_err(|_| malformed())? {
        if part.file_name().is_none() {
            let name = part.name().unwrap_or_default().to_owned();
            parameters.push((name, part.text().await.map_err(|_| malformed())?));
        } else if file.is_none() {
            let stated = part.content_type().map(ToString::to_string).unwrap_or_default();
            file = Some((stated, part.bytes().await.map_err(|_| malformed())?));
        } else {
            return Err(Error::new(INVALID_ARGUMENT, "the form has more than one file"));
        }
        if parameters.len() > MOST_PARTS {
            let message = format!("the form has more than {MOST_PARTS} parts");
            return Err(Error::new(INVALID_ARGUMENT, message));
        }
    }
    let missing = || Error::new(INVALID_ARGUMENT, "the form has no part with a file name");
    let (content_type, file) = file.ok_or_else(missing)?;
    Ok(FormData { parameters, content_type, file })
}

fn malformed() -> Error {
    Error::new(INVALID_ARGUMENT, "the body is no form that could be read")
}
