//! The certificate of the public address.

use std::path::{Path, PathBuf};

use anyhow::bail;
use serde::{Deserialize, Serialize};

/// `[gateway.tls]`: what the gateway shows to callers. With neither file it speaks plain HTTP, as behind a
/// proxy that speaks TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EdgeTls {
    /// PEM file with the certificate chain, the gateway's own certificate first. A change of the file takes
    /// effect without a restart. Default: none.
    pub certificate: Option<PathBuf>,
    /// PEM file with the certificate's private key. A change of the file takes effect without a restart.
    /// Default: none.
    pub key: Option<PathBuf>,
}

impl EdgeTls {
    /// Certificate and key, if the public address is to speak TLS.
    ///
    /// # Errors
    /// When one is there without the other.
    pub(crate) fn files(&self) -> anyhow::Result<Option<(&Path, &Path)>> {
        match (&self.certificate, &self.key) {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
            _ => bail!(
                "gateway.tls has one of certificate and key: set both, or neither for plain HTTP"
            ),
        }
    }
}
