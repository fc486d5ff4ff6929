//! Connections to the servers of registries, with or without TLS.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use http::Uri;
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};

use crate::kernel::settings::ServerTls;

/// The versions of HTTP that a server is spoken to in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// Connects to the server at `origin`, which is `http://` or `https://`.
pub(super) fn connector(
    origin: &Uri,
    settings: &ServerTls,
    protocol: Protocol,
    timeout: Duration,
) -> anyhow::Result<HttpsConnector<HttpConnector>> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(timeout));
    let tls = match origin.scheme_str() {
        Some("https") => client_config(settings)?,
        _ => never_used()?,
    };
    let builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
    Ok(match protocol {
        Protocol::Http1 => builder.enable_http1().wrap_connector(tcp),
        Protocol::Http2 => builder.enable_http2().wrap_connector(tcp),
    })
}

/// The address of a server as `scheme://host:port`; `name` is the setting that states it.
pub(super) fn origin(name: &str, url: &str) -> anyhow::Result<Uri> {
    let mend = || format!("{name} `{url}` is no address: write http://host:port");
    let uri: Uri = url.parse().with_context(mend)?;
    let http = matches!(uri.scheme_str(), Some("http" | "https"));
    ensure!(http && uri.authority().is_some() && matches!(uri.path(), "" | "/"), mend());
    Ok(uri)
}

/// Trusts nobody: a plaintext server needs no authorities, and the machine may have none.
fn never_used() -> anyhow::Result<ClientConfig> {
    Ok(versions()?.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

fn versions() -> anyhow::Result<ConfigBuilder<ClientConfig, WantsVerifier>> {
    let provider = Arc::new(ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?)
}

fn client_config(settings: &ServerTls) -> anyhow::Result<ClientConfig> {
    let trusting = match &settings.ca_file {
        Some(file) => versions()?.with_root_certificates(roots(file)?),
        None => {
            versions()?.with_native_roots().context("the machine's authorities cannot be read")?
        }
    };
    match (&settings.cert_file, &settings.key_file) {
        (None, None) => Ok(trusting.with_no_client_auth()),
        (Some(certificate), Some(key)) => trusting
            .with_client_auth_cert(certificates(certificate)?, private_key(key)?)
            .with_context(|| format!("{} and its key do not fit", certificate.display())),
        _ => bail!("a client certificate needs both cert_file and key_file"),
    }
}

fn roots(file: &Path) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots
            .add(certificate)
            .with_context(|| format!("{} is no certificate authority", file.display()))?;
    }
    Ok(roots)
}

fn certificates(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    let certificates: Vec<_> =
        read.with_context(|| format!("{} is no readable PEM file", file.display()))?;
    ensure!(!certificates.is_empty(), "{} holds no certificate", file.display());
    Ok(certificates)
}

fn private_key(file: &Path) -> anyhow::Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(file)
        .with_context(|| format!("{} holds no readable private key", file.display()))
}
