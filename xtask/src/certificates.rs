//! The development certificates: one authority, one certificate for each identity of the mesh.
//!
//! The identity is the DNS name of the certificate, the same for the server and the client side.
//! What is missing, half-written, of another authority or about to expire is issued anew.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};

use crate::files::{self, Access};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long the authority is valid.
const AUTHORITY_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// How long a certificate is valid.
const CERTIFICATE_LIFE: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// What expires sooner than this is issued anew.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Tolerance for clocks that are behind.
const BACKDATE: Duration = DAY;

/// Name of the authority.
const AUTHORITY: &str = "Mainstay development CA";

/// Certificates in a folder.
#[derive(Clone, Debug)]
pub(crate) struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    /// Those of a folder.
    pub(crate) fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The authority's certificate.
    pub(crate) fn authority(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// The certificate of an identity.
    pub(crate) fn certificate(&self, identity: &str) -> PathBuf {
        self.folder.join(format!("{identity}.pem"))
    }

    /// The key of an identity.
    pub(crate) fn key(&self, identity: &str) -> PathBuf {
        self.folder.join(format!("{identity}.key"))
    }

    fn authority_key(&self) -> PathBuf {
        self.folder.join("ca.key")
    }

    /// Issues what is not in order and says why; silent about what was never there.
    pub(crate) fn ensure<'a>(
        &self,
        identities: impl IntoIterator<Item = &'a str>,
    ) -> anyhow::Result<Vec<String>> {
        std::fs::create_dir_all(&self.folder)
            .with_context(|| format!("{} cannot be made", self.folder.display()))?;
        let mut notices = Vec::new();
        let fault = self.fault(&self.authority(), &self.authority_key(), AUTHORITY);
        if let Some(fault) = &fault {
            notices.extend(fault.notice("the development CA"));
            self.issue_authority()?;
        }
        let issuer = self.issuer()?;
        for identity in identities {
            // An authority that was issued anew makes every certificate of the old one worthless.
            let fault = match &fault {
                Some(_) => Some(Fault::Missing),
                None => self.fault(&self.certificate(identity), &self.key(identity), AUTHORITY),
            };
            if let Some(fault) = fault {
                notices.extend(fault.notice(&format!("the certificate of {identity}")));
                self.issue(identity, &issuer)?;
            }
        }
        Ok(notices)
    }

    /// What is wrong with a certificate and its key, if anything is.
    fn fault(&self, certificate: &Path, key: &Path, issuer: &str) -> Option<Fault> {
        if !certificate.exists() && !key.exists() {
            return Some(Fault::Missing);
        }
        match inspect(certificate, key, issuer) {
            Ok(expires) if expires < SystemTime::now() + RENEW_BEFORE => Some(Fault::Expiring),
            Ok(_) => None,
            Err(error) => Some(Fault::Damaged(format!("{error:#}"))),
        }
    }

    fn issue_authority(&self) -> anyhow::Result<()> {
        let key = KeyPair::generate()?;
        let certificate = authority_params().self_signed(&key)?;
        files::write(&self.authority_key(), key.serialize_pem().as_bytes(), Access::Owner)?;
        files::write(&self.authority(), certificate.pem().as_bytes(), Access::Everybody)
    }

    /// The authority as a signer: its name and key say all that a signature needs.
    fn issuer(&self) -> anyhow::Result<Issuer<'static, KeyPair>> {
        let key = KeyPair::from_pem(&std::fs::read_to_string(self.authority_key())?)?;
        Ok(Issuer::new(authority_params(), key))
    }

    fn issue(&self, identity: &str, issuer: &Issuer<'_, KeyPair>) -> anyhow::Result<()> {
        let key = KeyPair::generate()?;
        let certificate = identity_params(identity)?.signed_by(&key, issuer)?;
        files::write(&self.key(identity), key.serialize_pem().as_bytes(), Access::Owner)?;
        files::write(&self.certificate(identity), certificate.pem().as_bytes(), Access::Everybody)
    }
}

#[derive(Debug)]
enum Fault {
    Missing,
    Expiring,
    Damaged(String),
}

impl Fault {
    fn notice(&self, what: &str) -> Option<String> {
        match self {
            Self::Missing => None,
            Self::Expiring => Some(format!("{what} expires within 30 days: issued anew")),
            Self::Damaged(why) => Some(format!("{what} was damaged ({why}): issued anew")),
        }
    }
}

/// Reads a certificate and its key and returns when the certificate expires.
fn inspect(certificate: &Path, key: &Path, issuer: &str) -> anyhow::Result<SystemTime> {
    let text = std::fs::read(certificate).context("the certificate cannot be read")?;
    let (_, pem) = x509_parser::pem::parse_x509_pem(&text).context("the certificate is no PEM")?;
    let parsed = pem.parse_x509().context("the certificate is no X.509")?;
    let key = std::fs::read_to_string(key).context("the key cannot be read")?;
    let key = KeyPair::from_pem(&key).context("the key is no PEM key")?;
    anyhow::ensure!(
        parsed.public_key().subject_public_key.as_ref() == key.public_key_raw(),
        "certificate and key do not belong together"
    );
    let names = || parsed.issuer().iter_common_name().filter_map(|name| name.as_str().ok());
    anyhow::ensure!(names().any(|name| name == issuer), "another authority issued it");
    let expires = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
    Ok(UNIX_EPOCH + Duration::from_secs(expires))
}

fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(AUTHORITY);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_validity(&mut params, AUTHORITY_LIFE);
    params
}

fn identity_params(identity: &str) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(vec![identity.to_owned()])?;
    // Tools such as grpcurl connect to the address; the mesh itself looks at the DNS name alone.
    params.subject_alt_names.push(SanType::IpAddress(Ipv4Addr::LOCALHOST.into()));
    params.distinguished_name = common_name(identity);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    set_validity(&mut params, CERTIFICATE_LIFE);
    Ok(params)
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn set_validity(params: &mut CertificateParams, life: Duration) {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = rcgen::date_time_ymd(1970, 1, 1) + since_epoch;
    params.not_before = now - BACKDATE;
    params.not_after = now + life;
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const IDENTITIES: [&str; 2] = ["gateway", "auth-svc"];

    #[test]
    fn certificates_are_issued_once_with_keys_for_the_owner_alone() {
        let (_folder, certificates) = issued();
        let before = std::fs::read(certificates.certificate("gateway")).unwrap();
        assert_eq!(certificates.ensure(IDENTITIES).unwrap(), Vec::<String>::new());
        assert_eq!(std::fs::read(certificates.certificate("gateway")).unwrap(), before);
        for key in [certificates.key("gateway"), certificates.authority_key()] {
            assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn the_identity_is_the_dns_name() {
        let (_folder, certificates) = issued();
        let text = std::fs::read(certificates.certificate("auth-svc")).unwrap();
        let (_, pem) = x509_parser::pem::parse_x509_pem(&text).unwrap();
        let parsed = pem.parse_x509().unwrap();
        let names = parsed.subject_alternative_name().unwrap().unwrap().value;
        assert!(format!("{names:?}").contains("DNSName(\"auth-svc\")"), "{names:?}");
    }

    #[test]
    fn a_half_written_certificate_is_issued_anew_and_the_others_stay() {
        let (_folder, certificates) = issued();
        let path = certificates.certificate("gateway");
        let text = std::fs::read(&path).unwrap();
        std::fs::write(&path, &text[..text.len() / 2]).unwrap();
        let other = std::fs::read(certificates.certificate("auth-svc")).unwrap();
        let notices = certificates.ensure(IDENTITIES).unwrap();
        assert_eq!(notices.len(), 1);
        assert!(notices[0].contains("gateway was damaged"), "{notices:?}");
        assert_eq!(std::fs::read(certificates.certificate("auth-svc")).unwrap(), other);
        assert_eq!(certificates.ensure(IDENTITIES).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn without_the_authoritys_key_everything_is_issued_anew() {
        let (_folder, certificates) = issued();
        let before = std::fs::read(certificates.certificate("gateway")).unwrap();
        std::fs::remove_file(certificates.authority_key()).unwrap();
        let notices = certificates.ensure(IDENTITIES).unwrap();
        assert!(notices[0].contains("development CA was damaged"), "{notices:?}");
        assert_ne!(std::fs::read(certificates.certificate("gateway")).unwrap(), before);
    }

    #[test]
    fn a_certificate_that_is_about_to_expire_is_issued_anew() {
        let (_folder, certificates) = issued();
        let key = KeyPair::generate().unwrap();
        let mut params = identity_params("gateway").unwrap();
        set_validity(&mut params, 29 * DAY);
        let short = params.signed_by(&key, &certificates.issuer().unwrap()).unwrap();
        std::fs::write(certificates.certificate("gateway"), short.pem()).unwrap();
        std::fs::write(certificates.key("gateway"), key.serialize_pem()).unwrap();
        let notices = certificates.ensure(IDENTITIES).unwrap();
        assert!(notices[0].contains("expires within 30 days"), "{notices:?}");
    }

    fn issued() -> (tempfile::TempDir, Certificates) {
        let folder = tempfile::tempdir().unwrap();
        let certificates = Certificates::at(folder.path().join("tls"));
        assert_eq!(certificates.ensure(IDENTITIES).unwrap(), Vec::<String>::new());
        (folder, certificates)
    }
}
