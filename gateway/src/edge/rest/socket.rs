//! Streams of a caller over a WebSocket (RFC 6455, over HTTP/2 RFC 8441): one message a frame.
//!
//! A text frame is a message as JSON, a binary frame one in protobuf encoding; an empty text frame ends the
//! caller's stream. Replies come in the same way. What goes wrong is a last text frame `{"error": …}` and the
//! close code 4000 + the code of gRPC.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _, TryFutureExt as _};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use http::header::{AUTHORIZATION, HOST, ORIGIN, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, request};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use mainstay::kernel::error::{Error, PAYLOAD_TOO_LARGE, PERMISSION_DENIED, RATE_LIMITED, Result};
use mainstay::kernel::policy::EdgeStyle;
use mainstay::kernel::server::{Ending, Open};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::create_response;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};
use tracing::Instrument as _;

use super::super::cors::CorsPolicies;
use super::super::exchange::{Exchange, Sending};
use super::super::messages::Messages;
use super::super::reply::Replies;
use super::super::{if_any, upstream};
use crate::config::Rate;
use crate::error::{self, Refused, UPGRADE_REQUIRED};
use crate::route::Target;
use crate::transcode::frame::Fixed;
use crate::transcode::render::Text;

/// Replies as JSON, which is also what a caller gets that asks for nothing.
const JSON: &str = "mainstay.json";
/// Replies in protobuf encoding.
const PROTO: &str = "mainstay.proto";
/// Before an access token among the protocols: a page in a browser can set no header.
const BEARER: &str = "mainstay.bearer.";

/// The version of RFC 6455.
const VERSION: &str = "13";

/// Close codes of an application begin here (RFC 6455, section 7.4.2).
const CLOSE_CODES: u16 = 4000;
/// How long the other side may take to close, too.
const CLOSING: Duration = Duration::from_secs(1);
/// The longest reason of a close frame in bytes (RFC 6455, section 5.5).
const LONGEST_REASON: usize = 123;

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// A connection that is about to become a WebSocket.
pub(crate) struct Upgrade {
    on: OnUpgrade,
    response: http::Response<()>,
    fixed: Fixed,
    as_proto: bool,
    ending: Option<Ending>,
    open: Option<Open>,
}

/// The access token among the protocols of a WebSocket, where no header has one.
pub(in super::super) fn offered_token(exchange: &Exchange) -> Option<&str> {
    let headers = &exchange.head.headers;
    if !exchange.is_socket() || headers.contains_key(AUTHORIZATION) {
        return None;
    }
    protocols(headers).find_map(|protocol| protocol.strip_prefix(BEARER))
}

/// Answers the handshake, if the request is one, its page may connect, and path and query fit the messages.
pub(super) fn handshake(exchange: &mut Exchange, target: &Target) -> Result<Sending> {
    let head = &mut exchange.head;
    let policies = exchange.edge.policies.load();
    if !page_may(&policies.cors, &head.uri, &head.headers) {
        return Err(Error::new(PERMISSION_DENIED, "pages of this origin may not connect"));
    }
    let needed = || Error::new(UPGRADE_REQUIRED, "this path is for WebSockets (RFC 6455)");
    let mut response = accepted(head).ok_or_else(needed)?;
    let on = head.extensions.remove::<OnUpgrade>().ok_or_else(needed)?;
    let binding = &target.route.binding;
    let fixed = Fixed::read(binding, &target.captures, &exchange.parameters)?;
    let spoken = protocols(&head.headers).find(|protocol| [JSON, PROTO].contains(protocol));
    if let Some(protocol) = spoken.and_then(|protocol| HeaderValue::from_str(protocol).ok()) {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    let as_proto = spoken == Some(PROTO);
    let ending = head.extensions.get::<Ending>().cloned();
    let open = head.extensions.remove::<Open>();
    Ok(Sending::Socket(Box::new(Upgrade { on, response, fixed, as_proto, ending, open })))
}

/// The answer to a sound handshake: 101 over HTTP/1.1; over HTTP/2, where CONNECT asks for it, 200 (RFC
/// 8441, section 5).
fn accepted(head: &request::Parts) -> Option<http::Response<()>> {
    if head.method == Method::CONNECT {
        let is_known =
            head.headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|stated| stated == VERSION);
        return is_known.then(|| http::Response::new(()));
    }
    let mut request = Request::new(());
    *request.method_mut() = head.method.clone();
    *request.version_mut() = head.version;
    *request.headers_mut() = head.headers.clone();
    create_response(&request).ok()
}

fn protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).map(str::trim)
}

/// A browser says which page connects, and asks nobody whether it may: that is ours to refuse. Pages of
/// the gateway's own host may, and those that the route's group names.
fn page_may(cors: &CorsPolicies, uri: &Uri, headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let own = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    // HTTP/2 has the host in the address.
    let host = host.or(uri.authority().map(Authority::as_str));
    own.is_some_and(|(_, own)| Some(own) == host) || cors.lets(uri.path(), origin)
}

/// Switches the protocol; the call goes on by itself from here.
pub(super) fn call(exchange: &Exchange, target: &Arc<Target>, upgrade: Upgrade) -> Response {
    let Upgrade { on, response, fixed, as_proto, ending, open } = upgrade;
    let (exchange, target) = (exchange.clone(), Arc::clone(target));
    let call = SocketCall { exchange, target, fixed, as_proto };
    let served = async move {
        let _open = open;
        let Ok(upgraded) = on.await else { return };
        call.serve(upgraded, ending).await;
    };
    tokio::spawn(served.in_current_span());
    response.map(|()| Body::empty())
}

/// A call that is made over a WebSocket.
struct SocketCall {
    exchange: Exchange,
    target: Arc<Target>,
    /// What path and query say in each message.
    fixed: Fixed,
    as_proto: bool,
}

/// How a conversation ended.
enum End {
    /// All was said.
    Done,
    /// The call failed.
    Failed(Error),
    /// The caller went away.
    Gone,
    /// The gateway is to end.
    Restart,
}

impl SocketCall {
    async fn serve(self, upgraded: Upgraded, ending: Option<Ending>) {
        let limit = self.exchange.rpc.policy.max_body_bytes;
        let config =
            WebSocketConfig::default().max_message_size(Some(limit)).max_frame_size(Some(limit));
        let io = TokioIo::new(upgraded);
        let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
        let (mut sink, stream) = socket.split();
        let aborted = ending.clone();
        let talk = async {
            let (sender, receiver) = mpsc::channel(1);
            let mut listening = std::pin::pin!(self.listen(stream, sender));
            let end = tokio::select! {
                end = self.answer(&mut sink, receiver) => end,
                () = &mut listening => End::Gone,
                () = if_any(ending.as_ref().map(Ending::draining)) => End::Restart,
            };
            self.close(&mut sink, end).await;
            // The rest of the closing handshake, as far as the other side takes part in it.
            let _ = tokio::time::timeout(CLOSING, listening).await;
        };
        tokio::select! {
            () = talk => {}
            () = if_any(aborted.as_ref().map(Ending::aborted)) => {}
        }
    }

    /// Hears what the caller says until it goes.
    async fn listen(&self, mut stream: SplitStream<Socket>, sender: mpsc::Sender<Result<Bytes>>) {
        let mut sender = Some(sender);
        let limiter = limiter(self.exchange.edge.settings.socket_rate);
        // Silent for two pings: it is not there any more.
        let patience = self.exchange.edge.settings.socket_ping * 2;
        while let Ok(Some(heard)) = tokio::time::timeout(patience, stream.next()).await {
            let said = match heard {
                Ok(Message::Text(text)) if text.is_empty() => {
                    sender = None;
                    continue;
                }
                Ok(Message::Text(json)) => self.message(&json),
                Ok(Message::Binary(wire)) => Ok(self.fixed.appended(wire)),
                Ok(_) => continue,
                Err(tungstenite::Error::Capacity(_)) => {
                    if let Some(listener) = &sender {
                        let _ = listener.send(Err(too_large(&self.exchange))).await;
                    }
                    // Nothing can be read any more; how it ends is said by who answers.
                    return std::future::pending().await;
                }
                Err(_) => return,
            };
            let said = if limiter.check().is_ok() { said } else { Err(too_many(&self.exchange)) };
            let failed = said.is_err();
            // What is said after the end, or after a fault, is not heard.
            if let Some(listener) = &sender
                && (listener.send(said).await.is_err() || failed)
            {
                sender = None;
            }
        }
    }

    /// A message from JSON.
    fn message(&self, json: &str) -> Result<Bytes> {
        let binding = &self.target.route.binding;
        self.fixed.message(binding, &self.exchange.parameters, json.as_bytes())
    }

    /// Makes the call and sends its replies, with pings where it is silent.
    async fn answer(
        &self,
        sink: &mut SplitSink<Socket, Message>,
        receiver: mpsc::Receiver<Result<Bytes>>,
    ) -> End {
        let mut replies = std::pin::pin!(self.begin(receiver).try_flatten_stream());
        let period = self.exchange.edge.settings.socket_ping;
        let mut ping = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
        loop {
            let frame = tokio::select! {
                reply = replies.next() => match reply {
                    Some(reply) => reply.and_then(|wire| self.frame(wire)),
                    None => return End::Done,
                },
                _ = ping.tick() => Ok(Message::Ping(Bytes::new())),
            };
            let frame = match frame {
                Ok(frame) => frame,
                Err(error) => return End::Failed(error),
            };
            match tokio::time::timeout(period * 2, sink.send(frame)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return End::Gone,
            }
        }
    }

    async fn begin(&self, receiver: mpsc::Receiver<Result<Bytes>>) -> Result<Replies> {
        let mut exchange = self.exchange.clone();
        let mut messages: Messages = futures::stream::unfold(receiver, |mut receiver| async move {
            Some((receiver.recv().await?, receiver))
        })
        .boxed();
        if exchange.rpc.policy.asks_the_message() {
            messages = exchange.first_of(messages).await?;
            exchange.authorize().await?;
        }
        let reply = upstream::stream(&exchange, Sending::Many(messages)).await?;
        Ok(Replies::new(reply.parts))
    }

    fn frame(&self, wire: Bytes) -> Result<Message> {
        if self.as_proto {
            return Ok(Message::Binary(wire));
        }
        let route = &self.target.route;
        let enveloped = route.rpc.policy.style == EdgeStyle::Envelope;
        let mut json = Text::with_capacity(wire.len() * 2);
        route.reply.element(&wire, 0..wire.len(), enveloped, &mut json)?;
        String::from_utf8(json.into_bytes()).map(Message::text).map_err(Error::internal)
    }

    async fn close(&self, sink: &mut SplitSink<Socket, Message>, end: End) {
        let (code, reason) = match &end {
            End::Done => (CloseCode::Normal, String::new()),
            End::Restart => (CloseCode::Restart, "the gateway restarts".to_owned()),
            End::Gone => (CloseCode::Away, String::new()),
            End::Failed(error) => {
                error::log_fault(error);
                let refused = Refused::new(error, &self.exchange.call.request_id);
                let last = Message::text(refused.json().to_string());
                // Nobody is there to hear it, if it fails.
                let _ = tokio::time::timeout(CLOSING, sink.send(last)).await;
                let code = CLOSE_CODES + error.code().grpc as u16;
                (CloseCode::from(code), error.code().reason.chars().take(LONGEST_REASON).collect())
            }
        };
        let close = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
        let _ = tokio::time::timeout(CLOSING, sink.send(close)).await;
    }
}

fn limiter(rate: Rate) -> DefaultDirectRateLimiter {
    let count = std::num::NonZeroU32::new(rate.count).unwrap_or(std::num::NonZeroU32::MIN);
    let period = (rate.per / count.get()).max(Duration::from_nanos(1));
    let quota = Quota::with_period(period).unwrap_or(Quota::per_second(count));
    RateLimiter::direct(quota.allow_burst(count))
}

fn too_large(exchange: &Exchange) -> Error {
    let most_bytes = exchange.rpc.policy.max_body_bytes;
    Error::new(PAYLOAD_TOO_LARGE, format!("a message is larger than {most_bytes} bytes"))
}

fn too_many(exchange: &Exchange) -> Error {
    let rate = exchange.edge.settings.socket_rate;
    Error::new(RATE_LIMITED, format!("more than {rate} messages on one connection"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test fails by panicking
mod tests {
    use super::*;
    use crate::config::{CorsGroup, GatewaySettings};

    #[test]
    fn a_page_connects_from_its_own_host_or_from_an_origin_that_its_group_names() {
        let chat = CorsGroup {
            prefix: "/chat".into(),
            origins: vec!["https://chat.example.com".into()],
            ..CorsGroup::default()
        };
        let settings = GatewaySettings {
            cors_origins: vec!["https://app.example.com".into()],
            cors_groups: vec![chat],
            ..GatewaySettings::default()
        };
        let named = CorsPolicies::compile(&settings).unwrap();
        let nobody = CorsPolicies::compile(&GatewaySettings::default()).unwrap();
        let rows = [
            (&nobody, "/talk", None, true),
            (&nobody, "/talk", Some("http://edge.example.com"), true),
            (&nobody, "/talk", Some("https://app.example.com"), false),
            (&named, "/talk", Some("https://app.example.com"), true),
            (&named, "/talk", Some("https://app.example.com.evil.com"), false),
            (&named, "/talk", Some("https://chat.example.com"), false),
            (&named, "/talk", Some("null"), false),
            (&named, "/chat", Some("https://chat.example.com"), true),
            (&named, "/chat/1", Some("https://app.example.com"), false),
            (&named, "/chat", Some("https://edge.example.com"), true),
        ];
        for (cors, path, origin, may) in rows {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static("edge.example.com"));
            if let Some(origin) = origin {
                headers.insert(ORIGIN, HeaderValue::from_static(origin));
            }
            let uri = Uri::from_static(path);
            assert_eq!(page_may(cors, &uri, &headers), may, "{path} {origin:?}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(ORIGIN, HeaderValue::from_static("https://edge.example.com"));
        let of_http_2 = Uri::from_static("https://edge.example.com/chat");
        assert!(page_may(&nobody, &of_http_2, &headers));
    }
}
