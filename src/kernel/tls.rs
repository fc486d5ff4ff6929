//! Certificates and identities of the mesh.
//!
//! Every process of the mesh carries one certificate, signed by the mesh's certificate authority.
//! The first DNS name in it is the identity: `identity-svc`, `gateway`. Both sides of a connection
//! show theirs, so a server knows which service calls and a client knows that it reached the
//! service it wanted, whatever the address said.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

mod identity;
mod served;
mod trust;

pub use identity::MeshIdentity;
pub use served::ServedCertificate;
pub use trust::ServerTrust;

/// ALPN names a server of the mesh offers, the preferred one first.
const ALPN_PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// What a listener shows, and whom it lets in. It may change while the listener serves: the next
/// handshake is by what holds then, connections stay as they are.
#[derive(Clone, Debug)]
pub enum ServerTls {
    /// The certificate of this process on the mesh; clients must show one, too.
    Mesh(MeshIdentity),
    /// This configuration.
    Fixed(Arc<ServerConfig>),
}

impl ServerTls {
    /// For the next handshake.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(match self {
            Self::Mesh(identity) => identity.server_config(),
            Self::Fixed(config) => Arc::clone(config),
        })
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

fn root_store(authorities: &[CertificateDer<'static>]) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in authorities {
        roots.add(certificate.clone()).context("it is no certificate authority")?;
    }
    Ok(roots)
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
