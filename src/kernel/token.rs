//! Verification of access tokens, locally.
//!
//! Tokens are JSON Web Tokens by RFC 9068, signed with EdDSA or ES256 and nothing else. The keys
//! come from a [`KeySource`] and are cached; sessions that ended early come from a
//! [`RevocationSource`], which is asked twice a second. While the sources are away the last good
//! state holds; before the first state has arrived nothing can be said, and that is `UNAVAILABLE`.
//!
//! [`Verifier::of_any_issuer`] takes the tokens of others, as OpenID providers issue them: by RFC 7519
//! alone, with the signatures that such providers use.

mod keys;
mod profile;
mod refresh;
mod revocations;
mod shared;
mod source;
#[cfg(test)]
mod tests;
mod verified;

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{decode_header, errors::ErrorKind, get_current_timestamp};
use serde::{Deserialize, Serialize};

use crate::kernel::error::{Error, Result, UNAUTHENTICATED};

pub use shared::{RevocationFeed, SharedRevocations};
pub use source::PublishedKeys;

use keys::Keys;
use profile::Profile;
use revocations::{NothingRevoked, RevokedSessions};
use verified::{Verified, VerifiedTokens};

/// The most that clocks may differ, in seconds.
const LEEWAY_SECONDS: u64 = 5;

/// The longest that a token may be valid, in seconds. Ended sessions are remembered as long, so that
/// a token of longer life could outlive its revocation; it is refused.
const MAX_TOKEN_SECONDS: u64 = 60 * 60;

/// The longest token that is looked at, in bytes.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// What a token's signer states about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSettings {
    /// The claim `iss` that tokens must have.
    pub issuer: String,
    /// The claim `aud` that tokens must have.
    pub audience: String,
}

/// Where the public keys come from.
#[async_trait]
pub trait KeySource: Send + Sync {
    /// The keys as a JSON Web Key Set.
    async fn jwks(&self) -> Result<JwkSet>;
}

/// Where ended sessions come from.
#[async_trait]
pub trait RevocationSource: Send + Sync {
    /// The sessions that ended since then; all whose tokens could still be valid when `None`.
    async fn revocations(&self, since: Option<SystemTime>) -> Result<Revocations>;

    /// Waits until the source says by itself that there is something new; one that never does leaves
    /// it to be asked. Safe to cancel.
    async fn changed(&self) {
        std::future::pending().await
    }
}

/// Sessions that ended before their tokens expired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocations {
    /// Ids of the sessions.
    pub session_ids: Vec<String>,
    /// The source's clock: `since` of the next question.
    pub as_of: SystemTime,
}

/// What a verified token says. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who issued it.
    pub iss: String,
    /// Id of the user.
    pub sub: String,
    /// For whom it was issued.
    pub aud: String,
    /// When it expires.
    pub exp: u64,
    /// Before when it is not valid.
    pub nbf: u64,
    /// When it was issued.
    pub iat: u64,
    /// Id of the token.
    pub jti: String,
    /// Id of the session.
    pub sid: String,
    /// Names of the user's roles.
    pub roles: Vec<String>,
    /// The user's plan.
    pub plan: String,
}

/// Verifies access tokens.
pub struct Verifier {
    profile: Profile,
    keys: Keys,
    revoked: RevokedSessions,
    verified: VerifiedTokens,
}

impl Verifier {
    /// A verifier that asks its sources when it first needs them; [`Verifier::spawn_refresh`] keeps
    /// it up to date.
    pub fn new(
        settings: TokenSettings,
        keys: Arc<dyn KeySource>,
        revocations: Arc<dyn RevocationSource>,
    ) -> Arc<Self> {
        Self::with_profile(Profile::Platform, &settings, keys, revocations)
    }

    /// A verifier of tokens that somebody else issues, by RFC 7519: what the platform's own tokens
    /// must say beside issuer, subject, audience and expiry may be missing, and RSA signatures are
    /// taken too. Such tokens hold until they expire.
    pub fn of_any_issuer(settings: TokenSettings, keys: Arc<dyn KeySource>) -> Arc<Self> {
        Self::with_profile(Profile::AnyIssuer, &settings, keys, Arc::new(NothingRevoked))
    }

    fn with_profile(
        profile: Profile,
        settings: &TokenSettings,
        keys: Arc<dyn KeySource>,
        revocations: Arc<dyn RevocationSource>,
    ) -> Arc<Self> {
        Arc::new(Self {
            profile,
            keys: Keys::new(profile, settings, keys),
            revoked: RevokedSessions::new(revocations),
            verified: VerifiedTokens::new(),
        })
    }

    /// The claims of a valid token. `UNAUTHENTICATED` when it is not valid, `UNAVAILABLE` when that
    /// cannot be known yet.
    pub async fn verify(&self, token: &str) -> Result<Arc<Claims>> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(refused("the access token is too long"));
        }
        let remembered = self.verified.get(token).await;
        let claims = match remembered.filter(|verified| self.keys.knows(&verified.kid)) {
            Some(verified) => verified.claims,
            None => {
                let verified = self.check(token).await?;
                self.verified.insert(token, verified.clone()).await;
                verified.claims
            }
        };
        if claims.exp + LEEWAY_SECONDS < get_current_timestamp() {
            return Err(expired());
        }
        if self.revoked.contains(&claims.sid).await? {
            return Err(session_over());
        }
        Ok(claims)
    }

    /// Waits until it is heard that a session is over, and returns how its calls are refused: what goes
    /// on for long is to end with the session in whose name it began.
    pub async fn ended(&self, session_id: &str) -> Error {
        self.revoked.ended(session_id).await;
        session_over()
    }

    async fn check(&self, token: &str) -> Result<Verified> {
        let header = decode_header(token).map_err(invalid)?;
        if !self.profile.takes_type(header.typ.as_deref()) {
            return Err(refused("the token is no access token"));
        }
        if header.crit.is_some() {
            // RFC 7515, section 4.1.11: extensions that we do not know must not be passed over.
            return Err(refused("the access token needs an extension"));
        }
        let kid = self.profile.key_id(header.kid.as_deref());
        let kid = kid.ok_or_else(|| refused("the access token names no key"))?;
        let key = self.keys.find(kid).await?;
        let claims = key.verify(token).map_err(invalid)?;
        if claims.exp > get_current_timestamp().saturating_add(self.profile.longest_life()) {
            return Err(refused("the access token is valid for too long"));
        }
        Ok(Verified { claims: Arc::new(claims), kid: kid.into() })
    }
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Verifier").finish_non_exhaustive()
    }
}

fn refused(message: &str) -> Error {
    Error::new(UNAUTHENTICATED, message)
}

fn session_over() -> Error {
    refused("the session is over")
}

fn expired() -> Error {
    refused("the access token has expired")
}

fn invalid(error: jsonwebtoken::errors::Error) -> Error {
    match error.kind() {
        ErrorKind::ExpiredSignature => expired(),
        _ => refused("the access token is not valid").because(error),
    }
}
