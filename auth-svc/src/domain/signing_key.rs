//! The keys that sign access tokens, and when which of them does.
//!
//! A key signs from its `activate_time` until its successor's. It is published before and after:
//! before, so that verifiers know it when its first token comes; after, until its last token has
//! expired. Both follow from the times of two keys, so that replicas agree without speaking.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, SubsecRound as _, Utc};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{AccessClaims, AuthError};

/// The type of an access token (RFC 9068 section 2.1).
const TOKEN_TYPE: &str = "at+jwt";

/// An Ed25519 key pair.
#[derive(Clone)]
pub struct SigningKey {
    /// Counts the keys, from 1; no two keys have the same.
    pub generation: i64,
    /// When it was made.
    pub create_time: DateTime<Utc>,
    /// From when it signs.
    pub activate_time: DateTime<Utc>,
    pkcs8: Zeroizing<Vec<u8>>,
    public_key: Vec<u8>,
    encoding: EncodingKey,
}

impl SigningKey {
    /// A new key.
    pub fn generate(
        generation: i64,
        now: DateTime<Utc>,
        activate_time: DateTime<Utc>,
    ) -> Result<Self, AuthError> {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
            .map_err(|_| AuthError::failed(anyhow::anyhow!("no randomness for a signing key")))?;
        let pkcs8 = Zeroizing::new(pkcs8.as_ref().to_vec());
        Self::restore(generation, now.trunc_subsecs(6), activate_time.trunc_subsecs(6), pkcs8)
    }

    /// A key as the store kept it, its private part in PKCS#8.
    pub fn restore(
        generation: i64,
        create_time: DateTime<Utc>,
        activate_time: DateTime<Utc>,
        pkcs8: Zeroizing<Vec<u8>>,
    ) -> Result<Self, AuthError> {
        let pair = Ed25519KeyPair::from_pkcs8(&pkcs8).map_err(|error| {
            AuthError::failed(anyhow::anyhow!("signing key {generation} is broken: {error}"))
        })?;
        let public_key = pair.public_key().as_ref().to_vec();
        let encoding = EncodingKey::from_ed_der(&pkcs8);
        Ok(Self { generation, create_time, activate_time, pkcs8, public_key, encoding })
    }

    /// The private part in PKCS#8, for the store alone.
    pub fn expose_pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The public key, base64url: `x` of its JSON Web Key.
    pub fn public_x(&self) -> String {
        URL_SAFE_NO_PAD.encode(&self.public_key)
    }

    /// Id of the key: the thumbprint of its public part (RFC 7638, RFC 8037 appendix A.3).
    pub fn kid(&self) -> String {
        let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, self.public_x());
        URL_SAFE_NO_PAD.encode(Sha256::digest(canonical))
    }

    /// An access token with these claims.
    pub fn sign(&self, claims: &AccessClaims) -> Result<String, AuthError> {
        let header = Header {
            typ: Some(TOKEN_TYPE.to_owned()),
            kid: Some(self.kid()),
            ..Header::new(Algorithm::EdDSA)
        };
        jsonwebtoken::encode(&header, claims, &self.encoding).map_err(AuthError::failed)
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("SigningKey")
            .field("kid", &self.kid())
            .field("generation", &self.generation)
            .field("activate_time", &self.activate_time)
            .finish_non_exhaustive()
    }
}

/// When keys change.
#[derive(Clone, Copy, Debug)]
pub struct KeySchedule {
    /// How long a key signs.
    pub life: Duration,
    /// How long a key is published before it signs.
    pub publish_ahead: Duration,
    /// How long tokens may still be valid after the last one was signed.
    pub token_life: Duration,
}

/// All keys, newest first.
#[derive(Clone, Debug, Default)]
pub struct KeyRing {
    keys: Vec<SigningKey>,
}

impl KeyRing {
    /// A ring of these keys.
    pub fn new(mut keys: Vec<SigningKey>) -> Self {
        keys.sort_by_key(|key| std::cmp::Reverse(key.generation));
        Self { keys }
    }

    /// The key that signs now.
    pub fn signer(&self, now: DateTime<Utc>) -> Option<&SigningKey> {
        self.keys.iter().find(|key| key.activate_time <= now)
    }

    /// The keys that verify: the one that signs now first, then its successor, then those whose
    /// tokens may still be valid.
    pub fn published(&self, schedule: KeySchedule, now: DateTime<Utc>) -> Vec<&SigningKey> {
        let signer = self.signer(now);
        let others = self.keys.iter().filter(|key| {
            signer.is_none_or(|signer| signer.generation != key.generation)
                && !self.is_spent(key, schedule, now)
        });
        signer.into_iter().chain(others).collect()
    }

    /// Generations of the keys that no valid token needs any more.
    pub fn spent(&self, schedule: KeySchedule, now: DateTime<Utc>) -> Vec<i64> {
        let spent = self.keys.iter().filter(|key| self.is_spent(key, schedule, now));
        spent.map(|key| key.generation).collect()
    }

    /// The key to add now, if it is time: the first, which signs at once, or the successor of the
    /// newest, early enough to be known everywhere when it begins to sign.
    pub fn successor(
        &self,
        schedule: KeySchedule,
        now: DateTime<Utc>,
    ) -> Result<Option<SigningKey>, AuthError> {
        let Some(newest) = self.keys.first() else {
            return SigningKey::generate(1, now, now).map(Some);
        };
        let earliest = now + schedule.publish_ahead;
        let due = newest.activate_time + schedule.life;
        if due > earliest {
            return Ok(None);
        }
        SigningKey::generate(newest.generation + 1, now, due.max(earliest)).map(Some)
    }

    fn is_spent(&self, key: &SigningKey, schedule: KeySchedule, now: DateTime<Utc>) -> bool {
        let later = self.keys.iter().filter(|other| other.generation > key.generation);
        let successor = later.min_by_key(|other| other.generation);
        successor.is_some_and(|successor| successor.activate_time + schedule.token_life <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);
    const MINUTE: Duration = Duration::from_secs(60);
    const SCHEDULE: KeySchedule = KeySchedule {
        life: Duration::from_secs(30 * 86_400),
        publish_ahead: MINUTE,
        token_life: MINUTE,
    };

    fn generations(keys: &[&SigningKey]) -> Vec<i64> {
        keys.iter().map(|key| key.generation).collect()
    }

    #[test]
    fn the_first_key_signs_at_once() {
        let now = Utc::now();
        let first = KeyRing::default().successor(SCHEDULE, now).expect("randomness").expect("due");
        let ring = KeyRing::new(vec![first]);
        assert_eq!(ring.signer(now).map(|key| key.generation), Some(1));
        assert!(ring.successor(SCHEDULE, now).expect("randomness").is_none());
    }

    #[test]
    fn a_successor_is_published_before_it_signs_and_the_old_key_after() {
        let start = Utc::now();
        let first = SigningKey::generate(1, start, start).expect("randomness");
        let ring = KeyRing::new(vec![first.clone()]);
        assert!(ring.successor(SCHEDULE, start + 29 * DAY).expect("randomness").is_none());

        let early = start + 30 * DAY - MINUTE;
        let second = ring.successor(SCHEDULE, early).expect("randomness").expect("due");
        let ring = KeyRing::new(vec![first, second]);
        assert_eq!(generations(&ring.published(SCHEDULE, early)), [1, 2]);
        let turn = early + MINUTE;
        assert_eq!(generations(&ring.published(SCHEDULE, turn)), [2, 1]);
        assert_eq!(generations(&ring.published(SCHEDULE, turn + MINUTE)), [2]);
        assert_eq!(ring.spent(SCHEDULE, turn + MINUTE), [1]);
    }

    #[test]
    fn a_key_that_is_overdue_still_gives_its_successor_time_to_be_known() {
        let start = Utc::now();
        let ring = KeyRing::new(vec![SigningKey::generate(1, start, start).expect("randomness")]);
        let late = start + 90 * DAY;
        let second = ring.successor(SCHEDULE, late).expect("randomness").expect("due");
        assert_eq!(second.activate_time, (late + MINUTE).trunc_subsecs(6));
        assert_eq!(ring.signer(late).map(|key| key.generation), Some(1));
    }

    #[test]
    fn a_token_is_verified_by_the_published_key() {
        let now = Utc::now();
        let key = SigningKey::generate(1, now, now).expect("randomness");
        let restored =
            SigningKey::restore(1, now, now, Zeroizing::new(key.expose_pkcs8().to_vec()));
        assert_eq!(restored.expect("sound").kid(), key.kid());
        let token = key.sign(&claims(now)).expect("signs");

        let decoding = jsonwebtoken::DecodingKey::from_ed_components(&key.public_x()).expect("key");
        let mut validation = jsonwebtoken::Validation::new(Algorithm::EdDSA);
        validation.set_audience(&["mainstay"]);
        let read = jsonwebtoken::decode::<serde_json::Value>(&token, &decoding, &validation);
        let read = read.expect("verifies");
        assert_eq!(read.header.typ.as_deref(), Some("at+jwt"));
        assert_eq!(read.claims["sub"], "ada");
    }

    fn claims(now: DateTime<Utc>) -> AccessClaims {
        AccessClaims {
            iss: "http://localhost".into(),
            sub: "ada".into(),
            aud: "mainstay".into(),
            exp: now.timestamp() + 600,
            nbf: now.timestamp(),
            iat: now.timestamp(),
            jti: "1".into(),
            sid: "2".into(),
            roles: vec![],
            plan: "free".into(),
        }
    }
}
