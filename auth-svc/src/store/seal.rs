//! Signing keys are encrypted at rest when the settings have a key for it.
//!
//! AES-256-GCM with a random 96-bit nonce before the ciphertext, bound to the id of the signing key.
//! Without a key for it, a signing key lies in the clear in auth's own database and is as safe as that
//! is: whoever reads the table can issue tokens.

use anyhow::{Context as _, anyhow};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::domain::AuthError;

/// Encrypts and decrypts, or hands through.
#[derive(Clone)]
pub struct Sealer {
    key: Option<LessSafeKey>,
}

impl Sealer {
    /// A sealer with this key; with none, private keys are stored in the clear.
    pub fn new(key: Option<[u8; 32]>) -> anyhow::Result<Self> {
        let unbound = key.map(|key| UnboundKey::new(&AES_256_GCM, &key)).transpose();
        let unbound = unbound.map_err(|_| anyhow!("auth.key_encryption_key does not fit"))?;
        Ok(Self { key: unbound.map(LessSafeKey::new) })
    }

    /// What is stored of a private key, and whether it is encrypted.
    pub(super) fn seal(&self, kid: &str, private: &[u8]) -> Result<(Vec<u8>, bool), AuthError> {
        let Some(key) = &self.key else { return Ok((private.to_vec(), false)) };
        let mut nonce = [0_u8; NONCE_LEN];
        rand::fill(&mut nonce[..]);
        let mut sealed = private.to_vec();
        key.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(kid.as_bytes()),
            &mut sealed,
        )
        .map_err(|_| AuthError::failed(anyhow!("signing key {kid} cannot be encrypted")))?;
        Ok(([&nonce[..], &sealed].concat(), true))
    }

    /// The private key that was stored.
    pub(super) fn open(
        &self,
        kid: &str,
        stored: Vec<u8>,
        sealed: bool,
    ) -> Result<Zeroizing<Vec<u8>>, AuthError> {
        match sealed {
            false => Ok(Zeroizing::new(stored)),
            true => self.decrypt(kid, stored).map_err(AuthError::Failed),
        }
    }

    fn decrypt(&self, kid: &str, mut stored: Vec<u8>) -> anyhow::Result<Zeroizing<Vec<u8>>> {
        let key = self.key.as_ref().with_context(|| {
            format!("signing key {kid} is encrypted: set auth.key_encryption_key as it was")
        })?;
        let nonce: [u8; NONCE_LEN] =
            stored.get(..NONCE_LEN).and_then(|nonce| nonce.try_into().ok()).context("too short")?;
        let private = key
            .open_within(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(kid.as_bytes()),
                &mut stored,
                NONCE_LEN..,
            )
            .map_err(|_| anyhow!("signing key {kid} does not open with auth.key_encryption_key"))?;
        Ok(Zeroizing::new(private.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(key: Option<[u8; 32]>) -> Sealer {
        Sealer::new(key).expect("32 bytes")
    }

    #[test]
    fn what_was_sealed_opens_with_the_same_key_only() {
        let (stored, sealed) = sealer(Some([1; 32])).seal("kid", b"private").expect("seals");
        assert!(sealed && !stored.windows(7).any(|window| window == b"private"));
        let open = |key, kid| sealer(key).open(kid, stored.clone(), sealed);
        assert_eq!(open(Some([1; 32]), "kid").expect("opens").as_slice(), b"private");
        assert!(open(Some([2; 32]), "kid").is_err());
        assert!(open(Some([1; 32]), "another").is_err());
        assert!(open(None, "kid").is_err());
    }

    #[test]
    fn a_key_from_before_encryption_is_still_read() {
        let (stored, sealed) = sealer(None).seal("kid", b"private").expect("hands through");
        let read = sealer(Some([1; 32])).open("kid", stored, sealed).expect("hands through");
        assert_eq!(read.as_slice(), b"private");
    }
}
