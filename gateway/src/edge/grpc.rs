//! gRPC: messages pass as they are, refusals are a status.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::stream;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Version};
use http_body::Frame;
use http_body_util::StreamBody;
use mainstay::kernel::channel::framed;
use mainstay::kernel::error::{Error, Result, UNIMPLEMENTED};
use tonic::Status;

use super::exchange::{Exchange, Sending};
use super::idempotency::Keyed;
use super::messages::Encoding;
use super::reply::{Part, Parts, declared};
use super::{body, messages, upstream};
use crate::error::{self, RefusedCode, UNSUPPORTED_MEDIA_TYPE};
use crate::route::Rpc;

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const IDENTITY: &str = "identity";
const GZIP: &str = "gzip";
/// What messages of callers may be written in.
const TAKEN: HeaderValue = HeaderValue::from_static("identity,gzip");

/// Refuses what is not spoken here: messages that are no protobuf, or compressed otherwise. `version` is that of
/// the connection, where the status travels as gRPC has it.
pub(super) fn check(version: Version, headers: &HeaderMap, media_type: &str) -> Result<()> {
    if !["application/grpc", "application/grpc+proto"].contains(&media_type) {
        let message = format!("messages are application/grpc+proto here, not {media_type}");
        return Err(Error::new(UNSUPPORTED_MEDIA_TYPE, message));
    }
    encoding(headers)?;
    // The status of a reply stands in trailers, which HTTP/1.1 loses on the way.
    if version < Version::HTTP_2 {
        return Err(Error::new(UNIMPLEMENTED, "gRPC needs HTTP/2; HTTP/1.1 takes gRPC-Web"));
    }
    Ok(())
}

/// What flagged messages of the caller are compressed in.
fn encoding(headers: &HeaderMap) -> Result<Encoding> {
    match headers.get(GRPC_ENCODING).map(HeaderValue::as_bytes) {
        Some(stated) if stated == GZIP.as_bytes() => Ok(Encoding::Gzip),
        Some(stated) if stated != IDENTITY.as_bytes() => {
            Err(Error::new(UNIMPLEMENTED, "messages are compressed in gzip here, or not at all"))
        }
        _ => Ok(Encoding::Identity),
    }
}

/// Reads the request's message or messages.
pub(super) async fn message(exchange: &mut Exchange, body: Body) -> Result<Sending> {
    let limit = exchange.rpc.policy.max_body_bytes;
    let encoding = encoding(&exchange.head.headers)?;
    if exchange.rpc.policy.client_streaming {
        return Ok(Sending::Many(messages::stream(body, limit, encoding)));
    }
    let timeout = exchange.edge.settings.body_timeout;
    let whole = limit + messages::PREFIX_BYTES;
    let body = body::read(&exchange.head.headers, body, whole, timeout).await?;
    exchange.message = messages::only(body, limit, encoding)?;
    exchange.keyed = Keyed::of(exchange, &exchange.message)?.map(Arc::new);
    Ok(Sending::One)
}

/// Makes the call.
pub(super) async fn call(exchange: &Exchange, sending: Sending) -> Result<Response> {
    let rpc = &exchange.rpc;
    if rpc.policy.is_streaming() {
        let reply = upstream::stream(exchange, sending).await?;
        let body = Relay { rpc: Arc::clone(rpc), parts: Some(reply.parts) };
        return Ok(response(declared(rpc, [&reply.metadata]), Body::new(body)));
    }
    let reply = upstream::unary(exchange).await?;
    let mut trailers = declared(rpc, [&reply.trailers]);
    succeed(&mut trailers);
    let frames = [Frame::data(framed(&reply.message)), Frame::trailers(trailers)];
    Ok(response(declared(rpc, [&reply.metadata]), frames_of(frames)))
}

/// A refusal: a status in the headers; for gRPC-Web, where libraries look for it, in the trailers.
pub(super) fn refusal(error: &Error, web: bool) -> Response {
    error::log_fault(error);
    let mut response = if web {
        response(HeaderMap::new(), frames_of([Frame::trailers(trailers_of(error))]))
    } else {
        error.to_status().into_http()
    };
    response.headers_mut().insert(GRPC_ACCEPT_ENCODING, TAKEN);
    response.extensions_mut().insert(RefusedCode::of(error));
    response
}

fn response(metadata: HeaderMap, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.headers_mut() = metadata;
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    response.headers_mut().insert(GRPC_ACCEPT_ENCODING, TAKEN);
    response
}

fn frames_of<const N: usize>(frames: [Frame<Bytes>; N]) -> Body {
    Body::new(StreamBody::new(stream::iter(frames.map(Ok::<_, Infallible>))))
}

fn succeed(trailers: &mut HeaderMap) {
    trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
}

fn trailers_of(error: &Error) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    // Fails only for metadata that a status of ours never has.
    let _ = error.to_status().add_header(&mut trailers);
    trailers
}

/// A reply's bytes as they come, then its status.
struct Relay {
    rpc: Arc<Rpc>,
    parts: Option<Parts>,
}

impl http_body::Body for Relay {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Infallible>>> {
        let Some(parts) = &mut self.parts else { return Poll::Ready(None) };
        let trailers = match ready!(parts.poll_part(context)) {
            Ok(Part::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
            Ok(Part::End(trailers)) => {
                let mut trailers = declared(&self.rpc, [&trailers]);
                succeed(&mut trailers);
                trailers
            }
            Err(error) => {
                error::log_fault(&error);
                trailers_of(&error)
            }
        };
        self.parts = None;
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }
}
