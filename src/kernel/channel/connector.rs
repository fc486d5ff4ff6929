//! Opening connections, TLS included, within the time that the settings give.

use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Context as _;
use futures::future::BoxFuture;
use http::Uri;
use hyper_rustls::{
    FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream,
};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tower::{BoxError, Service};

use crate::kernel::settings::{ChannelSettings, Transport as Protocol};
use crate::kernel::tls::{MeshIdentity, ServerTrust};

type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// How connections are secured, and how it is known who answers.
#[derive(Clone, Copy)]
pub(super) enum Security<'a> {
    /// They are not.
    Plaintext,
    /// Both sides show certificates of the mesh; the service's must answer, whatever the address.
    Mesh(&'a MeshIdentity),
    /// The server shows a certificate for the name in its address.
    Servers(&'a ServerTrust),
}

/// Connects to instances of a service.
#[derive(Clone)]
pub(super) struct Connector {
    kind: Kind,
    timeout: Duration,
}

#[derive(Clone)]
enum Kind {
    Tls(HttpsConnector<HttpConnector>),
    Plain(HttpConnector),
}

impl Connector {
    /// For connections to `service`.
    pub(super) fn new(
        service: &str,
        security: Security<'_>,
        settings: &ChannelSettings,
    ) -> anyhow::Result<Self> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(settings.connect_timeout));
        let builder = HttpsConnectorBuilder::new();
        let builder = match security {
            Security::Plaintext => {
                return Ok(Self { kind: Kind::Plain(tcp), timeout: settings.connect_timeout });
            }
            Security::Mesh(identity) => {
                let name = ServerName::try_from(service.to_owned())
                    .with_context(|| format!("`{service}` is no name of a service"))?;
                builder
                    .with_tls_config(identity.client_config())
                    .https_only()
                    .with_server_name_resolver(FixedServerNameResolver::new(name))
            }
            Security::Servers(trust) => builder.with_tls_config(trust.client_config()).https_only(),
        };
        let kind = Kind::Tls(match settings.transport {
            Protocol::Grpc => builder.enable_http2().wrap_connector(tcp),
            Protocol::GrpcWeb => builder.enable_http1().wrap_connector(tcp),
        });
        Ok(Self { kind, timeout: settings.connect_timeout })
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Stream, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match &mut self.kind {
            Kind::Tls(tls) => tls.poll_ready(context),
            Kind::Plain(tcp) => tcp.poll_ready(context).map_err(Into::into),
        }
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting: BoxFuture<'static, Result<Stream, BoxError>> = match &mut self.kind {
            Kind::Tls(tls) => Box::pin(tls.call(uri)),
            Kind::Plain(tcp) => {
                let connecting = tcp.call(uri);
                Box::pin(async move { Ok(MaybeHttpsStream::Http(connecting.await?)) })
            }
        };
        let timeout = self.timeout;
        Box::pin(async move { tokio::time::timeout(timeout, connecting).await? })
    }
}
