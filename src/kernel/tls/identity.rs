//! The certificate of this process on the mesh, and the authority that it trusts.
//!
//! Both are replaced while the process runs. What issues certificates renews them long before their end
//! and writes the files anew, so a process that read them once would be shut out one day. They are taken
//! when they fit and name the same identity; else what held before holds on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use arc_swap::ArcSwap;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_util::sync::CancellationToken;

use super::{
    ALPN_PROTOCOLS, certificates, not_after, peer_identity, private_key, provider, read_file,
    root_store,
};
use crate::kernel::changes::{Changes, INTERVAL};
use crate::kernel::settings::{TlsMode, TlsSettings};
use crate::kernel::telemetry::Metrics;

/// What to do about a certificate that is missing or does not fit, named in every error.
const MEND: &str = "`cargo xtask up` makes development certificates";

/// The name of the certificate in metrics.
const MESH: &str = "mesh";

/// The certificate of this process, with the authority that all members of the mesh trust. Clones
/// are of one identity, and change together.
#[derive(Clone)]
pub struct MeshIdentity(Arc<Inner>);

struct Inner {
    name: String,
    files: Files,
    held: ArcSwap<Held>,
}

/// The identity as it holds now.
struct Held {
    content: Content,
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
        let files = Files {
            authority: authority.to_owned(),
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        };
        let read = || files.held(files.read()?);
        let (name, held) = read()
            .with_context(|| format!("the certificates of the mesh cannot be used ({MEND})"))?;
        Ok(Self(Arc::new(Inner { name, files, held: ArcSwap::from_pointee(held) })))
    }

    /// The identity that the own certificate states.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// For listeners: every client must show a certificate of the mesh.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.held.load().server)
    }

    /// For connections to members of the mesh. ALPN is left to the connector.
    pub fn client_config(&self) -> ClientConfig {
        ClientConfig::clone(&self.0.held.load().client)
    }

    /// Follows the files until the shutdown: handshakes from a second or two after a change are by what
    /// the files hold then. Connections stay as they are. Tells `metrics` when what is held ends, and
    /// whether a change was refused.
    pub fn spawn_reload(&self, metrics: Metrics, shutdown: CancellationToken) {
        let identity = self.clone();
        identity.report(&metrics);
        metrics.certificate_refused(MESH, false);
        tokio::spawn(async move {
            let mut changes = Changes::since(identity.0.held.load().content.clone());
            while shutdown.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_some() {
                let found = identity.0.files.read().unwrap_or_default();
                let Some(changed) = changes.look(found) else { continue };
                let taken = identity.take(changed.clone());
                metrics.certificate_refused(MESH, taken.is_err());
                identity.report(&metrics);
                identity.log(&taken);
            }
        });
    }

    fn take(&self, content: Content) -> anyhow::Result<()> {
        let (name, held) = self.0.files.held(content)?;
        ensure!(
            name == self.0.name,
            "{} is of {name}, and this process is {}",
            self.0.files.certificate.display(),
            self.0.name
        );
        self.0.held.store(Arc::new(held));
        Ok(())
    }

    fn report(&self, metrics: &Metrics) {
        let held = self.0.held.load();
        metrics.certificate_not_after(MESH, held.not_after);
        metrics.certificate_not_after("mesh-authority", held.authority_not_after);
    }

    fn log(&self, taken: &anyhow::Result<()>) {
        let certificate = self.0.files.certificate.display();
        match taken {
            Ok(()) => {
                tracing::info!(%certificate, "the certificate of the mesh changed and is shown from now on")
            }
            Err(error) => {
                let error = format!("{error:#}");
                tracing::error!(
                    error,
                    "the certificate of the mesh is refused: the last good one holds"
                );
            }
        }
    }
}

impl std::fmt::Debug for MeshIdentity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("MeshIdentity").field("name", &self.0.name).finish_non_exhaustive()
    }
}

struct Files {
    authority: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

/// What stands in the files.
#[derive(Clone, Default, PartialEq, Eq)]
struct Content {
    authority: Vec<u8>,
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Files {
    fn read(&self) -> anyhow::Result<Content> {
        Ok(Content {
            authority: read_file(&self.authority)?,
            certificate: read_file(&self.certificate)?,
            key: read_file(&self.key)?,
        })
    }

    /// The name in the certificate, and what handshakes need. An error names the file.
    fn held(&self, content: Content) -> anyhow::Result<(String, Held)> {
        let named = |path: &Path| path.display().to_string();
        let (certificate, key_file) = (&self.certificate, &self.key);
        let authorities =
            certificates(&content.authority).with_context(|| named(&self.authority))?;
        let roots = root_store(&authorities).with_context(|| named(&self.authority))?;
        let chain = certificates(&content.certificate).with_context(|| named(certificate))?;
        let key = private_key(&content.key).with_context(|| named(key_file))?;
        let name = peer_identity(&chain).with_context(|| {
            format!("{} names no identity: it has no DNS name", certificate.display())
        })?;
        let ends = not_after(&chain).with_context(|| named(certificate))?;
        let authority_ends = not_after(&authorities).with_context(|| named(&self.authority))?;
        let fit = || format!("{} and its key do not fit", certificate.display());
        let server = server_config(&roots, chain.clone(), key.clone_key()).with_context(fit)?;
        let client = client_config(roots, chain, key).with_context(fit)?;
        let held = Held {
            content,
            server: Arc::new(server),
            client: Arc::new(client),
            not_after: ends,
            authority_not_after: authority_ends,
        };
        Ok((name, held))
    }
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
