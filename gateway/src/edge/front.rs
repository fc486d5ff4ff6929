//! The protocols that callers speak: REST, gRPC (and gRPC-Web, which is unwrapped to it) and Connect.
//!
//! A request is for one of them by its media type and path. They differ in how messages are written
//! and how a refusal looks; the way through the policies is one and the same.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use http::header::{CONTENT_TYPE, UPGRADE};
use http::{HeaderMap, HeaderName, Method, Version};
use mainstay::kernel::error::{Error, NOT_FOUND, Result, UNIMPLEMENTED};

use super::{connect, grpc};
use crate::error::{self, ALLOW_DETAIL, METHOD_NOT_ALLOWED};
use crate::route::{NoRoute, RouteTable, Rpc, Target};

/// Header that only callers of Connect send.
const CONNECT_PROTOCOL_VERSION: HeaderName = HeaderName::from_static("connect-protocol-version");

/// The protocol that a handshake asks for.
const WEBSOCKET: &str = "websocket";

/// A protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// HTTP and JSON by `google.api.http`.
    Rest,
    /// gRPC.
    Grpc {
        /// Whether the caller speaks gRPC-Web.
        web: bool,
    },
    /// Connect.
    Connect(Connect),
}

/// How a caller speaks Connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Connect {
    /// How messages are written.
    pub(crate) codec: Codec,
    /// Whether messages have prefixes, as those of streams do.
    pub(crate) streaming: bool,
}

/// How messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    /// In protobuf encoding.
    Proto,
    /// As JSON.
    Json,
    /// In another way, which is refused.
    Other,
}

/// What a request asks for, and in which protocol.
#[derive(Clone, Debug)]
pub(crate) enum Front {
    /// A route.
    Rest(Arc<Target>),
    /// An RPC by gRPC.
    Grpc {
        /// Whether the caller speaks gRPC-Web.
        web: bool,
    },
    /// An RPC by Connect.
    Connect(Connect),
}

impl Front {
    /// The protocol.
    pub(super) fn protocol(&self) -> Protocol {
        match self {
            Self::Rest(_) => Protocol::Rest,
            Self::Grpc { web } => Protocol::Grpc { web: *web },
            Self::Connect(connect) => Protocol::Connect(*connect),
        }
    }
}

/// What is found for a request.
pub(super) enum Found {
    /// An RPC.
    Call(Front, Arc<Rpc>),
    /// The methods of a path, which OPTIONS asks for.
    Options(BTreeSet<String>),
}

/// The protocol of a request.
pub(super) fn protocol(table: &RouteTable, request: &Request) -> Protocol {
    let connect = |codec, streaming| Protocol::Connect(Connect { codec, streaming });
    let is_rpc = || table.rpc(request.uri().path()).is_some();
    let says_connect = || request.headers().contains_key(&CONNECT_PROTOCOL_VERSION);
    let is_connect = || is_rpc() || says_connect();
    match (request.method(), media_type(request.headers()).as_str()) {
        (&Method::POST, "application/connect+proto") => connect(Codec::Proto, true),
        (&Method::POST, "application/connect+json") => connect(Codec::Json, true),
        (&Method::POST, other) if other.starts_with("application/connect+") => {
            connect(Codec::Other, false)
        }
        (&Method::POST, "application/proto") if is_connect() => connect(Codec::Proto, false),
        (&Method::POST, "application/json") if is_connect() => connect(Codec::Json, false),
        (&Method::POST, other) if is_grpc(other) => Protocol::Grpc { web: false },
        (&Method::POST, other) if is_grpc_web(other) => Protocol::Grpc { web: true },
        (&Method::POST, _) if says_connect() && is_rpc() => connect(Codec::Other, false),
        (&Method::GET, _) if is_rpc() => match connect::codec_of_query(request.uri().query()) {
            Some(codec) => connect(codec, false),
            None => Protocol::Rest,
        },
        _ => Protocol::Rest,
    }
}

/// What a request is for. An error is for [`refuse`].
pub(super) fn find(protocol: Protocol, table: &RouteTable, request: &Request) -> Result<Found> {
    match protocol {
        Protocol::Rest => route(table, request),
        Protocol::Grpc { web } => {
            let rpc = rpc(table, request)?;
            let version = if web { Version::HTTP_2 } else { request.version() };
            grpc::check(version, request.headers(), &media_type(request.headers()))?;
            Ok(Found::Call(Front::Grpc { web }, rpc))
        }
        Protocol::Connect(connect) => {
            let rpc = rpc(table, request)?;
            connect::check(connect, &rpc, request.method(), request.headers())?;
            Ok(Found::Call(Front::Connect(connect), rpc))
        }
    }
}

/// A refusal in the caller's own protocol.
pub(super) fn refuse(protocol: Protocol, error: &Error, request_id: &str) -> Response {
    match protocol {
        Protocol::Rest => error::response(error, request_id),
        Protocol::Grpc { web } => grpc::refusal(error, web),
        Protocol::Connect(connect) => connect::refusal(error, connect),
    }
}

fn rpc(table: &RouteTable, request: &Request) -> Result<Arc<Rpc>> {
    let path = request.uri().path();
    let unknown = || Error::new(UNIMPLEMENTED, format!("{path} is not served here"));
    known(table)?;
    let rpc = table.rpc(path).ok_or_else(unknown)?;
    present(table, rpc)?;
    Ok(Arc::clone(rpc))
}

/// Before the first table nobody can say what is there.
fn known(table: &RouteTable) -> Result<()> {
    match table.version {
        0 => Err(Error::unavailable("the routes are not known yet")),
        _ => Ok(()),
    }
}

fn present(table: &RouteTable, rpc: &Rpc) -> Result<()> {
    match table.is_present(&rpc.service) {
        true => Ok(()),
        false => Err(Error::unavailable(format!("{} is away", rpc.service))),
    }
}

fn route(table: &RouteTable, request: &Request) -> Result<Found> {
    let path = request.uri().path();
    if *request.method() == Method::OPTIONS
        && let Some(methods) = table.methods(path)
    {
        return Ok(Found::Options(methods));
    }
    known(table)?;
    let socket = if opens_socket(request) { table.socket(path) } else { None };
    let found = match (socket, request.method()) {
        (Some(socket), _) => Ok(socket),
        // Nothing but a WebSocket answers CONNECT. A GET goes on without its Upgrade (RFC 9110, section 7.8).
        (None, &Method::CONNECT) => Err(table.methods(path).map_or(NoRoute::Path, NoRoute::Method)),
        (None, method) => table.find(method, path),
    };
    match found {
        Ok(target) => {
            let rpc = Arc::clone(&target.route.rpc);
            present(table, &rpc)?;
            Ok(Found::Call(Front::Rest(Arc::new(target)), rpc))
        }
        Err(NoRoute::Path) => Err(Error::new(NOT_FOUND, "there is nothing at this path")),
        Err(NoRoute::Method(methods)) => {
            let allow = methods.into_iter().collect::<Vec<_>>().join(", ");
            let message = format!("{} is not allowed here, but {allow}", request.method());
            Err(Error::new(METHOD_NOT_ALLOWED, message).detail(ALLOW_DETAIL, allow))
        }
    }
}

/// Whether a WebSocket is asked for: over HTTP/1.1 by GET with an Upgrade (RFC 6455, section 4.1), over HTTP/2
/// by CONNECT with its protocol (RFC 8441).
fn opens_socket(request: &Request) -> bool {
    match *request.method() {
        Method::GET => {
            let name = request.headers().get(UPGRADE);
            name.is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(WEBSOCKET.as_bytes()))
        }
        Method::CONNECT => {
            let protocol = request.extensions().get::<hyper::ext::Protocol>();
            protocol.is_some_and(|name| name.as_str() == WEBSOCKET)
        }
        _ => false,
    }
}

/// The media type without its parameters, in lower case; empty if there is none.
fn media_type(headers: &HeaderMap) -> String {
    media_type_in(headers, &CONTENT_TYPE)
}

/// As [`media_type`], in another header: the first one.
pub(super) fn media_type_in(headers: &HeaderMap, name: &HeaderName) -> String {
    let stated = headers.get(name).and_then(|value| value.to_str().ok());
    stated.and_then(|value| value.split(';').next()).unwrap_or_default().trim().to_ascii_lowercase()
}

fn is_grpc(media_type: &str) -> bool {
    let rest = media_type.strip_prefix("application/grpc");
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('+'))
}

fn is_grpc_web(media_type: &str) -> bool {
    let rest = media_type.strip_prefix("application/grpc-web");
    let rest = rest.map(|rest| rest.strip_prefix("-text").unwrap_or(rest));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('+'))
}
