//! Certificates and identities of the mesh.
//!
//! Every process of the mesh carries one certificate, signed by the mesh's certificate authority.
//! The first DNS name in it is the identity: `identity-svc`, `gateway`. Both sides of a connection
//! show theirs, so a server knows which service calls and a client knows that it reached the
//! service it wanted, whatever the address said.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::kernel::settings::{TlsMode, TlsSettings};
use crate::kernel::telemetry::Metrics;

mod served;
mod trust;

pub use served::ServedCertificate;
pub use trust::ServerTrust;

/// What to do about a certificate that is missing or does not fit, named in every error.
const MEND: &str = "`cargo xtask up` makes development certificates";

/// ALPN names a server of the mesh offers, the preferred one first.
const ALPN_PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The certificate of this process, with the authority that all members of the mesh trust.
#[derive(Clone)]
pub struct MeshIdentity {
    name: String,
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    /// When the certificate and its authority end, in seconds of Unix time.
    not_after: i64,
    authority_not_after: i64,
}

impl MeshIdentity {
    /// The identity that the settings name; `None` when the mesh is plaintext, where nobody has one.
    pub fn load(settings: &TlsSettings) -> anyhow::Result<Option<Self>> {
        if settings.mode == TlsMode::Plaintext {
            return Ok(None);
        }
        let file = |name: &str, path: &Option<PathBuf>| {
            path.clone().with_context(|| format!("tls.{name} is not set ({MEND})"))
        };
        Self::read(
            &file("ca_file", &settings.ca_file)?,
            &file("cert_file", &settings.cert_file)?,
            &file("key_file", &settings.key_file)?,
        )
        .map(Some)
    }

    /// Reads the authority's certificate, the own certificate chain and the own private key, each
    /// a PEM file. An error names the file and the mend.
    pub fn read(authority: &Path, certificate: &Path, key: &Path) -> anyhow::Result<Self> {
        Self::fit(authority, certificate, key)
            .with_context(|| format!("the certificates of the mesh cannot be used ({MEND})"))
    }

    fn fit(authority: &Path, certificate: &Path, key: &Path) -> anyhow::Result<Self> {
        let named = |path: &Path| path.display().to_string();
        let roots = root_store(authority)?;
        let chain = certificates(&read_file(certificate)?).with_context(|| named(certificate))?;
        let key = private_key(&read_file(key)?).with_context(|| named(key))?;
        let name = peer_identity(&chain).with_context(|| {
            format!("{} names no identity: it has no DNS name", certificate.display())
        })?;
        let ends = not_after(&chain).with_context(|| named(certificate))?;
        let authority_ends =
            not_after(&authorities(authority)?).with_context(|| named(authority))?;
        let fit = || format!("{} and its key do not fit", certificate.display());
        let server = server_config(&roots, chain.clone(), key.clone_key()).with_context(fit)?;
        let client = client_config(roots, chain, key).with_context(fit)?;
        Ok(Self {
            name,
            server: Arc::new(server),
            client: Arc::new(client),
            not_after: ends,
            authority_not_after: authority_ends,
        })
    }

    /// The identity that the own certificate states.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reports when the certificate and that of its authority end.
    pub(crate) fn report_to(&self, metrics: &Metrics) {
        metrics.certificate_not_after("mesh", self.not_after);
        metrics.certificate_not_after("mesh-authority", self.authority_not_after);
    }

    /// For listeners: every client must show a certificate of the mesh.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }

    /// For connections to members of the mesh. ALPN is left to the connector.
    pub fn client_config(&self) -> ClientConfig {
        ClientConfig::clone(&self.client)
    }
}

impl std::fmt::Debug for MeshIdentity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("MeshIdentity").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The identity that a verified certificate chain states: the first DNS name of its leaf.
pub fn peer_identity(chain: &[CertificateDer<'_>]) -> Option<String> {
    let (_, leaf) = X509Certificate::from_der(chain.first()?).ok()?;
    let names = leaf.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    })
}

/// When the first of these certificates to end does so, in seconds of Unix time.
fn not_after(chain: &[CertificateDer<'_>]) -> anyhow::Result<i64> {
    let ends = chain.iter().map(|certificate| {
        let (_, certificate) = X509Certificate::from_der(certificate)?;
        anyhow::Ok(certificate.validity().not_after.timestamp())
    });
    let ends = ends.collect::<anyhow::Result<Vec<_>>>()?;
    ends.into_iter().min().context("it holds no certificate")
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn server_config(
    roots: &RootCertStore,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> anyhow::Result<ServerConfig> {
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots.clone()), provider()).build()?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = ALPN_PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Ok(config)
}

fn client_config(
    roots: RootCertStore,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> anyhow::Result<ClientConfig> {
    Ok(ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?)
}

fn root_store(authority: &Path) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in authorities(authority)? {
        roots
            .add(certificate)
            .with_context(|| format!("{} is no certificate authority", authority.display()))?;
    }
    Ok(roots)
}

fn authorities(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    certificates(&read_file(file)?).with_context(|| file.display().to_string())
}

fn certificates(pem: &[u8]) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| anyhow::anyhow!("it is not a PEM file: {error}"))?;
    ensure!(!certificates.is_empty(), "it holds no certificate");
    Ok(certificates)
}

fn private_key(pem: &[u8]) -> anyhow::Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_slice(pem)
        .map_err(|error| anyhow::anyhow!("it holds no private key: {error}"))
}

fn read_file(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
