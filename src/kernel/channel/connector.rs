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
    tcp: HttpConnector,
    /// `None` where connections are plaintext.
    tls: Option<Tls>,
    protocol: Protocol,
    timeout: Duration,
}

#[derive(Clone)]
enum Tls {
    /// As [`Security::Mesh`], with the name of the service.
    Mesh(MeshIdentity, ServerName<'static>),
    Servers(ServerTrust),
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
        let tls = match security {
            Security::Plaintext => None,
            Security::Mesh(identity) => {
                let name = ServerName::try_from(service.to_owned())
                    .with_context(|| format!("`{service}` is no name of a service"))?;
                Some(Tls::Mesh(identity.clone(), name))
            }
            Security::Servers(trust) => Some(Tls::Servers(trust.clone())),
        };
        Ok(Self { tcp, tls, protocol: settings.transport, timeout: settings.connect_timeout })
    }

    /// For the next handshake: certificates of the mesh change while there are channels.
    fn secured(&self, tls: &Tls) -> HttpsConnector<HttpConnector> {
        let builder = HttpsConnectorBuilder::new();
        let builder = match tls {
            Tls::Mesh(identity, name) => builder
                .with_tls_config(identity.client_config())
                .https_only()
                .with_server_name_resolver(FixedServerNameResolver::new(name.clone())),
            Tls::Servers(trust) => builder.with_tls_config(trust.client_config()).https_only(),
        };
        match self.protocol {
            Protocol::Grpc => builder.enable_http2().wrap_connector(self.tcp.clone()),
            Protocol::GrpcWeb => builder.enable_http1().wrap_connector(self.tcp.clone()),
        }
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Stream, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting: BoxFuture<'static, Result<Stream, BoxError>> = match &self.tls {
            Some(tls) => Box::pin(self.secured(tls).call(uri)),
            None => {
                let connecting = self.tcp.call(uri);
                Box::pin(async move { Ok(MaybeHttpsStream::Http(connecting.await?)) })
            }
        };
        let timeout = self.timeout;
        Box::pin(async move { tokio::time::timeout(timeout, connecting).await? })
    }
}
