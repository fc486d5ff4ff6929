//! TLS at the public address, and to the server behind a gateway that stands alone.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gateway::GatewaySettings;
use gateway::config::EdgeTls;
use http::{Request, Response, Version};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mainstay::kernel::server::Listener;
use mainstay::kernel::settings::ServerLimits;
use mainstay::kernel::tls::ServedCertificate;
use mainstay_testing::eventually;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::standalone::{Gateway, Reflects, Server, app, command, descriptors};
use crate::world::World;

const HTTP_2: &[&[u8]] = &[b"h2"];
const HTTP_1: &[&[u8]] = &[b"http/1.1"];
const HSTS: &str = "max-age=31536000; includeSubDomains";

/// A certificate for `localhost` and its key, in two files.
struct Certificate {
    folder: TempDir,
}

impl Certificate {
    fn new() -> Self {
        let certificate = Self { folder: tempfile::tempdir().unwrap() };
        certificate.renew();
        certificate
    }

    /// Another pair in the same files. It is signed by itself, so its own word is taken.
    fn renew(&self) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(self.key(), made.signing_key.serialize_pem()).unwrap();
        std::fs::write(self.chain(), made.cert.pem()).unwrap();
    }

    fn chain(&self) -> PathBuf {
        self.folder.path().join("tls.crt")
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("tls.key")
    }

    fn settings(&self) -> EdgeTls {
        EdgeTls { certificate: Some(self.chain()), key: Some(self.key()) }
    }

    fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.chain()).unwrap()
    }

    /// A client that trusts the pair of this moment, and speaks these protocols.
    fn client(&self, protocols: &[&[u8]]) -> Client {
        self.client_of(protocols, rustls::ALL_VERSIONS)
    }

    fn client_of(
        &self,
        protocols: &[&[u8]],
        versions: &[&'static SupportedProtocolVersion],
    ) -> Client {
        let mut roots = RootCertStore::empty();
        roots.add(self.der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Client(TlsConnector::from(Arc::new(config)))
    }
}

struct Client(TlsConnector);

impl Client {
    async fn connect(&self, address: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from("localhost").unwrap();
        self.0.connect(name, TcpStream::connect(address).await?).await
    }

    /// GET over a connection of its own, in the protocol that was agreed on.
    async fn get(&self, address: SocketAddr, path: &str) -> Response<Incoming> {
        let io = self.connect(address).await.unwrap();
        let request = Request::get(format!("https://localhost:{}{path}", address.port()));
        if io.get_ref().1.alpn_protocol() == Some(HTTP_2[0]) {
            let handshake =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(io));
            let (mut sender, connection) = handshake.await.unwrap();
            tokio::spawn(connection);
            let request = request.body(Empty::<Bytes>::new()).unwrap();
            return sender.send_request(request).await.unwrap();
        }
        let mut kept = Kept::over(io).await;
        kept.get(path).await
    }
}

/// A connection that is kept, over HTTP/1.1.
struct Kept(hyper::client::conn::http1::SendRequest<Empty<Bytes>>);

impl Kept {
    async fn over(io: TlsStream<TcpStream>) -> Self {
        let (sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(io)).await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    async fn get(&mut self, path: &str) -> Response<Incoming> {
        self.0.ready().await.unwrap();
        let request = Request::get(path).header("host", "localhost").body(Empty::new()).unwrap();
        self.0.send_request(request).await.unwrap()
    }
}

/// The certificate that a server shows to a new connection.
async fn shown(address: SocketAddr, client: &Client) -> Option<CertificateDer<'static>> {
    let io = client.connect(address).await.ok()?;
    Some(io.get_ref().1.peer_certificates().unwrap()[0].clone())
}

fn with(certificate: &Certificate) -> GatewaySettings {
    GatewaySettings { tls: certificate.settings(), ..GatewaySettings::default() }
}

#[tokio::test]
async fn whoever_comes_is_served_over_tls_and_told_to_stay_there() {
    let certificate = Certificate::new();
    let world = World::with(with(&certificate)).await;
    let address = world.gateway.local_addr();
    for (protocols, versions, version) in [
        (HTTP_2, &[&rustls::version::TLS13], Version::HTTP_2),
        (HTTP_1, &[&rustls::version::TLS13], Version::HTTP_11),
        (HTTP_2, &[&rustls::version::TLS12], Version::HTTP_2),
        (&[], &[&rustls::version::TLS12], Version::HTTP_11),
    ] {
        let client = certificate.client_of(protocols, versions);
        let reply = client.get(address, "/api/v1/books/b1").await;
        assert_eq!((reply.status().as_u16(), reply.version()), (200, version));
        assert_eq!(reply.headers()["strict-transport-security"], HSTS, "{version:?}");
        let body = reply.into_body().collect().await.unwrap().to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["data"]["id"], "b1");
    }
    let plain = world.rest().try_send(http::Method::GET, "/", &[], Bytes::new()).await;
    assert!(plain.is_err(), "nothing is answered in the clear");
    assert_eq!(world.admin().get("/healthz").await.status, 200, "probes have no certificate");
}

#[tokio::test]
async fn a_new_certificate_is_shown_at_once_and_one_that_does_not_fit_never() {
    let certificate = Certificate::new();
    let world = World::with(with(&certificate)).await;
    let (address, admin) = (world.gateway.local_addr(), world.admin());
    let (old, of_old) = (certificate.der(), certificate.client(HTTP_1));
    let mut kept = Kept::over(of_old.connect(address).await.unwrap()).await;
    kept.get("/nothing").await.into_body().collect().await.unwrap();
    let refused = async |wanted: u8| {
        let line = format!("mainstay_certificate_refused{{certificate=\"edge\"}} {wanted}");
        eventually(&line, async || {
            admin.get("/metrics").await.text().contains(&line).then_some(())
        })
        .await;
    };

    refused(0).await;
    let sound = std::fs::read(certificate.key()).unwrap();
    std::fs::write(certificate.key(), "nonsense").unwrap();
    refused(1).await;
    assert_eq!(shown(address, &of_old).await, Some(old.clone()), "the last good one");
    std::fs::write(certificate.key(), sound).unwrap();
    refused(0).await;

    certificate.renew();
    let of_new = certificate.client(HTTP_1);
    let new = eventually("the new one is shown", async || shown(address, &of_new).await).await;
    assert_eq!(new, certificate.der());
    assert_ne!(new, old);
    let reply = kept.get("/nothing").await;
    assert_eq!(reply.status(), 404, "who was connected is served on");
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_refuses_the_start() {
    let certificate = Certificate::new();
    let (chain, key) = (certificate.chain(), certificate.key());
    let upstream = "127.0.0.1:1";
    let run = |options: &[&str]| {
        let output = command(upstream, options).output().unwrap();
        assert!(!output.status.success(), "{options:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
            + &String::from_utf8_lossy(&output.stdout)
    };
    let (chain, key) = (chain.to_str().unwrap(), key.to_str().unwrap());
    assert!(run(&["--tls-cert", chain]).contains("--tls-key"));
    let crossed = run(&["--listen", "127.0.0.1:0", "--tls-cert", key, "--tls-key", chain]);
    assert!(crossed.contains("holds no certificate"), "{crossed}");
    assert!(run(&["--upstream-ca", chain]).contains("--upstream https://HOST:PORT"));
    assert!(run(&["--upstream", "https://127.0.0.1:1"]).contains("to be the same"));
    let halves = GatewaySettings {
        tls: EdgeTls { key: None, ..certificate.settings() },
        ..GatewaySettings::default()
    };
    let error = mainstay::kernel::settings::ServiceSettings::validate(&halves).unwrap_err();
    assert!(error.to_string().contains("gateway.tls"), "{error}");
}

#[tokio::test]
async fn who_does_not_finish_a_handshake_is_let_go() {
    let certificate = Certificate::new();
    let world = World::build(|mesh| {
        let mut settings = mesh.settings(gateway::SERVICE, with(&certificate));
        settings.kernel.limits.handshake_timeout = Duration::from_millis(50);
        settings
    })
    .await;
    let mut silent = TcpStream::connect(world.gateway.local_addr()).await.unwrap();
    let read = tokio::time::timeout(Duration::from_secs(10), silent.read(&mut [0; 16])).await;
    // Nothing was said, so nothing is answered: the connection ends.
    assert_eq!(read.expect("it is let go").unwrap_or(0), 0);
}

#[tokio::test]
async fn a_server_behind_tls_is_known_by_its_authority() {
    let (certificate, other) = (Certificate::new(), Certificate::new());
    let served = ServedCertificate::read(&certificate.chain(), &certificate.key()).unwrap();
    let free = "127.0.0.1:0".parse().unwrap();
    let limits = ServerLimits::default();
    let listener = Listener::bind(free, Some(served.server_tls()), &limits).await.unwrap();
    let server = listener.for_anyone().serve(app(Reflects::V1, &Arc::default()));
    let upstream = format!("https://localhost:{}", server.local_addr().port());
    let authority = |certificate: &Certificate| certificate.chain().to_str().unwrap().to_owned();

    let gateway = Gateway::routed(&upstream, &["--upstream-ca", &authority(&certificate)]).await;
    let item = gateway.rest.get("/v1/shelves/1/items/a").await.expect(200);
    assert_eq!(item["displayName"], "Lamp");

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), descriptors()).unwrap();
    let file = file.path().to_str().unwrap();
    let options = ["--upstream-ca", &authority(&other), "--descriptors", file];
    let stranger = Gateway::routed(&upstream, &options).await;
    let reply = stranger.rest.get("/v1/shelves/1/items/a").await;
    assert_eq!(reply.error_code(503), "UNAVAILABLE", "a server that nobody vouches for");
}

#[tokio::test]
async fn a_gateway_that_stands_alone_speaks_tls_too() {
    let (server, certificate) = (Server::start(Reflects::V1).await, Certificate::new());
    let (chain, key) = (certificate.chain(), certificate.key());
    let options = ["--tls-cert", chain.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let gateway = Gateway::start(server.address, &options).await;
    let client = certificate.client(HTTP_2);
    let reply = eventually("the routes are known", async || {
        let reply = client.get(gateway.address, "/v1/shelves/1/items/a").await;
        (reply.status() != 503).then_some(reply)
    })
    .await;
    assert_eq!((reply.status().as_u16(), reply.version()), (200, Version::HTTP_2));
    assert_eq!(reply.headers()["strict-transport-security"], HSTS);
}
