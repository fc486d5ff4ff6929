//! A stream of replies over HTTP: lines of JSON, server-sent events, a JSON array, or the bytes of
//! `google.api.HttpBody`.
//!
//! Messages are written as they come, those that are ready at once in one piece, and no sooner than the
//! caller takes them: what waits, waits in the service. Before the first message a failure is an ordinary
//! refusal; after it, it is the last element, in the form of the others. Events begin without a message,
//! even without the service, once their first heartbeat is due. What the contract declares and the service
//! tells after that comes in trailers (RFC 9110, section 6.5), for who takes them.

use std::convert::Infallible;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, stream};
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, TE, TRAILER};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Frame;
use http_body_util::StreamBody;
use mainstay::kernel::error::{Error, Result};
use mainstay::kernel::policy::EdgeStyle;
use mainstay::kernel::server::Ending;
use tokio::time::{Instant, Sleep};

use super::super::exchange::{Exchange, Sending};
use super::super::reply::{Replies, declared};
use super::super::upstream::{self, Streamed};
use crate::envelope;
use crate::error::{self, Refused};
use crate::route::{Route, Rpc};
use crate::transcode::render::{Rendered, Text};

/// When so much is joined, it is one piece. Each that is written wakes whoever reads: with pieces of 64 KiB
/// a stream took a quarter more of the processor.
const JOINED_BYTES: usize = 250 * 1024;
/// Room for a piece, which need not grow then.
const PIECE_BYTES: usize = 256 * 1024;
/// How much longer JSON is than the wire, about.
const GROWTH: usize = 2;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Tells nginx to hand on what comes when it comes.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// How messages are set apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// One a line.
    Lines,
    /// Server-sent events.
    Events,
    /// Items of an array.
    Array,
}

/// Tells the service which message the caller saw last, where the contract has a field for that. The
/// last occurrence of a field counts, so that it can simply be added.
pub(super) fn resume(exchange: &mut Exchange) {
    let Some(resumption) = &exchange.rpc.policy.resumption else { return };
    // In UTF-8, as HTML has it, which is more than a header's text is elsewhere.
    let seen = exchange.head.headers.get(LAST_EVENT_ID).map(HeaderValue::as_bytes);
    let seen = seen.and_then(|id| std::str::from_utf8(id).ok());
    let Some(seen) = seen.filter(|id| !id.is_empty()) else { return };
    let mut message = exchange.message.to_vec();
    prost::encoding::string::encode(resumption.resume_field, &seen.to_owned(), &mut message);
    exchange.message = message.into();
}

/// Makes the call and begins its reply.
pub(super) async fn call(
    exchange: &Exchange,
    route: &Arc<Route>,
    sending: Sending,
) -> Result<Response> {
    let form = (!route.binding.replies_raw()).then(|| Form::of(&exchange.head.headers));
    let heartbeat = exchange.edge.settings.stream_heartbeat;
    let due = (form == Some(Form::Events)).then(|| Instant::now() + heartbeat);
    let (headers, replies) = begin(exchange, sending, due).await?;
    let trailers = Trailers::of(route, &exchange.head.headers);
    let announced = trailers.announced();
    let response = match form {
        None => download(route, replies, trailers).await,
        Some(form) => elements(exchange, route, form, replies, trailers, due).await,
    };
    let mut response = response.map_err(|error| error.with_headers(&headers))?;
    response.headers_mut().extend(headers);
    response.headers_mut().extend(announced.map(|names| (TRAILER, names)));
    Ok(response)
}

/// Begins the call: what it declares before its messages, and them. A call that has not begun when it is
/// `due` goes on as its messages are asked for.
async fn begin(
    exchange: &Exchange,
    sending: Sending,
    due: Option<Instant>,
) -> Result<(HeaderMap, Replies)> {
    let begun =
        |reply: Streamed| (declared(&exchange.rpc, [&reply.metadata]), Replies::new(reply.parts));
    let Some(due) = due else { return upstream::stream(exchange, sending).await.map(begun) };
    let owned = exchange.clone();
    let mut reply = async move { upstream::stream(&owned, sending).await }.boxed();
    match tokio::time::timeout_at(due, &mut reply).await {
        Ok(reply) => reply.map(begun),
        Err(_) => Ok((HeaderMap::new(), Replies::pending(reply))),
    }
}

/// Bytes as they are, of the type that the first message says. They cannot say that something failed:
/// the body breaks off then.
async fn download(
    route: &Arc<Route>,
    mut replies: Replies,
    mut trailers: Trailers,
) -> Result<Response> {
    let first = replies.next().await.transpose()?.unwrap_or_default();
    let (content_type, data) = part(route, &first)?;
    let mut first = Some(data);
    let route = Arc::clone(route);
    let frames = stream::poll_fn(move |context| {
        if let Some(data) = first.take() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        let Some(message) = ready!(replies.poll_next_unpin(context)) else {
            return Poll::Ready(trailers.take(&replies, None).map(Ok));
        };
        let data = message.and_then(|message| Ok(part(&route, &message)?.1));
        Poll::Ready(Some(data.map(Frame::data).inspect_err(error::log_fault)))
    });
    let mut response = envelope::raw(&content_type, Bytes::new());
    *response.body_mut() = Body::new(StreamBody::new(frames));
    Ok(response)
}

fn part(route: &Route, message: &Bytes) -> Result<(String, Bytes)> {
    match route.reply.part(message)? {
        Some(Rendered::Raw { content_type, data }) => Ok((content_type, data)),
        _ => Err(Error::internal(anyhow::anyhow!("the reply is no google.api.HttpBody"))),
    }
}

async fn elements(
    exchange: &Exchange,
    route: &Arc<Route>,
    form: Form,
    mut replies: Replies,
    trailers: Trailers,
    due: Option<Instant>,
) -> Result<Response> {
    let mut writer = Writer {
        form,
        route: Arc::clone(route),
        request_id: exchange.call.request_id.clone(),
        written: 0,
    };
    let mut begun = Text::default();
    begun.put(form.prologue());
    let done = match first(&mut replies, due).await {
        Some(Some(message)) => {
            let message = message?;
            writer.message(&message, 0..message.len(), &mut begun)?;
            false
        }
        Some(None) => true,
        None => {
            begun.put(HEARTBEAT);
            false
        }
    };
    if done {
        begun.put(form.epilogue());
    }
    let silence = due.map(|_| Silence::new(exchange.edge.settings.stream_heartbeat));
    let draining =
        resumable(exchange, form).map(|ending| async move { ending.draining().await }.boxed());
    let body =
        Elements { replies, writer, begun, done, failure: None, trailers, silence, draining };
    let mut response = Response::new(Body::new(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(form.media_type()));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    Ok(response)
}

/// Who listens to events that can be taken up again is let go when the gateway ends: it connects to another
/// one, and goes on there.
fn resumable(exchange: &Exchange, form: Form) -> Option<Ending> {
    let resumes = form == Form::Events && exchange.rpc.policy.resumption.is_some();
    exchange.head.extensions.get::<Ending>().filter(|_| resumes).cloned()
}

/// The first message, `Some(None)` at the end; `None` where a sign of life is due before it.
async fn first(replies: &mut Replies, due: Option<Instant>) -> Option<Option<Result<Bytes>>> {
    match due {
        Some(due) => tokio::time::timeout_at(due, replies.next()).await.ok(),
        None => Some(replies.next().await),
    }
}

/// What the contract declares of what a call tells when its reply has begun.
struct Trailers {
    rpc: Arc<Rpc>,
    /// Whether the caller takes them, and they are still to come.
    wanted: bool,
}

impl Trailers {
    /// For who says `TE: trailers` (RFC 9110, section 10.1.4); others may lose them, or choke on them.
    fn of(route: &Route, headers: &HeaderMap) -> Self {
        let values = headers.get_all(TE).iter().filter_map(|value| value.to_str().ok());
        let mut codings = values.flat_map(|value| value.split(','));
        let taken = codings.any(|coding| coding.trim().eq_ignore_ascii_case("trailers"));
        let rpc = Arc::clone(&route.rpc);
        Self { wanted: taken && !rpc.policy.response_headers.is_empty(), rpc }
    }

    /// Their names, for who reads the headers; over HTTP/1.1 no others are sent.
    fn announced(&self) -> Option<HeaderValue> {
        let names = self.rpc.policy.response_headers.iter().map(HeaderName::as_str);
        self.wanted.then(|| HeaderValue::try_from(names.collect::<Vec<_>>().join(", ")).ok())?
    }

    /// The last frame, once.
    fn take(&mut self, replies: &Replies, failure: Option<&Error>) -> Option<Frame<Bytes>> {
        if !std::mem::take(&mut self.wanted) {
            return None;
        }
        let told = [Some(replies.late()), replies.trailers(), failure.map(Error::headers)];
        let none = HeaderMap::new();
        let told = declared(&self.rpc, told.map(|told| told.unwrap_or(&none)));
        (!told.is_empty()).then(|| Frame::trailers(told))
    }
}

/// A comment, which every reader of events skips.
const HEARTBEAT: &[u8] = b":\n\n";

impl Form {
    /// What `Accept` (RFC 9110, section 12.5.1) weighs highest, of equals the first. An array, if it
    /// names none of them.
    fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let mut best = (0.0, Self::Array);
        for range in values.flat_map(|value| value.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let form = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
                "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Self::Lines,
                "text/event-stream" => Self::Events,
                "application/json" | "application/*" | "*/*" => Self::Array,
                _ => continue,
            };
            let weight = parts.find_map(|part| part.strip_prefix("q=")?.trim().parse().ok());
            let weight: f32 = weight.unwrap_or(1.0);
            if weight > best.0 {
                best = (weight, form);
            }
        }
        best.1
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Lines => "application/x-ndjson",
            Self::Events => "text/event-stream",
            Self::Array => "application/json",
        }
    }

    fn prologue(self) -> &'static [u8] {
        if self == Self::Array { b"[" } else { b"" }
    }

    fn epilogue(self) -> &'static [u8] {
        if self == Self::Array { b"]" } else { b"" }
    }
}

/// Writes elements in their form.
struct Writer {
    form: Form,
    route: Arc<Route>,
    request_id: String,
    written: usize,
}

impl Writer {
    /// Appends the message that stands at `place` in `bytes`. What is appended of one that fails is worthless.
    fn message(&mut self, bytes: &[u8], place: Range<usize>, out: &mut Text) -> Result<()> {
        let policy = &self.route.rpc.policy;
        let id = match &policy.resumption {
            Some(resumption) if self.form == Form::Events => {
                resumption.id.read(bytes.get(place.clone()).unwrap_or_default())?
            }
            _ => None,
        };
        if let Some(id) = id.filter(|id| comes_back(id)) {
            for part in [b"id: ", id.as_bytes(), b"\n"] {
                out.put(part);
            }
        }
        let (before, after) = self.around();
        out.put(before);
        let enveloped = policy.style == EdgeStyle::Envelope;
        self.route.reply.element(bytes, place, enveloped, out)?;
        out.put(after);
        self.written += 1;
        Ok(())
    }

    fn error(&mut self, error: &Error, out: &mut Text) {
        error::log_fault(error);
        if self.form == Form::Events {
            out.put(b"event: error\n");
        }
        let element = Refused::new(error, &self.request_id).json().to_string();
        let (before, after) = self.around();
        for part in [before, element.as_bytes(), after] {
            out.put(part);
        }
        self.written += 1;
    }

    /// What stands before an element and after it. JSON has no line breaks of its own, so it is a line.
    fn around(&self) -> (&'static [u8], &'static [u8]) {
        match self.form {
            Form::Lines => (b"", b"\n"),
            Form::Events => (b"data: ", b"\n\n"),
            Form::Array if self.written == 0 => (b"", b""),
            Form::Array => (b",\n", b""),
        }
    }
}

/// Whether an id would come back in a header as it is; one that would not, is none. Spaces around a
/// header's value are not part of it, and control characters cannot be.
fn comes_back(id: &str) -> bool {
    let is_trimmed = id.trim_matches([' ', '\t']).len() == id.len();
    let is_text = |byte: u8| byte == b'\t' || !byte.is_ascii_control();
    !id.is_empty() && is_trimmed && id.bytes().all(is_text)
}

/// How long nothing was written.
struct Silence {
    longest: Duration,
    over: Pin<Box<Sleep>>,
}

impl Silence {
    fn new(longest: Duration) -> Self {
        Self { longest, over: Box::pin(tokio::time::sleep(longest)) }
    }

    fn begin(&mut self) {
        self.over.as_mut().reset(Instant::now() + self.longest);
    }
}

/// The body: elements as the messages come.
struct Elements {
    replies: Replies,
    writer: Writer,
    /// What was written before the reply began.
    begun: Text,
    done: bool,
    /// Why the call failed, if it has.
    failure: Option<Error>,
    trailers: Trailers,
    silence: Option<Silence>,
    draining: Option<BoxFuture<'static, ()>>,
}

impl Elements {
    /// Appends what is there.
    fn poll_elements(&mut self, context: &mut Context<'_>, out: &mut Text) {
        while !self.done && out.len() < JOINED_BYTES {
            let length = out.len();
            let written = match self.replies.poll_advance(context) {
                Poll::Pending => return,
                Poll::Ready(None) => {
                    self.done = true;
                    Ok(())
                }
                Poll::Ready(Some(next)) => next.and_then(|()| {
                    let (bytes, place) = self.replies.place();
                    out.reserve(room(length, bytes.len() - place.start));
                    self.writer.message(bytes, place, out)
                }),
            };
            if let Err(error) = written {
                out.truncate(length);
                self.writer.error(&error, out);
                self.failure = Some(error);
                self.done = true;
            }
            if self.done {
                out.put(self.writer.form.epilogue());
            }
        }
    }

    /// Whether the listener is to go: nothing is ready for it, and the gateway ends.
    fn is_let_go(&mut self, context: &mut Context<'_>) -> bool {
        self.draining.as_mut().is_some_and(|draining| draining.poll_unpin(context).is_ready())
    }

    fn is_silent(&mut self, context: &mut Context<'_>) -> bool {
        let silence = self.silence.as_mut().filter(|_| !self.done);
        silence.is_some_and(|silence| silence.over.poll_unpin(context).is_ready())
    }
}

impl http_body::Body for Elements {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Infallible>>> {
        let elements = &mut *self;
        let mut out = std::mem::take(&mut elements.begun);
        elements.poll_elements(context, &mut out);
        if out.is_empty() && !elements.done && elements.is_let_go(context) {
            elements.done = true;
        }
        if out.is_empty() && elements.is_silent(context) {
            out.put(HEARTBEAT);
        }
        if !out.is_empty() {
            if let Some(silence) = &mut elements.silence {
                silence.begin();
            }
            return Poll::Ready(Some(Ok(Frame::data(out.into_bytes().into()))));
        }
        if !elements.done {
            return Poll::Pending;
        }
        Poll::Ready(elements.trailers.take(&elements.replies, elements.failure.as_ref()).map(Ok))
    }

    /// Who knows that nothing comes writes the end together with the last piece.
    fn is_end_stream(&self) -> bool {
        self.done && self.begun.is_empty() && !self.trailers.wanted
    }
}

/// How much room is made for messages of so many bytes, where so much is written already: in a piece that
/// may become a whole one, room for that.
fn room(written: usize, messages: usize) -> usize {
    let bytes = messages * GROWTH;
    if written + bytes < PIECE_BYTES / 8 { bytes } else { PIECE_BYTES.saturating_sub(written) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_what_is_asked_for() {
        let rows = [
            ("", Form::Array),
            ("*/*", Form::Array),
            ("text/html", Form::Array),
            ("application/json", Form::Array),
            ("application/x-ndjson", Form::Lines),
            ("application/jsonl;charset=utf-8", Form::Lines),
            ("Text/Event-Stream", Form::Events),
            ("application/json;q=0.5, text/event-stream;q=0.9", Form::Events),
            ("text/event-stream;q=0", Form::Array),
            ("application/x-ndjson, */*", Form::Lines),
        ];
        for (accept, form) in rows {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(Form::of(&headers), form, "{accept}");
        }
    }

    #[test]
    fn an_id_is_sent_only_if_it_would_come_back() {
        for id in ["1", "é1", "a b", "a\tb", "\u{a0}x"] {
            assert!(comes_back(id), "{id:?}");
        }
        for id in ["", " ", " x", "x ", "\tx", "a\nb", "a\rb", "a\0b", "a\u{7f}b"] {
            assert!(!comes_back(id), "{id:?}");
        }
    }
}
