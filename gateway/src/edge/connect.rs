//! The Connect protocol: unary calls as plain POST or GET, streams in frames, errors as JSON.
//! <https://connectrpc.com/docs/protocol>

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use bytes::{BufMut as _, Bytes, BytesMut};
use futures::{Stream, StreamExt as _};
use http::header::{ACCEPT_ENCODING, ALLOW, CONTENT_ENCODING, CONTENT_TYPE, ETAG, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use mainstay::kernel::channel::framed;
use mainstay::kernel::error::{Error, Result, UNIMPLEMENTED};
use mainstay::kernel::policy::Idempotency;
use prost::Message as _;
use serde_json::{Map, Value as Json, json};
use tonic::Code;

use super::exchange::{Exchange, Sending};
use super::front::{Codec, Connect};
use super::idempotency::Keyed;
use super::messages::Encoding;
use super::reply::{Replies, declared};
use super::{body, caching, messages, upstream};
use crate::error::{self, ALLOW_DETAIL, METHOD_NOT_ALLOWED, RefusedCode, UNSUPPORTED_MEDIA_TYPE};
use crate::route::Rpc;
use crate::transcode::query::{self, Parameters};

/// The flag of the frame that ends a stream.
const END_STREAM: u8 = 2;

const CONNECT_CONTENT_ENCODING: HeaderName = HeaderName::from_static("connect-content-encoding");
const CONNECT_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("connect-accept-encoding");
const IDENTITY: HeaderValue = HeaderValue::from_static("identity");

/// How the message of a GET is written; `None` where the query is none of Connect.
pub(super) fn codec_of_query(query: Option<&str>) -> Option<Codec> {
    let parameters = query::parse(query).ok()?;
    if find(&parameters, "connect") != Some("v1") {
        return None;
    }
    match find(&parameters, "encoding") {
        Some("proto") => Some(Codec::Proto),
        Some("json") => Some(Codec::Json),
        _ => Some(Codec::Other),
    }
}

fn find<'p>(parameters: &'p Parameters, wanted: &str) -> Option<&'p str> {
    let mut found = parameters.iter().filter(|(name, _)| name == wanted);
    found.next().map(|(_, value)| value.as_str())
}

/// Refuses what does not fit the RPC, and messages that are compressed.
pub(super) fn check(
    connect: Connect,
    rpc: &Rpc,
    method: &Method,
    headers: &HeaderMap,
) -> Result<()> {
    let streaming = rpc.policy.is_streaming();
    if connect.codec == Codec::Other || connect.streaming != streaming {
        let right = if streaming { "application/connect+" } else { "application/" };
        let message = format!("this call takes {right}proto or {right}json");
        return Err(Error::new(UNSUPPORTED_MEDIA_TYPE, message));
    }
    if *method == Method::GET && rpc.policy.idempotency != Idempotency::NoSideEffects {
        let message = "a call that changes something is no GET";
        return Err(Error::new(METHOD_NOT_ALLOWED, message).detail(ALLOW_DETAIL, "POST"));
    }
    if connect.codec == Codec::Json && rpc.json.is_none() {
        let message = "the messages of this call have no form in JSON";
        return Err(Error::new(UNIMPLEMENTED, message));
    }
    let name = if connect.streaming { CONNECT_CONTENT_ENCODING } else { CONTENT_ENCODING };
    match headers.get(name) {
        Some(encoding) if encoding != IDENTITY => Err(compressed()),
        _ => Ok(()),
    }
}

/// What is said of messages in another encoding than is taken. It lists what is, as the protocol asks.
fn compressed() -> Error {
    Error::new(UNIMPLEMENTED, "compressed messages are not taken: encodings are identity")
}

/// Reads the request's message or messages.
pub(super) async fn message(
    exchange: &mut Exchange,
    connect: Connect,
    body: Body,
) -> Result<Sending> {
    let limit = exchange.rpc.policy.max_body_bytes;
    let rpc = Arc::clone(&exchange.rpc);
    let wire = move |message: Bytes| match (&rpc.json, connect.codec) {
        (Some(json), Codec::Json) => json.request.message(&message),
        _ => Ok(message),
    };
    if exchange.rpc.policy.client_streaming {
        let sent = messages::stream(body, limit, Encoding::Identity)
            .map(move |message| message.and_then(&wire));
        return Ok(Sending::Many(sent.boxed()));
    }
    let timeout = exchange.edge.settings.body_timeout;
    let message = if exchange.head.method == Method::GET {
        of_query(&query::parse(exchange.head.uri.query())?)?
    } else if connect.streaming {
        let whole = limit + messages::PREFIX_BYTES;
        let body = body::read(&exchange.head.headers, body, whole, timeout).await?;
        messages::only(body, limit, Encoding::Identity)?
    } else {
        body::read(&exchange.head.headers, body, limit, timeout).await?
    };
    exchange.message = wire(message)?;
    exchange.keyed = Keyed::of(exchange, &exchange.message)?.map(Arc::new);
    Ok(Sending::One)
}

/// The message of a GET.
fn of_query(parameters: &Parameters) -> Result<Bytes> {
    let find = |wanted: &str| find(parameters, wanted);
    if find("compression").is_some_and(|compression| compression != "identity") {
        return Err(compressed());
    }
    let text = find("message").ok_or_else(|| Error::invalid("message", "is missing"))?;
    if find("base64") != Some("1") {
        return Ok(Bytes::copy_from_slice(text.as_bytes()));
    }
    let decoded = URL_SAFE_NO_PAD.decode(text.trim_end_matches('='));
    decoded.map(Bytes::from).map_err(|_| Error::invalid("message", "is not base64url"))
}

/// Makes the call and renders its reply.
pub(super) async fn call(
    exchange: &Exchange,
    connect: Connect,
    sending: Sending,
) -> Result<Response> {
    let rpc = &exchange.rpc;
    if connect.streaming {
        let reply = upstream::stream(exchange, sending).await?;
        let headers = declared(rpc, [&reply.metadata]);
        let replies = Replies::new(reply.parts);
        let body = Frames { rpc: Arc::clone(rpc), codec: connect.codec, replies: Some(replies) };
        return Ok(response(connect, headers, Body::from_stream(body)));
    }
    let reply = upstream::unary(exchange).await?;
    let mut headers = declared(rpc, [&reply.metadata]);
    headers.extend(as_trailers(&declared(rpc, [&reply.trailers])));
    if exchange.head.method == Method::GET && !headers.contains_key(ETAG) {
        headers.extend(caching::weak_tag(&reply.message).map(|tag| (ETAG, tag)));
    }
    let body = written(rpc, connect.codec, reply.message)?;
    Ok(response(connect, headers, Body::from(body)))
}

/// Trailers of a unary reply are headers with a prefix.
fn as_trailers(trailers: &HeaderMap) -> HeaderMap {
    let named = trailers.iter().filter_map(|(name, value)| {
        let name = HeaderName::try_from(format!("trailer-{name}")).ok()?;
        Some((name, value.clone()))
    });
    named.collect()
}

fn written(rpc: &Rpc, codec: Codec, message: Bytes) -> Result<Bytes> {
    let Some(json) = rpc.json.as_ref().filter(|_| codec == Codec::Json) else { return Ok(message) };
    let mut text = Vec::new();
    json.reply.write(&message, &mut text)?;
    Ok(text.into())
}

fn response(connect: Connect, headers: HeaderMap, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.headers_mut() = headers;
    let media_type = match (connect.streaming, connect.codec) {
        (true, Codec::Proto) => "application/connect+proto",
        (true, Codec::Json) => "application/connect+json",
        (false, Codec::Proto) => "application/proto",
        // A refusal of what is in another codec is JSON, as each refusal of a unary call.
        (_, Codec::Json | Codec::Other) => "application/json",
    };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// A refusal: of a unary call by status and JSON, of a stream by its last frame.
pub(super) fn refusal(error: &Error, connect: Connect) -> Response {
    error::log_fault(error);
    let mut response = if connect.streaming {
        response(connect, HeaderMap::new(), Body::from(end(Some(error), error.headers())))
    } else {
        unary_refusal(error)
    };
    let taken = if connect.streaming { CONNECT_ACCEPT_ENCODING } else { ACCEPT_ENCODING };
    response.headers_mut().insert(taken, IDENTITY);
    response.extensions_mut().insert(RefusedCode::of(error));
    response
}

fn unary_refusal(error: &Error) -> Response {
    let connect = Connect { codec: Codec::Json, streaming: false };
    let body = Body::from(described(error).to_string());
    let mut response = response(connect, error.headers().clone(), body);
    *response.status_mut() = status(error);
    let headers = response.headers_mut();
    if let Some(allow) = error.details().get(ALLOW_DETAIL).and_then(|allow| allow.parse().ok()) {
        headers.insert(ALLOW, allow);
    }
    if let Some(after) = error.retry_after_hint() {
        headers.insert(RETRY_AFTER, HeaderValue::from(error::whole_seconds(after)));
    }
    response
}

/// The HTTP status of a code, by the protocol's table; it names two besides, for what is no call at
/// all.
fn status(error: &Error) -> http::StatusCode {
    let code = error.code();
    let stated = [METHOD_NOT_ALLOWED.http, UNSUPPORTED_MEDIA_TYPE.http].contains(&code.http);
    let status = if stated { code.http } else { mainstay::kernel::error::http_status(code.grpc) };
    http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR)
}

/// `{"code", "message", "details"}`, the details as gRPC has them.
fn described(error: &Error) -> Json {
    let status = error.to_status();
    let details = tonic_types::pb::Status::decode(status.details()).unwrap_or_default().details;
    let details: Vec<Json> = details
        .into_iter()
        .map(|detail| {
            let name = detail.type_url.rsplit('/').next().unwrap_or_default();
            json!({ "type": name, "value": STANDARD_NO_PAD.encode(&detail.value) })
        })
        .collect();
    json!({ "code": name(status.code()), "message": status.message(), "details": details })
}

/// The protocol's name of a code.
fn name(code: Code) -> &'static str {
    match code {
        Code::Cancelled => "canceled",
        Code::Ok | Code::Unknown => "unknown",
        Code::InvalidArgument => "invalid_argument",
        Code::DeadlineExceeded => "deadline_exceeded",
        Code::NotFound => "not_found",
        Code::AlreadyExists => "already_exists",
        Code::PermissionDenied => "permission_denied",
        Code::ResourceExhausted => "resource_exhausted",
        Code::FailedPrecondition => "failed_precondition",
        Code::Aborted => "aborted",
        Code::OutOfRange => "out_of_range",
        Code::Unimplemented => "unimplemented",
        Code::Internal => "internal",
        Code::Unavailable => "unavailable",
        Code::DataLoss => "data_loss",
        Code::Unauthenticated => "unauthenticated",
    }
}

/// The frame that ends a stream: how it failed, if it did, and its trailers.
fn end(error: Option<&Error>, trailers: &HeaderMap) -> Bytes {
    let mut metadata = Map::new();
    for name in trailers.keys() {
        let values = trailers.get_all(name).iter();
        let values: Vec<Json> =
            values.map(|value| String::from_utf8_lossy(value.as_bytes()).into()).collect();
        metadata.insert(name.to_string(), values.into());
    }
    let mut content = Map::new();
    if let Some(error) = error {
        content.insert("error".to_owned(), described(error));
    }
    if !metadata.is_empty() {
        content.insert("metadata".to_owned(), metadata.into());
    }
    let content = Json::Object(content).to_string();
    let mut frame = BytesMut::with_capacity(messages::PREFIX_BYTES + content.len());
    frame.put_u8(END_STREAM);
    frame.put_u32(u32::try_from(content.len()).unwrap_or(u32::MAX));
    frame.extend_from_slice(content.as_bytes());
    frame.freeze()
}

/// A reply's messages in frames as they come, then the end.
struct Frames {
    rpc: Arc<Rpc>,
    codec: Codec,
    replies: Option<Replies>,
}

impl Stream for Frames {
    type Item = std::result::Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let frames = &mut *self;
        let Some(replies) = &mut frames.replies else { return Poll::Ready(None) };
        let message = match ready!(replies.poll_next_unpin(context)) {
            Some(message) => {
                message.and_then(|message| written(&frames.rpc, frames.codec, message))
            }
            None => {
                let trailers = replies.trailers().map(|trailers| declared(&frames.rpc, [trailers]));
                frames.replies = None;
                return Poll::Ready(Some(Ok(end(None, &trailers.unwrap_or_default()))));
            }
        };
        let frame = message.map(|message| framed(&message)).unwrap_or_else(|error| {
            error::log_fault(&error);
            frames.replies = None;
            end(Some(&error), error.headers())
        });
        Poll::Ready(Some(Ok(frame)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_get_is_one_of_connect_by_its_query() {
        let rows = [
            (Some("connect=v1&encoding=json&message=%7B%7D"), Some(Codec::Json)),
            (Some("message=&base64=1&encoding=proto&connect=v1"), Some(Codec::Proto)),
            (Some("encoding=json&message=%7B%7D"), None),
            (Some("connect=v2&encoding=json"), None),
            (Some("connect=%761&encoding=%6Ason&message=%7B%7D"), Some(Codec::Json)),
            (Some("connect=v1&encoding=xml"), Some(Codec::Other)),
            (Some("connect=v1"), Some(Codec::Other)),
            (None, None),
        ];
        for (query, codec) in rows {
            assert_eq!(codec_of_query(query), codec, "{query:?}");
        }
    }
}
