//! A stream of replies over HTTP: lines of JSON, server-sent events, a JSON array, or the bytes of
//! `google.api.HttpBody`.
//!
//! Messages are written as they come, those that are ready at once in one piece, and no sooner than the
//! caller takes them: what waits, waits in the service. Before the first message a failure is an ordinary
//! refusal; after it, it is the last element, in the form of the others. Events begin without a message,
//! even without the service, once their first heartbeat is due.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt as _, Stream, StreamExt as _, TryFutureExt as _, stream};
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};
use mainstay::kernel::error::{Error, Result};
use mainstay::kernel::policy::EdgeStyle;
use mainstay::kernel::server::Ending;
use tokio::time::{Instant, Sleep};

use super::super::exchange::{Exchange, Sending};
use super::super::messages::Messages;
use super::super::reply::{Replies, declared};
use super::super::upstream::{self, Streamed};
use crate::envelope;
use crate::error::{self, Refused};
use crate::route::Route;
use crate::transcode::render::Rendered;

/// So much is joined into one piece at most.
const JOINED_BYTES: usize = 64 * 1024;

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
    let (headers, messages) = begin(exchange, sending, due).await?;
    let response = match form {
        None => download(route, messages).await,
        Some(form) => elements(exchange, route, form, messages, due).await,
    };
    let mut response = response.map_err(|error| error.with_headers(&headers))?;
    response.headers_mut().extend(headers);
    Ok(response)
}

/// Begins the call: what it declares before its messages, and them. A call that has not begun when it is
/// `due` goes on as its messages are asked for.
async fn begin(
    exchange: &Exchange,
    sending: Sending,
    due: Option<Instant>,
) -> Result<(HeaderMap, Messages)> {
    let begun = |reply: Streamed| {
        let headers = declared(&exchange.rpc, [&reply.metadata]);
        (headers, Replies::new(reply.parts).boxed())
    };
    let Some(due) = due else { return upstream::stream(exchange, sending).await.map(begun) };
    let owned = exchange.clone();
    let mut reply = async move { upstream::stream(&owned, sending).await }.boxed();
    match tokio::time::timeout_at(due, &mut reply).await {
        Ok(reply) => reply.map(begun),
        Err(_) => {
            let messages = reply.map_ok(|reply| Replies::new(reply.parts)).try_flatten_stream();
            Ok((HeaderMap::new(), messages.boxed()))
        }
    }
}

/// Bytes as they are, of the type that the first message says. They cannot say that something failed:
/// the body breaks off then.
async fn download(route: &Arc<Route>, mut messages: Messages) -> Result<Response> {
    let first = messages.next().await.transpose()?.unwrap_or_default();
    let (content_type, data) = part(route, &first)?;
    let route = Arc::clone(route);
    let rest = messages.map(move |message| {
        let data = message.and_then(|message| Ok(part(&route, &message)?.1));
        data.inspect_err(error::log_fault)
    });
    let body = stream::iter([Ok(data)]).chain(rest);
    let mut response = envelope::raw(&content_type, Bytes::new());
    *response.body_mut() = Body::from_stream(body);
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
    mut messages: Messages,
    due: Option<Instant>,
) -> Result<Response> {
    let mut writer = Writer {
        form,
        route: Arc::clone(route),
        request_id: exchange.call.request_id.clone(),
        written: 0,
    };
    let mut begun = form.prologue().to_vec();
    let done = match first(&mut messages, due).await {
        Some(Some(message)) => {
            writer.message(&message?, &mut begun)?;
            false
        }
        Some(None) => true,
        None => {
            begun.extend_from_slice(HEARTBEAT);
            false
        }
    };
    if done {
        begun.extend_from_slice(form.epilogue());
    }
    let silence = due.map(|_| Silence::new(exchange.edge.settings.stream_heartbeat));
    let draining =
        resumable(exchange, form).map(|ending| async move { ending.draining().await }.boxed());
    let body = Elements { messages, writer, begun, done, silence, draining };
    let mut response = Response::new(Body::from_stream(body));
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
async fn first(messages: &mut Messages, due: Option<Instant>) -> Option<Option<Result<Bytes>>> {
    match due {
        Some(due) => tokio::time::timeout_at(due, messages.next()).await.ok(),
        None => Some(messages.next().await),
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
    fn message(&mut self, message: &Bytes, out: &mut Vec<u8>) -> Result<()> {
        let policy = &self.route.rpc.policy;
        let element = self.route.reply.element(message, policy.style == EdgeStyle::Envelope)?;
        let id = match &policy.resumption {
            Some(resumption) if self.form == Form::Events => resumption.id.read(message)?,
            _ => None,
        };
        if let Some(id) = id.filter(|id| comes_back(id)) {
            out.extend_from_slice(b"id: ");
            out.extend_from_slice(id.as_bytes());
            out.push(b'\n');
        }
        self.element(&element, out);
        Ok(())
    }

    fn error(&mut self, error: &Error, out: &mut Vec<u8>) {
        error::log_fault(error);
        if self.form == Form::Events {
            out.extend_from_slice(b"event: error\n");
        }
        let element = Refused::new(error, &self.request_id).json().to_string();
        self.element(element.as_bytes(), out);
    }

    /// JSON has no line breaks of its own, so an element is a line.
    fn element(&mut self, element: &[u8], out: &mut Vec<u8>) {
        let (before, after): (&[u8], &[u8]) = match self.form {
            Form::Lines => (b"", b"\n"),
            Form::Events => (b"data: ", b"\n\n"),
            Form::Array if self.written == 0 => (b"", b""),
            Form::Array => (b",\n", b""),
        };
        for part in [before, element, after] {
            out.extend_from_slice(part);
        }
        self.written += 1;
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
    messages: Messages,
    writer: Writer,
    /// What was written before the reply began.
    begun: Vec<u8>,
    done: bool,
    silence: Option<Silence>,
    draining: Option<BoxFuture<'static, ()>>,
}

impl Elements {
    /// Appends what is there.
    fn poll_elements(&mut self, context: &mut Context<'_>, out: &mut Vec<u8>) {
        while !self.done && out.len() < JOINED_BYTES {
            let written = match self.messages.poll_next_unpin(context) {
                Poll::Pending => return,
                Poll::Ready(None) => {
                    self.done = true;
                    Ok(())
                }
                Poll::Ready(Some(message)) => {
                    message.and_then(|message| self.writer.message(&message, out))
                }
            };
            if let Err(error) = written {
                self.writer.error(&error, out);
                self.done = true;
            }
            if self.done {
                out.extend_from_slice(self.writer.form.epilogue());
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

impl Stream for Elements {
    type Item = std::result::Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let elements = &mut *self;
        let mut out = std::mem::take(&mut elements.begun);
        elements.poll_elements(context, &mut out);
        if out.is_empty() && !elements.done && elements.is_let_go(context) {
            elements.done = true;
        }
        if out.is_empty() && elements.is_silent(context) {
            out.extend_from_slice(HEARTBEAT);
        }
        if out.is_empty() {
            return if elements.done { Poll::Ready(None) } else { Poll::Pending };
        }
        if let Some(silence) = &mut elements.silence {
            silence.begin();
        }
        Poll::Ready(Some(Ok(out.into())))
    }
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
