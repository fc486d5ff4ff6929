//! A certificate authority for one test: every identity gets a certificate of its own.

use std::path::{Path, PathBuf};

use mainstay::kernel::settings::{TlsMode, TlsSettings};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

/// Signs the certificates of a mesh that lives in one folder.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
}

impl Authority {
    /// An authority whose certificate and those it signs lie in `folder`.
    pub fn new(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).expect("the test folder takes a folder");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Mainstay test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, new_key()).expect("sound parameters");
        write(&folder.join("ca.pem"), &issuer.pem());
        Self { issuer, folder: folder.to_owned() }
    }

    /// The settings of a process with this identity; its certificate is made when asked first.
    pub fn settings(&self, identity: &str) -> TlsSettings {
        let certificate = self.folder.join(format!("{identity}.pem"));
        let key = self.folder.join(format!("{identity}.key"));
        if !certificate.exists() {
            self.issue(identity, &certificate, &key);
        }
        TlsSettings {
            mode: TlsMode::Mtls,
            ca_file: Some(self.folder.join("ca.pem")),
            cert_file: Some(certificate),
            key_file: Some(key),
        }
    }

    fn issue(&self, identity: &str, certificate: &Path, key: &Path) {
        let mut params =
            CertificateParams::new([identity.to_owned()]).expect("an identity is a DNS name");
        params.distinguished_name.push(DnType::CommonName, identity);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let pair = new_key();
        let signed = params.signed_by(&pair, &self.issuer).expect("sound parameters");
        write(key, &pair.serialize_pem());
        write(certificate, &signed.pem());
    }
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("the machine has randomness")
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("the test folder takes a file");
}
