//! How a request reaches one instance: HTTP/2, or HTTP/1.1 with gRPC-Web framing, under mTLS.
//!
//! The certificate that must answer is that of the service, not of the address: whatever listens at
//! an address of the registry, only the right service can be talked to.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, Version, header, request, response};
use http_body_util::{BodyExt as _, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tonic::body::Body;
use tonic::{Code, Status};

use super::connector::{Connector, Security};
use super::endpoint::Endpoint;
use super::failure::Failure;
use super::replay::Content;
use super::reply::Reply;
use super::web::{self, WebBody};
use crate::kernel::cores;
use crate::kernel::settings::{ChannelSettings, Transport as Protocol};

/// The most connections to an instance, of each kind: one for each thread, up to this.
pub(super) const MOST: usize = 32;
/// The largest unary reply.
pub(super) const MAX_REPLY_BYTES: usize = 16 * 1024 * 1024;
/// A silent HTTP/2 connection is asked for a sign of life this often, idle or not.
pub(super) const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// The connection is given up when no sign comes within this time.
pub(super) const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(3);
/// A connection nobody uses is closed after this time.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// HTTP/2 flow-control windows that do not slow down a reply of a few megabytes.
pub(super) const WINDOW_BYTES: u32 = 2 * 1024 * 1024;
/// So much of a reply may come in one frame. What does is read where it stands; frames of HTTP/2's 16 KB
/// would have to be copied together.
pub(super) const FRAME_BYTES: u32 = 256 * 1024;

/// The connections of one channel.
pub(super) struct Transport {
    connector: Connector,
    /// One for each thread, each with its own connections.
    clients: Vec<Client<Connector, Body>>,
    scheme: Scheme,
    protocol: Protocol,
}

impl Transport {
    pub(super) fn new(
        service: &str,
        security: Security<'_>,
        settings: &ChannelSettings,
    ) -> anyhow::Result<Self> {
        let connector = Connector::new(service, security, settings)?;
        let mut builder = Client::builder(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .http2_only(settings.transport == Protocol::Grpc)
            .http2_initial_stream_window_size(WINDOW_BYTES)
            .http2_initial_connection_window_size(WINDOW_BYTES)
            .http2_max_frame_size(FRAME_BYTES)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .http2_keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .http2_keep_alive_while_idle(true);
        let clients = std::iter::repeat_with(|| builder.build(connector.clone()));
        let clients = clients.take(cores::count().min(MOST)).collect();
        let scheme = match security {
            Security::Plaintext => Scheme::HTTP,
            Security::Mesh(_) | Security::Servers(_) => Scheme::HTTPS,
        };
        Ok(Self { connector, clients, scheme, protocol: settings.transport })
    }

    /// Sends a request to an instance and reads the reply, whole if it is `unary`.
    pub(super) async fn send(
        &self,
        endpoint: &Endpoint,
        mut head: request::Parts,
        content: Content,
        unary: bool,
    ) -> Result<Reply, Failure> {
        self.direct(&mut head, &endpoint.address).map_err(Failure::Unreachable)?;
        match content {
            Content::Whole(body) if unary && self.protocol == Protocol::Grpc => {
                let request = Request::from_parts(head, ());
                endpoint.lines.send(&self.connector, request, body).await
            }
            content => self.pooled(Request::from_parts(head, content.into_body()), unary).await,
        }
    }

    async fn pooled(&self, request: Request<Body>, unary: bool) -> Result<Reply, Failure> {
        let client = &self.clients[cores::thread_number() % self.clients.len()];
        let response = client.request(request).await.map_err(Failure::of_request)?;
        let (mut head, body) = response.into_parts();
        if let Some(status) = status_of_http(&head) {
            return Ok(status.into());
        }
        let body = match self.protocol {
            Protocol::Grpc => Body::new(body),
            Protocol::GrpcWeb => {
                web::mark_as_grpc(&mut head.headers);
                Body::new(WebBody::new(body))
            }
        };
        if unary { collect(head, body).await } else { Ok(Reply::stream(head, body)) }
    }

    /// Addresses a request to an instance and gives it the form of the protocol.
    fn direct(&self, request: &mut request::Parts, address: &str) -> anyhow::Result<()> {
        let authority: Authority =
            address.parse().with_context(|| format!("`{address}` is no address"))?;
        let mut uri = std::mem::take(&mut request.uri).into_parts();
        uri.scheme = Some(self.scheme.clone());
        uri.authority = Some(authority);
        request.uri = Uri::from_parts(uri)?;
        request.method = http::Method::POST;
        request.version = match self.protocol {
            Protocol::Grpc => Version::HTTP_2,
            Protocol::GrpcWeb => Version::HTTP_11,
        };
        if self.protocol == Protocol::GrpcWeb {
            request.headers.insert(header::CONTENT_TYPE, web::CONTENT_TYPE);
            request.headers.insert(header::ACCEPT, web::CONTENT_TYPE);
            request.headers.remove(header::TE);
            request.headers.insert("x-grpc-web", HeaderValue::from_static("1"));
        }
        Ok(())
    }
}

async fn collect(head: response::Parts, body: Body) -> Result<Reply, Failure> {
    let collected = match Limited::new(body, MAX_REPLY_BYTES).collect().await {
        Ok(collected) => collected,
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            return Ok(too_large().into());
        }
        Err(error) => return Err(Failure::Broken(anyhow::Error::from_boxed(error))),
    };
    let trailers = collected.trailers().cloned().unwrap_or_default();
    ended(head, collected.to_bytes(), trailers)
}

/// A whole reply, which must have said how the call ended.
pub(super) fn ended(
    head: response::Parts,
    data: Bytes,
    trailers: HeaderMap,
) -> Result<Reply, Failure> {
    let ended = [&head.headers, &trailers].iter().any(|map| map.contains_key(Status::GRPC_STATUS));
    match ended {
        true => Ok(Reply::whole(head, data, trailers)),
        false => Err(Failure::Broken(anyhow::anyhow!("the reply ended without a status"))),
    }
}

pub(super) fn too_large() -> Status {
    Status::resource_exhausted(format!("the reply is larger than {MAX_REPLY_BYTES} bytes"))
}

/// The gRPC status of an HTTP response that is none of gRPC, by the specification's table.
pub(super) fn status_of_http(head: &response::Parts) -> Option<Status> {
    if head.status == StatusCode::OK || head.headers.contains_key(Status::GRPC_STATUS) {
        return None;
    }
    let code = match head.status.as_u16() {
        400 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502 | 503 | 504 => Code::Unavailable,
        _ => Code::Unknown,
    };
    Some(Status::new(code, format!("the server answered with HTTP status {}", head.status)))
}
