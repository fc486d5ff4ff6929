//! A mesh in one process: a certificate authority, identities, servers and channels.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::{BufMut as _, Bytes, BytesMut};
use http::HeaderMap;
use http_body::Frame;
use http_body_util::StreamBody;
use mainstay::kernel::channel::{MeshChannel, UnaryOptions, UnaryReply};
use mainstay::kernel::registry::StaticRegistry;
use mainstay::kernel::server::{Listener, Serving};
use mainstay::kernel::settings::{ChannelSettings, ServerLimits, TlsMode, TlsSettings};
use mainstay::kernel::tls::{MeshIdentity, ServerTls};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tonic::Status;
use tonic_web::GrpcWebLayer;
use tracing_subscriber::layer::SubscriberExt as _;

/// A method that no contract governs, for servers without policies.
pub(crate) const ECHO: &str = "/test.Echo/Say";

pub(crate) struct Mesh {
    folder: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Mesh {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let authority = CertifiedIssuer::self_signed(params, key).unwrap();
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        Self { folder, authority }
    }

    /// Settings that name the certificate of `name`, which is made by the way.
    pub(crate) fn settings(&self, name: &str) -> TlsSettings {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        let path = |file: &str| self.folder.path().join(file);
        let (cert_file, key_file) = (path(&format!("{name}.pem")), path(&format!("{name}.key")));
        std::fs::write(&cert_file, certificate.pem()).unwrap();
        std::fs::write(&key_file, key.serialize_pem()).unwrap();
        TlsSettings {
            mode: TlsMode::Mtls,
            ca_file: Some(path("ca.pem")),
            cert_file: Some(cert_file),
            key_file: Some(key_file),
        }
    }

    pub(crate) fn identity(&self, name: &str) -> MeshIdentity {
        MeshIdentity::load(&self.settings(name)).unwrap().unwrap()
    }

    /// Serves `app` as the service `name` on a free port.
    pub(crate) async fn serve(&self, name: &str, app: Router) -> Serving {
        self.serve_at(name, free_port(), app).await
    }

    pub(crate) async fn serve_at(&self, name: &str, address: SocketAddr, app: Router) -> Serving {
        let tls = ServerTls::Mesh(self.identity(name));
        let limits = ServerLimits::default();
        eventually(async || Listener::bind(address, Some(tls.clone()), &limits).await.ok())
            .await
            .serve(app)
    }

    /// A channel of the member `name` to a service at the addresses of `registry`.
    pub(crate) fn channel(
        &self,
        name: &str,
        service: &str,
        registry: &StaticRegistry,
    ) -> MeshChannel {
        self.channel_with(name, service, registry, &ChannelSettings::default())
    }

    pub(crate) fn channel_with(
        &self,
        name: &str,
        service: &str,
        registry: &StaticRegistry,
        settings: &ChannelSettings,
    ) -> MeshChannel {
        let identity = self.identity(name);
        MeshChannel::new(service, Some(&identity), registry, settings).unwrap()
    }
}

/// Port 0 of the loopback.
pub(crate) fn free_port() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// A loopback address on which nobody listens.
pub(crate) fn dead_address() -> SocketAddr {
    mainstay_testing::free_address()
}

/// An app that answers every call with what `answer` makes of the request, over both transports.
pub(crate) fn answering<F, Fut>(answer: F) -> Router
where
    F: Fn(Request) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Response> + Send + 'static,
{
    Router::new().fallback(answer).layer(GrpcWebLayer::new())
}

/// A gRPC reply of one message.
pub(crate) fn reply(message: &[u8]) -> Response {
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(message.len() as u32);
    framed.put_slice(message);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    // No length: gRPC-Web sends the trailers as part of the body.
    let frames = [Frame::data(framed.freeze()), Frame::trailers(trailers)];
    let body = StreamBody::new(futures::stream::iter(frames.map(Ok::<_, Infallible>)));
    Response::builder().header("content-type", "application/grpc").body(Body::new(body)).unwrap()
}

/// A gRPC reply without a message.
pub(crate) fn failure(status: Status) -> Response {
    status.into_http()
}

pub(crate) const IDEMPOTENT: UnaryOptions =
    UnaryOptions { deadline: Duration::from_secs(5), idempotent: true };
pub(crate) const NOT_IDEMPOTENT: UnaryOptions =
    UnaryOptions { deadline: Duration::from_secs(5), idempotent: false };

pub(crate) async fn say(
    channel: &MeshChannel,
    message: &'static str,
    options: UnaryOptions,
) -> Result<UnaryReply, Status> {
    call(channel, ECHO, Bytes::from(message), HeaderMap::new(), options).await
}

pub(crate) async fn call(
    channel: &MeshChannel,
    path: &'static str,
    message: Bytes,
    metadata: HeaderMap,
    options: UnaryOptions,
) -> Result<UnaryReply, Status> {
    let path = http::uri::PathAndQuery::from_static(path);
    channel.unary(&path, message, metadata, options).await
}

/// Traces for the whole process: spans that other tests have met untraced would stay so on one
/// thread. Who has installed tracing before is left with it.
pub(crate) fn install_tracing() {
    let provider = SdkTracerProvider::builder().build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer));
}

/// Polls until `probe` has an answer; panics when it has none within ten seconds.
pub(crate) async fn eventually<T>(mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(answer) = probe().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "it did not happen within ten seconds");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
