//! Uploads: a body or the file of a form, cut into messages as it arrives, and forms that are read whole.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http_body_util::BodyExt as _;
use mainstay::kernel::error::{Error, INVALID_ARGUMENT, Result};
use multer::{Constraints, Field, Multipart};
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

/// The part of a form that says the charset of its texts, and fills no field.
const CHARSET: &str = "_charset_";

/// The most parts of a form.
const MOST_PARTS: usize = 100;

/// The body in chunks, each a message with what path and query say. Of a form the file is what is sent;
/// what else it says fills fields of each message, and so stands before the file.
pub(super) async fn messages(
    exchange: &mut Exchange,
    target: &Arc<Target>,
    body: Body,
) -> Result<Sending> {
    let mut parameters = query::parse(exchange.head.uri.query())?;
    let most_bytes = exchange.rpc.policy.max_body_bytes;
    body::refuse_announced(&exchange.head.headers, most_bytes)?;
    let incoming = Incoming {
        body,
        left: most_bytes,
        most_bytes,
        timeout: exchange.edge.settings.body_timeout,
    };
    let mut content_type = super::content_type(exchange).map(str::to_owned);
    let source = match boundary(target, content_type.as_deref()) {
        None => Source::Body(incoming),
        Some(boundary) => {
            let (form, of_file) = FormFile::begin(incoming, boundary, &mut parameters).await?;
            content_type = Some(of_file);
            Source::Form(Box::new(form))
        }
    };
    exchange.parameters = parameters;
    let chunks = Chunks { source, rest: Bytes::new(), sent: false };
    let (target, parameters) = (Arc::clone(target), exchange.parameters.clone());
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
            is_file: false,
        })
    });
    Ok(Sending::Many(sent.boxed()))
}

/// What has come and is not sent yet.
struct Chunks {
    source: Source,
    rest: Bytes,
    sent: bool,
}

/// Where the bytes come from.
enum Source {
    /// The body.
    Body(Incoming),
    /// The file of a form.
    Form(Box<FormFile>),
}

impl Chunks {
    /// The next chunk; of what is empty one that is empty.
    async fn next(&mut self) -> Result<Option<Bytes>> {
        while self.rest.is_empty() {
            let data = match &mut self.source {
                Source::Body(body) => body.next().await?,
                Source::Form(form) => form.next().await?,
            };
            match data {
                None if self.sent => return Ok(None),
                None => break,
                Some(data) => self.rest = data,
            }
        }
        self.sent = true;
        Ok(Some(self.rest.split_to(self.rest.len().min(CHUNK_BYTES))))
    }
}

/// A body as it arrives, within its limits.
struct Incoming {
    body: Body,
    /// How many bytes may still come.
    left: usize,
    most_bytes: usize,
    /// How long the next bytes may take.
    timeout: Duration,
}

impl Incoming {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        let frame = tokio::time::timeout(self.timeout, self.body.frame()).await;
        let Some(frame) = frame.map_err(|_| body::too_slow(self.timeout))? else { return Ok(None) };
        let data = frame.map_err(|_| messages::broken())?.into_data().unwrap_or_default();
        let left = self.left.checked_sub(data.len());
        self.left = left.ok_or_else(|| body::too_large(self.most_bytes))?;
        Ok(Some(data))
    }
}

/// A form of which the file is read as it arrives.
struct FormFile {
    parts: Multipart<'static>,
    /// The file, until its end.
    file: Option<Field<'static>>,
}

impl FormFile {
    /// Reads a form up to its file: the form, and the file's media type.
    async fn begin(
        body: Incoming,
        boundary: String,
        parameters: &mut Parameters,
    ) -> Result<(Self, String)> {
        let source = stream::try_unfold(body, async move |mut body| {
            Ok::<_, Error>(body.next().await?.map(|data| (data, body)))
        });
        let constraints = Constraints::new();
        let mut parts = Multipart::with_constraints(source, boundary, constraints);
        for _ in 0..=MOST_PARTS {
            let part = parts.next_field().await.map_err(fault)?.ok_or_else(without_file)?;
            if part.file_name().is_some() {
                let media_type = media_type(&part);
                return Ok((Self { parts, file: Some(part) }, media_type));
            }
            parameters.extend(text(part).await?);
        }
        Err(too_many_parts())
    }

    /// What comes next of the file, after which nothing may follow.
    async fn next(&mut self) -> Result<Option<Bytes>> {
        let Some(file) = &mut self.file else { return Ok(None) };
        if let Some(chunk) = file.chunk().await.map_err(fault)? {
            return Ok(Some(chunk));
        }
        self.file = None;
        match self.parts.next_field().await.map_err(fault)? {
            None => Ok(None),
            Some(part) if part.file_name().is_some() => Err(second_file()),
            Some(_) => {
                let message = "the form says more after its file, which is sent on as it arrives: \
                               put the file last";
                Err(Error::new(INVALID_ARGUMENT, message))
            }
        }
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
    while let Some(part) = parts.next_field().await.map_err(fault)? {
        if part.file_name().is_none() {
            parameters.extend(text(part).await?);
        } else if file.is_none() {
            file = Some((media_type(&part), part.bytes().await.map_err(fault)?));
        } else {
            return Err(second_file());
        }
        if parameters.len() > MOST_PARTS {
            return Err(too_many_parts());
        }
    }
    let (content_type, file) = file.ok_or_else(without_file)?;
    Ok(FormData { parameters, content_type, file })
}

/// The media type of a file; one that states none is text (RFC 7578, section 4.4).
fn media_type(part: &Field<'_>) -> String {
    part.content_type().map_or_else(|| "text/plain".to_owned(), ToString::to_string)
}

/// The name and the text of a part; absent where the part says the charset of the others (RFC 7578,
/// section 4.6).
async fn text(part: Field<'_>) -> Result<Option<(String, String)>> {
    let name = part.name().unwrap_or_default().to_owned();
    let is_foreign = charset(&part).is_some_and(|charset| !is_utf8(charset));
    let bytes = part.bytes().await.map_err(fault)?;
    // What other charsets have in common with UTF-8 is printable ASCII.
    let fits = |text: &String| !is_foreign || text.is_ascii() && !text.contains('\0');
    let text = String::from_utf8(bytes.into()).ok().filter(fits);
    let text = text.ok_or_else(|| Error::invalid(&*name, "is not UTF-8 text"))?;
    match &*name {
        CHARSET if is_utf8(&text) => Ok(None),
        CHARSET => Err(Error::invalid(CHARSET, "must be UTF-8: forms in others are not read")),
        _ => Ok(Some((name, text))),
    }
}

/// The charset that a part states for itself.
fn charset<'p>(part: &'p Field<'_>) -> Option<&'p str> {
    part.content_type()?.get_param("charset").map(|charset| charset.as_str())
}

fn is_utf8(charset: &str) -> bool {
    charset.eq_ignore_ascii_case("utf-8")
}

/// What is wrong with the body, or else with the form.
fn fault(error: multer::Error) -> Error {
    let malformed = || Error::new(INVALID_ARGUMENT, "the body is no form that could be read");
    match error {
        multer::Error::StreamReadFailed(fault) => {
            fault.downcast::<Error>().map_or_else(|_| malformed(), |fault| *fault)
        }
        _ => malformed(),
    }
}

fn without_file() -> Error {
    Error::new(INVALID_ARGUMENT, "the form has no part with a file name")
}

fn second_file() -> Error {
    Error::new(INVALID_ARGUMENT, "the form has more than one file")
}

fn too_many_parts() -> Error {
    Error::new(INVALID_ARGUMENT, format!("the form has more than {MOST_PARTS} parts"))
}
