//! Calls to the cluster, and what may come of them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures::stream;
use http::Uri;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tonic::body::Body;
use tonic::metadata::AsciiMetadataValue;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::kernel::proto::etcd::auth_client::AuthClient;
use crate::kernel::proto::etcd::kv_client::KvClient;
use crate::kernel::proto::etcd::lease_client::LeaseClient;
use crate::kernel::proto::etcd::watch_client::WatchClient;
use crate::kernel::proto::etcd::watch_request::RequestUnion;
use crate::kernel::proto::etcd::{
    AuthenticateRequest, KeyValue, LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest,
    PutRequest, RangeRequest, WatchCreateRequest, WatchRequest, WatchResponse,
};
use crate::kernel::registry::announced::Fault;
use crate::kernel::registry::tls::{Protocol, connector, origin};
use crate::kernel::settings::EtcdSettings;

/// The metadata that carries the token of a user.
const TOKEN: &str = "token";

/// A silent connection is asked for a sign of life this often, and given up without one.
const KEEP_ALIVE: Duration = Duration::from_secs(4);

/// What etcd says when it has changed its users since it gave out the token.
const OLD_REVISION: &str = "revision of auth store is old";

type Transport = Client<HttpsConnector<HttpConnector>, Body>;

/// The gRPC interface of a cluster.
pub(super) struct EtcdClient {
    transport: Transport,
    members: Vec<Uri>,
    /// Index of the member that is asked.
    member: AtomicUsize,
    settings: EtcdSettings,
    token: Mutex<Option<AsciiMetadataValue>>,
}

impl EtcdClient {
    pub(super) fn new(settings: &EtcdSettings) -> anyhow::Result<Self> {
        let members = settings.urls.iter().map(|url| origin("registry.etcd.urls", url));
        let members = members.collect::<anyhow::Result<Vec<_>>>()?;
        ensure!(!members.is_empty(), "registry.etcd.urls is empty: name the cluster's members");
        let timeout = settings.request_timeout;
        let secure = members.iter().find(|member| member.scheme_str() == Some("https"));
        let connector =
            connector(secure.unwrap_or(&members[0]), &settings.tls, Protocol::Http2, timeout)
                .context("registry.etcd.tls")?;
        let transport = Client::builder(TokioExecutor::new())
            .http2_only(true)
            .timer(TokioTimer::new())
            .http2_keep_alive_interval(KEEP_ALIVE)
            .http2_keep_alive_timeout(KEEP_ALIVE)
            .http2_keep_alive_while_idle(true)
            .build(connector);
        let (member, token) = (AtomicUsize::default(), Mutex::default());
        Ok(Self { transport, members, member, settings: settings.clone(), token })
    }

    /// All keys that begin so, and the revision at which they were read.
    pub(super) async fn list(&self, folder: &str) -> Result<(i64, Vec<KeyValue>), Fault> {
        let request = RangeRequest { key: folder.into(), range_end: end_of(folder) };
        let reply = self
            .call(request, async |client, request| {
                KvClient::with_origin(client.transport.clone(), client.origin())
                    .max_decoding_message_size(usize::MAX)
                    .range(request)
                    .await
            })
            .await?;
        Ok((reply.header.map_or(0, |header| header.revision), reply.kvs))
    }

    /// Whether there is such a key.
    pub(super) async fn exists(&self, key: &str) -> Result<bool, Fault> {
        let request = RangeRequest { key: key.into(), range_end: Vec::new() };
        let reply = self
            .call(request, async |client, request| {
                KvClient::with_origin(client.transport.clone(), client.origin())
                    .range(request)
                    .await
            })
            .await?;
        Ok(!reply.kvs.is_empty())
    }

    /// Writes a key that lives as long as the lease.
    pub(super) async fn put(&self, key: &str, value: &[u8], lease: i64) -> Result<(), Fault> {
        let request = PutRequest { key: key.into(), value: value.into(), lease };
        self.call(request, async |client, request| {
            KvClient::with_origin(client.transport.clone(), client.origin()).put(request).await
        })
        .await
        .map(drop)
    }

    /// Makes a lease and returns its id.
    pub(super) async fn grant(&self, time_to_live: Duration) -> Result<i64, Fault> {
        let seconds = i64::try_from(time_to_live.as_secs()).unwrap_or(i64::MAX).max(1);
        let request = LeaseGrantRequest { ttl: seconds, id: 0 };
        let reply = self.call(request, async |client, request| {
            LeaseClient::with_origin(client.transport.clone(), client.origin())
                .lease_grant(request)
                .await
        });
        Ok(reply.await?.id)
    }

    /// Prolongs a lease; `false` when there is none any more.
    pub(super) async fn keep_alive(&self, lease: i64) -> Result<bool, Fault> {
        let request = LeaseKeepAliveRequest { id: lease };
        let mut replies = self
            .call(request, async |client, request| {
                LeaseClient::with_origin(client.transport.clone(), client.origin())
                    .lease_keep_alive(request.map(|request| stream::iter([request])))
                    .await
            })
            .await?;
        let reply = self.in_time(replies.message()).await.map_err(|status| self.fault(status))?;
        Ok(reply.is_some_and(|reply| reply.ttl > 0))
    }

    /// Ends a lease, and with it its keys.
    pub(super) async fn revoke(&self, lease: i64) -> Result<(), Fault> {
        let request = LeaseRevokeRequest { id: lease };
        self.call(request, async |client, request| {
            LeaseClient::with_origin(client.transport.clone(), client.origin())
                .lease_revoke(request)
                .await
        })
        .await
        .map(drop)
    }

    /// News of all keys that begin so, from a revision on.
    pub(super) async fn watch(
        &self,
        folder: &str,
        start_revision: i64,
    ) -> Result<Streaming<WatchResponse>, Fault> {
        let request =
            WatchCreateRequest { key: folder.into(), range_end: end_of(folder), start_revision };
        self.call(request, async |client, request| {
            let request = request.map(|create| {
                let create =
                    WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
                // The watch lasts as long as its stream of requests.
                stream::StreamExt::chain(stream::iter([create]), stream::pending())
            });
            WatchClient::with_origin(client.transport.clone(), client.origin())
                .max_decoding_message_size(usize::MAX)
                .watch(request)
                .await
        })
        .await
    }

    /// What a failed call means. The next member is asked from now on, if this one cannot be.
    pub(super) fn fault(&self, status: Status) -> Fault {
        match status.code() {
            Code::NotFound => Fault::NotFound,
            Code::PermissionDenied | Code::Unauthenticated | Code::InvalidArgument => {
                Fault::Refused(format!(
                    "{}; registry.etcd.user must be one whose role may read and write `/{}/`",
                    status.message(),
                    self.settings.prefix
                ))
            }
            _ => {
                self.member.fetch_add(1, Ordering::Relaxed);
                let (code, message) = (status.code(), status.message());
                Fault::Away(anyhow::anyhow!("{code:?}: {message}"))
            }
        }
    }

    /// Makes a call as the user of the settings. A token that etcd does not know any more, for it was
    /// restarted, is exchanged for a new one.
    async fn call<M: Clone, R>(
        &self,
        message: M,
        call: impl AsyncFn(&Self, Request<M>) -> Result<Response<R>, Status>,
    ) -> Result<R, Fault> {
        let request = self.request(message.clone()).await?;
        let first = self.in_time(call(self, request)).await;
        let outcome = match first {
            Err(status) if self.has_user() && is_stale(&status) => {
                self.set_token(None);
                let request = self.request(message).await?;
                self.in_time(call(self, request)).await
            }
            outcome => outcome,
        };
        outcome.map(Response::into_inner).map_err(|status| self.fault(status))
    }

    async fn request<M>(&self, message: M) -> Result<Request<M>, Fault> {
        let mut request = Request::new(message);
        if self.has_user() {
            request.metadata_mut().insert(TOKEN, self.token().await?);
        }
        Ok(request)
    }

    async fn token(&self) -> Result<AsciiMetadataValue, Fault> {
        let known = self.token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(token) = known {
            return Ok(token);
        }
        let request = AuthenticateRequest {
            name: self.settings.user.clone(),
            password: self.settings.password.expose().clone(),
        };
        let mut client = AuthClient::with_origin(self.transport.clone(), self.origin());
        let reply = self.in_time(client.authenticate(request)).await;
        let token = reply.map_err(|status| self.fault(status))?.into_inner().token;
        let token: AsciiMetadataValue =
            token.parse().map_err(|_| Fault::Refused("etcd gave out no token".to_owned()))?;
        self.set_token(Some(token.clone()));
        Ok(token)
    }

    fn set_token(&self, token: Option<AsciiMetadataValue>) {
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = token;
    }

    fn has_user(&self) -> bool {
        !self.settings.user.is_empty()
    }

    fn origin(&self) -> Uri {
        self.members[self.member.load(Ordering::Relaxed) % self.members.len()].clone()
    }

    async fn in_time<T>(
        &self,
        future: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Status> {
        match tokio::time::timeout(self.settings.request_timeout, future).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Status::deadline_exceeded("no answer in time")),
        }
    }
}

fn is_stale(status: &Status) -> bool {
    status.code() == Code::Unauthenticated || status.message().contains(OLD_REVISION)
}

/// The first key after all that begin with `folder`, which ends in `/`.
fn end_of(folder: &str) -> Vec<u8> {
    let mut end = folder.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}
