//! The client side of the mesh: a balanced, breaking, retrying, deadline-keeping gRPC channel.
//!
//! A [`MeshChannel`] leads to one service. It follows the registry, spreads calls over the instances
//! by how busy they are, leaves out those that fail and takes them back in time. Every generated
//! client takes it as its transport; the gateway calls it with raw bytes.
//!
//! What is repeated: a call that provably never reached a server, always; a call that may have run,
//! only when its contract says that repeating it is harmless, and within a budget, so that retries
//! cannot multiply an outage. The deadline spans all attempts and travels with each.
//!
//! What is handed on from [`kernel::call`](crate::kernel::call): the request id, the user and the
//! deadline; and the trace context of the current span.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, Request, Response};
use tonic::body::Body;
use tonic::{Code, Status};

use crate::kernel::call;
use crate::kernel::policy::PolicyTable;
use crate::kernel::registry::Registry;
use crate::kernel::settings::ChannelSettings;
use crate::kernel::telemetry::{Metrics, propagation};
use crate::kernel::tls::{MeshIdentity, ServerTrust};

mod balancer;
mod budget;
mod connector;
mod endpoint;
mod exchange;
mod failure;
mod lines;
mod message;
pub(crate) mod metadata;
mod replay;
mod reply;
mod transport;
mod web;

pub use failure::NotSent;
pub use message::framed;
pub use metadata::timeout;

use connector::Security;
use exchange::{Exchange, Traits};
use replay::Replay;
use reply::Reply;

/// The channel to one service. Clones share connections and what is known of the instances.
#[derive(Clone)]
pub struct MeshChannel {
    exchange: Arc<Exchange>,
    policies: Arc<OnceLock<Arc<PolicyTable>>>,
    metrics: Option<Metrics>,
    default_deadline: Duration,
}

/// What the caller of [`MeshChannel::unary`] knows of the method.
#[derive(Clone, Copy, Debug)]
pub struct UnaryOptions {
    /// How long the call may take, all attempts included.
    pub deadline: Duration,
    /// Whether repeating the call is harmless.
    pub idempotent: bool,
}

/// The reply of a successful unary call.
#[derive(Clone, Debug)]
pub struct UnaryReply {
    /// The message in protobuf encoding.
    pub message: Bytes,
    /// The reply's metadata.
    pub metadata: HeaderMap,
    /// What came after the message, the status among it.
    pub trailers: HeaderMap,
}

/// The reply of a call that streams: its status comes with the trailers of the body.
#[derive(Debug)]
pub struct StreamReply {
    /// The reply's metadata.
    pub metadata: HeaderMap,
    /// Messages, each after the five bytes of its prefix, then the trailers. Dropping it cancels the
    /// call.
    pub body: Body,
}

impl MeshChannel {
    /// The channel to `service`, whose instances the registry knows. `identity` is the own one;
    /// without it the mesh is plaintext. Nothing is connected before the first call.
    pub fn new(
        service: &str,
        identity: Option<&MeshIdentity>,
        registry: &dyn Registry,
        settings: &ChannelSettings,
    ) -> anyhow::Result<Self> {
        let security = identity.map_or(Security::Plaintext, Security::Mesh);
        Self::secured(service, security, registry, settings)
    }

    /// The channel to servers outside the mesh over TLS: each shows a certificate for the host in the
    /// address by which the registry knows it. Nothing is connected before the first call.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn to_servers(
        service: &str,
        trust: &ServerTrust,
        registry: &dyn Registry,
        settings: &ChannelSettings,
    ) -> anyhow::Result<Self> {
        Self::secured(service, Security::Servers(trust), registry, settings)
    }

    fn secured(
        service: &str,
        security: Security<'_>,
        registry: &dyn Registry,
        settings: &ChannelSettings,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            exchange: Arc::new(Exchange::new(service, security, registry, settings)?),
            policies: Arc::default(),
            metrics: None,
            default_deadline: settings.default_deadline,
        })
    }

    /// The same channel, knowing the contracts: their deadlines hold by default, and idempotent
    /// methods are repeated when an instance fails.
    pub fn with_policies(self, policies: Arc<PolicyTable>) -> Self {
        self.with_policies_later(Arc::new(OnceLock::from(policies)))
    }

    /// As [`with_policies`](Self::with_policies), for contracts that are known only later.
    pub fn with_policies_later(mut self, policies: Arc<OnceLock<Arc<PolicyTable>>>) -> Self {
        self.policies = policies;
        self
    }

    /// The same channel, measuring its calls and the instances that it leads to.
    pub fn with_metrics(mut self, metrics: Metrics) -> Self {
        let exchange = Arc::downgrade(&self.exchange);
        metrics.watch_endpoints(self.service(), move || {
            exchange.upgrade().map(|exchange| exchange.endpoint_states()).unwrap_or_default()
        });
        self.metrics = Some(metrics);
        self
    }

    /// The service it leads to.
    pub fn service(&self) -> &str {
        self.exchange.service()
    }

    /// Makes a unary call with a message in protobuf encoding.
    pub async fn unary(
        &self,
        path: &PathAndQuery,
        message: Bytes,
        metadata: HeaderMap,
        options: UnaryOptions,
    ) -> Result<UnaryReply, Status> {
        let deadline = earliest(Instant::now() + options.deadline);
        let traits = Traits { deadline, idempotent: options.idempotent, unary: true };
        let body = Replay::Whole(framed(&message));
        self.measured(head(path, metadata), body, traits).await.into_unary()
    }

    /// Makes a call of which either side is a stream. `body` yields messages, each after the five bytes
    /// of its prefix ([`framed`]); an error from it resets the call. The `deadline` is for the beginning
    /// of the reply and travels with the call; how long the reply may go on is the caller's to say.
    ///
    /// The call is repeated only as long as no server has looked at it. An error is the status that
    /// came in place of a reply.
    pub async fn stream(
        &self,
        path: &PathAndQuery,
        body: Body,
        metadata: HeaderMap,
        deadline: Duration,
    ) -> Result<StreamReply, Status> {
        let deadline = earliest(Instant::now() + deadline);
        let traits = Traits { deadline, idempotent: false, unary: false };
        let body = Replay::read(body).await;
        let reply = self.measured(head(path, metadata), body, traits).await;
        let (head, body) = reply.into_response().into_parts();
        match Status::from_header_map(&head.headers) {
            Some(status) if status.code() != Code::Ok => Err(status),
            _ => Ok(StreamReply { metadata: head.headers, body }),
        }
    }

    async fn measured(&self, mut head: Parts, body: Replay, traits: Traits) -> Reply {
        metadata::complete(&mut head.headers);
        let Some(metrics) = &self.metrics else {
            return self.exchange.run(head, body, traits).await;
        };
        let trace = propagation::exported_trace_in(&head.headers);
        let (method, start) = (head.uri.path().to_owned(), Instant::now());
        let reply = self.exchange.run(head, body, traits).await;
        metrics.rpc_client_call(&method, reply.code(), start.elapsed(), trace);
        reply
    }

    /// What holds for a call: the caller's timeout or else the method's, never later than the
    /// deadline of the call being served.
    fn traits(&self, request: &Request<Body>) -> Traits {
        let policy = self.policies.get().and_then(|table| table.method(request.uri().path()));
        let timeout = metadata::timeout(request.headers())
            .or(policy.map(|policy| policy.deadline))
            .unwrap_or(self.default_deadline);
        Traits {
            deadline: earliest(Instant::now() + timeout),
            idempotent: policy.is_some_and(|policy| policy.idempotency.is_repeatable()),
            unary: policy.is_some_and(|policy| !policy.server_streaming),
        }
    }
}

impl tower::Service<Request<Body>> for MeshChannel {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let traits = self.traits(&request);
        let channel = self.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = Replay::read(body).await;
            Ok(channel.measured(head, body, traits).await.into_response())
        })
    }
}

impl std::fmt::Debug for MeshChannel {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("MeshChannel").field("service", &self.service()).finish()
    }
}

/// The head of a call.
fn head(path: &PathAndQuery, metadata: HeaderMap) -> Parts {
    let (mut head, ()) = Request::new(()).into_parts();
    head.uri = path.clone().into();
    head.headers = metadata;
    head
}

fn earliest(deadline: Instant) -> Instant {
    match call::current().and_then(|call| call.deadline) {
        Some(served) => deadline.min(served),
        None => deadline,
    }
}
