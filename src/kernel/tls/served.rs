//! A certificate that a listener shows to the world, and that is replaced while it serves.
//!
//! Certificates are renewed every few weeks by something that writes two files. They are looked at every
//! second and taken when two readings found the same, so that a pair of which one half is still being
//! written is never taken; what does not fit leaves the last good pair. Connections stay as they are: the
//! next handshake shows the new certificate.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::ring::Ticketer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_util::sync::CancellationToken;

use super::{ALPN_PROTOCOLS, ServerTls, certificates, not_after, private_key, provider, read_file};
use crate::kernel::changes::{Changes, INTERVAL};

/// A certificate chain and its private key, from two PEM files.
pub struct ServedCertificate {
    files: Files,
    changes: Changes<Content>,
    shown: Arc<Shown>,
    config: Arc<ServerConfig>,
}

impl ServedCertificate {
    /// Reads the certificate chain and the private key.
    ///
    /// # Errors
    /// When a file cannot be read, or the two do not fit; the message names the file.
    pub fn read(certificate: &Path, key: &Path) -> anyhow::Result<Self> {
        let files = Files { certificate: certificate.to_owned(), key: key.to_owned() };
        let seen = files.read()?;
        let shown = Arc::new(Shown(ArcSwap::from_pointee(files.pair(&seen)?)));
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&shown) as _);
        config.alpn_protocols = ALPN_PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        // Sessions are taken up again without anything kept for them.
        config.ticketer = Ticketer::new()?;
        Ok(Self { files, changes: Changes::since(seen), shown, config: Arc::new(config) })
    }

    /// For listeners: TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1, of clients that need no certificate.
    pub fn server_tls(&self) -> ServerTls {
        ServerTls::Fixed(Arc::clone(&self.config))
    }

    /// When the certificate that is shown ends, in seconds of Unix time.
    pub fn not_after(&self) -> i64 {
        self.shown.not_after()
    }

    /// Follows the files until the shutdown. `report` hears of each change whether it was refused, and when
    /// the certificate ends that is shown.
    pub fn spawn_reload(
        mut self,
        shutdown: CancellationToken,
        report: impl Fn(bool, i64) + Send + 'static,
    ) {
        tokio::spawn(async move {
            while shutdown.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_some() {
                let found = self.files.read().unwrap_or_default();
                if let Some(taken) = self.look(found) {
                    report(taken.is_err(), self.not_after());
                    self.log(&taken);
                }
            }
        });
    }

    /// What became of a change that two looks in a row have found.
    fn look(&mut self, found: Content) -> Option<anyhow::Result<()>> {
        let taken = self.files.pair(self.changes.look(found)?);
        Some(taken.map(|pair| self.shown.0.store(Arc::new(pair))))
    }

    fn log(&self, taken: &anyhow::Result<()>) {
        let certificate = self.files.certificate.display();
        match taken {
            Ok(()) => {
                tracing::info!(%certificate, "the certificate changed and is shown from now on")
            }
            Err(error) => {
                let error = format!("{error:#}");
                tracing::error!(error, "the certificate is refused: the last good one is shown");
            }
        }
    }
}

impl std::fmt::Debug for ServedCertificate {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ServedCertificate")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// What stands in the files.
#[derive(Default, PartialEq, Eq)]
struct Content {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Files {
    fn read(&self) -> anyhow::Result<Content> {
        Ok(Content { certificate: read_file(&self.certificate)?, key: read_file(&self.key)? })
    }

    fn pair(&self, content: &Content) -> anyhow::Result<CertifiedKey> {
        let (certificate, key_file) = (self.certificate.display(), self.key.display());
        let chain = certificates(&content.certificate).with_context(|| certificate.to_string())?;
        let key = private_key(&content.key).with_context(|| key_file.to_string())?;
        CertifiedKey::from_der(chain, key, &provider())
            .with_context(|| format!("{certificate} and {key_file} do not fit"))
    }
}

/// The pair that handshakes show.
#[derive(Debug)]
struct Shown(ArcSwap<CertifiedKey>);

impl Shown {
    fn not_after(&self) -> i64 {
        // What is shown was parsed before; 0 would be a certificate that is over.
        not_after(&self.0.load().cert).unwrap_or_default()
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test fails by panicking
mod tests {
    use super::*;

    /// The PEM of a certificate and of its key.
    fn pair() -> (Vec<u8>, Vec<u8>) {
        let made = rcgen::generate_simple_self_signed(["edge.example.com".to_owned()]).unwrap();
        (made.cert.pem().into(), made.signing_key.serialize_pem().into())
    }

    #[test]
    fn a_pair_is_taken_when_it_is_whole_and_fits() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
        let ((old_chain, old_key), (new_chain, new_key)) = (pair(), pair());
        std::fs::write(&certificate, &old_chain).unwrap();
        std::fs::write(&key, &old_key).unwrap();
        let mut served = ServedCertificate::read(&certificate, &key).unwrap();
        let shown = |served: &ServedCertificate| served.shown.0.load_full().cert[0].to_vec();
        let old = shown(&served);
        let content = |certificate: &[u8], key: &[u8]| Content {
            certificate: certificate.to_vec(),
            key: key.to_vec(),
        };

        assert!(served.look(content(&old_chain, &old_key)).is_none(), "nothing has changed");
        let rows = [
            // One half of a pair, neither, and what is no PEM at all.
            content(&new_chain, &old_key),
            Content::default(),
            content(b"nonsense", &new_key),
            content(&new_chain, b"nonsense"),
        ];
        for bad in rows {
            let again = content(&bad.certificate, &bad.key);
            assert!(served.look(bad).is_none(), "seen once, it may be half written");
            assert!(served.look(again).unwrap().is_err());
            assert_eq!(shown(&served), old);
        }
        assert!(served.look(content(&new_chain, &new_key)).is_none());
        assert!(served.look(content(&new_chain, &new_key)).unwrap().is_ok());
        assert_ne!(shown(&served), old);
        assert!(served.look(content(&new_chain, &new_key)).is_none(), "it is done");
    }

    #[test]
    fn what_does_not_fit_names_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
        let error = ServedCertificate::read(&certificate, &key).unwrap_err();
        assert!(format!("{error:#}").contains("tls.crt"), "{error:#}");
        std::fs::write(&certificate, pair().0).unwrap();
        std::fs::write(&key, pair().1).unwrap();
        let error = ServedCertificate::read(&certificate, &key).unwrap_err();
        assert!(format!("{error:#}").contains("do not fit"), "{error:#}");
    }
}
