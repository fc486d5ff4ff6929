//! The public keys, cached.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{DecodingKey, Validation};
use tokio::sync::Mutex;

use super::profile::Profile;
use super::{Claims, KeySource, LEEWAY_SECONDS, TokenSettings, refused};
use crate::kernel::error::{Error, Result};

/// How often an unknown key makes us ask, so that made-up keys cannot make us flood the source.
const UNKNOWN_KEY_INTERVAL: Duration = Duration::from_secs(10);

/// How often we ask while no keys have arrived at all.
const FIRST_KEYS_INTERVAL: Duration = Duration::from_millis(500);

/// How long the source may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// The keys, by their ids.
pub(super) struct Keys {
    profile: Profile,
    source: Arc<dyn KeySource>,
    settings: TokenSettings,
    current: ArcSwapOption<HashMap<String, Arc<Key>>>,
    /// When the source was last asked. Held while it is asked, so that many callers ask once.
    asked: Mutex<Option<Instant>>,
}

/// A public key and what a token signed by it must say.
pub(super) struct Key {
    profile: Profile,
    key: DecodingKey,
    validation: Validation,
}

impl Key {
    pub(super) fn verify(&self, token: &str) -> jsonwebtoken::errors::Result<Claims> {
        self.profile.decode(token, &self.key, &self.validation)
    }
}

impl Keys {
    pub(super) fn new(
        profile: Profile,
        settings: &TokenSettings,
        source: Arc<dyn KeySource>,
    ) -> Self {
        Self {
            profile,
            source,
            settings: settings.clone(),
            current: ArcSwapOption::empty(),
            asked: Mutex::new(None),
        }
    }

    /// The key of an id; the source is asked for one that is not known, within bounds.
    pub(super) async fn find(&self, kid: &str) -> Result<Arc<Key>> {
        if let Some(key) = self.known(kid) {
            return Ok(key);
        }
        let mut asked = self.asked.lock().await;
        // Somebody else may have fetched it while we waited.
        if let Some(key) = self.known(kid) {
            return Ok(key);
        }
        let interval = match self.current.load().is_some() {
            true => UNKNOWN_KEY_INTERVAL,
            false => FIRST_KEYS_INTERVAL,
        };
        if asked.is_none_or(|asked| asked.elapsed() >= interval) {
            *asked = Some(Instant::now());
            if let Err(error) = self.fetch().await {
                tracing::warn!(%error, "token keys could not be fetched");
            }
        }
        match self.current.load().is_some() {
            true => self.known(kid).ok_or_else(|| refused("the access token's key is not known")),
            false => Err(Error::unavailable("access tokens cannot be verified yet")),
        }
    }

    /// Asks the source now.
    pub(super) async fn refresh(&self) -> Result<()> {
        let mut asked = self.asked.lock().await;
        *asked = Some(Instant::now());
        self.fetch().await
    }

    /// Whether keys have arrived.
    pub(super) fn are_there(&self) -> bool {
        self.current.load().is_some()
    }

    /// Whether a key is among them.
    pub(super) fn knows(&self, kid: &str) -> bool {
        self.known(kid).is_some()
    }

    fn known(&self, kid: &str) -> Option<Arc<Key>> {
        self.current.load().as_ref()?.get(kid).cloned()
    }

    async fn fetch(&self) -> Result<()> {
        let fetched = tokio::time::timeout(FETCH_TIMEOUT, self.source.jwks());
        let set: JwkSet = fetched.await.map_err(|_| Error::unavailable("timed out"))??;
        let keys: HashMap<_, _> = set.keys.iter().filter_map(|jwk| self.key(jwk)).collect();
        if keys.is_empty() {
            return Err(Error::unavailable("the key set holds no key that could verify"));
        }
        self.current.store(Some(Arc::new(keys)));
        Ok(())
    }

    /// A key of the algorithms we take; others in the set are not for us.
    fn key(&self, jwk: &Jwk) -> Option<(String, Arc<Key>)> {
        let is_for_signatures =
            jwk.common.public_key_use.as_ref().is_none_or(|used| *used == PublicKeyUse::Signature);
        let algorithms = self.profile.algorithms(jwk);
        let first = algorithms.first().copied().filter(|_| is_for_signatures)?;
        let mut validation = Validation::new(first);
        validation.algorithms = algorithms;
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        validation.set_required_spec_claims(self.profile.required_claims());
        validation.set_issuer(&[&self.settings.issuer]);
        validation.set_audience(&[&self.settings.audience]);
        let key = DecodingKey::from_jwk(jwk).ok()?;
        let key_id = self.profile.key_id(jwk.common.key_id.as_deref())?;
        Some((key_id.to_owned(), Arc::new(Key { profile: self.profile, key, validation })))
    }
}
