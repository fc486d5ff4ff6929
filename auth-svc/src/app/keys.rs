//! Keys that sign, and keys that verify.

use chrono::Utc;

use super::App;
use crate::domain::{AccessClaims, AuthError};

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedKey {
    /// Id of the key.
    pub kid: String,
    /// The key itself, base64url.
    pub x: String,
}

impl App {
    /// The public keys: the one that signs now first.
    pub async fn key_list(&self) -> Result<Vec<PublishedKey>, AuthError> {
        let ring = self.keys.ring().await?;
        let published = ring.published(self.config.key_schedule(), Utc::now());
        Ok(published
            .into_iter()
            .map(|key| PublishedKey { kid: key.kid(), x: key.public_x() })
            .collect())
    }

    /// Sees to it that there is a key and that its successor comes in time. Any number of replicas
    /// may do so at the same time.
    pub async fn key_rotate(&self) -> Result<(), AuthError> {
        self.keys.rotate(self.config.key_schedule()).await
    }

    /// Signs an access token.
    pub(super) async fn token_sign(&self, claims: &AccessClaims) -> Result<String, AuthError> {
        let ring = self.keys.ring().await?;
        let signer = ring
            .signer(Utc::now())
            .ok_or_else(|| AuthError::failed(anyhow::anyhow!("there is no signing key")))?;
        signer.sign(claims)
    }
}
