//! How a request reaches one instance: HTTP/2, or HTTP/1.1 with gRPC-Web framing, under mTLS.
//!
//! The certificate that must answer is that of the service, not of the address: whatever listens at
//! an address of the registry, only the right service can be talked to.

use std::time::Duration;

use anyhow::Context as _;
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Request, StatusCode, Uri, Version, header, response};
use http_body_util::{BodyExt as _, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tonic::body::Body;
use tonic::{Code, Status};

use super::connector::{Connector, Security};
use super::failure::Failure;
use super::reply::Reply;
use super::web::{self, WebBody};
use crate::kernel::settings::{ChannelSettings, Transport as Protocol};

/// The largest unary reply.
const MAX_REPLY_BYTES: usize = 16 * 1024 * 1024;
/// A silent HTTP/2 connection is asked for a sign of life this often, idle or not.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// The connection is given up when no sign comes within this time.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(3);
/// A connection nobody uses is closed after this time.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// HTTP/2 flow-control windows that do not slow down a reply of a few megabytes.
const WINDOW_BYTES: u32 = 2 * 1024 * 1024;

/// The connections of one channel.
pub(super) struct Transport {
    client: Client<Connector, Body>,
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
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .http2_only(settings.transport == Protocol::Grpc)
            .http2_initial_stream_window_size(WINDOW_BYTES)
            .http2_initial_connection_window_size(WINDOW_BYTES)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .http2_keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .http2_keep_alive_while_idle(true)
            .build(connector);
        let scheme = match security {
            Security::Plaintext => Scheme::HTTP,
            Security::Mesh(_) | Security::Servers(_) => Scheme::HTTPS,
        };
        Ok(Self { client, scheme, protocol: settings.transport })
    }

    /// Sends a request to the instance at `address` and reads the reply, whole if it is `unary`.
    pub(super) async fn send(
        &self,
        address: &str,
        mut request: Request<Body>,
        unary: bool,
    ) -> Result<Reply, Failure> {
        self.direct(&mut request, address).map_err(Failure::Unreachable)?;
        let response = self.client.request(request).await.map_err(Failure::of_request)?;
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
    fn direct(&self, request: &mut Request<Body>, address: &str) -> anyhow::Result<()> {
        let authority: Authority =
            address.parse().with_context(|| format!("`{address}` is no address"))?;
        let mut uri = request.uri().clone().into_parts();
        uri.scheme = Some(self.scheme.clone());
        uri.authority = Some(authority);
        *request.uri_mut() = Uri::from_parts(uri)?;
        *request.method_mut() = http::Method::POST;
        *request.version_mut() = match self.protocol {
            Protocol::Grpc => Version::HTTP_2,
            Protocol::GrpcWeb => Version::HTTP_11,
        };
        if self.protocol == Protocol::GrpcWeb {
            request.headers_mut().insert(header::CONTENT_TYPE, web::CONTENT_TYPE);
            request.headers_mut().insert(header::ACCEPT, web::CONTENT_TYPE);
            request.headers_mut().remove(header::TE);
            request.headers_mut().insert("x-grpc-web", HeaderValue::from_static("1"));
        }
        Ok(())
    }
}

async fn collect(head: response::Parts, body: Body) -> Result<Reply, Failure> {
    let collected = match Limited::new(body, MAX_REPLY_BYTES).collect().await {
        Ok(collected) => collected,
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            let message = format!("the reply is larger than {MAX_REPLY_BYTES} bytes");
            return Ok(Status::resource_exhausted(message).into());
        }
        Err(error) => return Err(Failure::Broken(anyhow::Error::from_boxed(error))),
    };
    let trailers = collected.trailers().cloned().unwrap_or_default();
    let ended = [&head.headers, &trailers].iter().any(|map| map.contains_key(Status::GRPC_STATUS));
    if !ended {
        return Err(Failure::Broken(anyhow::anyhow!("the reply ended without a status")));
    }
    Ok(Reply::whole(head, collected.to_bytes(), trailers))
}

/// The gRPC status of an HTTP response that is none of gRPC, by the specification's table.
fn status_of_http(head: &response::Parts) -> Option<Status> {
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
