//! API keys, exchanged for access tokens by asking auth.

use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use constant_time_eq::constant_time_eq;
use equivalent::Equivalent;
use moka::future::Cache;

use super::{API_KEY_INVALID, API_KEY_PREFIX, AuthClient, proto};
use crate::kernel::error::{Error, Result};
use crate::kernel::settings::Secret;

/// The most keys that are remembered, good and bad together.
const MOST_KEYS: u64 = 50_000;

/// The longest key that is looked at, in bytes.
const MAX_KEY_BYTES: usize = 256;

/// How much sooner than it expires a token is replaced, at most: it must outlive the call that it is
/// taken for.
const REPLACED_BEFORE: Duration = Duration::from_secs(30);

/// How long a key that was refused is refused without asking.
const REFUSED_FOR: Duration = Duration::from_secs(10);

/// The access tokens of API keys. A key is exchanged once for the life of its token, whoever sends it
/// and however often; many calls with a new key wait for one exchange.
#[derive(Clone)]
pub struct RemoteApiKeys {
    client: Arc<dyn AuthClient>,
    known: Cache<Key, Known>,
}

#[derive(Clone)]
struct Known {
    /// `None` for a key that was refused.
    token: Option<Arc<Secret<String>>>,
    life: Duration,
}

impl RemoteApiKeys {
    /// Keys over a client of auth.
    pub fn new(client: impl AuthClient + 'static) -> Self {
        let known = Cache::builder().max_capacity(MOST_KEYS).expire_after(Expiry).build();
        Self { client: Arc::new(client), known }
    }

    /// The access token of a key. [`API_KEY_INVALID`] when the key is not valid, and `UNAVAILABLE`
    /// when that is not known and auth is away.
    pub async fn token(&self, key: &str) -> Result<Arc<Secret<String>>> {
        if !key.starts_with(API_KEY_PREFIX) || key.len() > MAX_KEY_BYTES {
            return Err(refused());
        }
        let exchanged = match self.known.get(&Offered(key)).await {
            Some(known) => known,
            None => {
                let entry = self.known.entry(Key(key.to_owned().into()));
                let asked = entry.or_try_insert_with(self.exchange(key)).await;
                asked.map_err(|error: Arc<Error>| unknown(error))?.into_value()
            }
        };
        exchanged.token.ok_or_else(refused)
    }

    /// Forgets the token of a key, which was not taken: its session may have ended, or its signature may
    /// be of a key that was withdrawn. The next [`RemoteApiKeys::token`] asks.
    pub async fn forget(&self, key: &str, token: &Secret<String>) {
        let is_that = |known: &Known| {
            known.token.as_ref().is_some_and(|known| known.expose() == token.expose())
        };
        if self.known.get(&Offered(key)).await.as_ref().is_some_and(is_that) {
            self.known.invalidate(&Offered(key)).await;
        }
    }

    async fn exchange(&self, key: &str) -> Result<Known> {
        let request = proto::ExchangeApiKeyRequest { key: key.to_owned() };
        match self.client.exchange_api_key(request).await {
            Ok(reply) => {
                let life = Duration::from_secs(u64::try_from(reply.expires_in).unwrap_or(0));
                let token = Some(Arc::new(reply.access_token.into()));
                Ok(Known { token, life: life.saturating_sub(REPLACED_BEFORE.min(life / 2)) })
            }
            Err(error) if error.is(&API_KEY_INVALID) => {
                Ok(Known { token: None, life: REFUSED_FOR })
            }
            Err(error) => Err(error),
        }
    }
}

impl std::fmt::Debug for RemoteApiKeys {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("RemoteApiKeys").finish_non_exhaustive()
    }
}

fn refused() -> Error {
    Error::new(API_KEY_INVALID, "the API key is not valid")
}

/// Of an answer that many wait for, each has its own.
fn unknown(error: Arc<Error>) -> Error {
    Error::unavailable("API keys cannot be checked at the moment").because(error)
}

/// A key that is kept. It is found by the table's keyed hash, and then compared whole.
struct Key(Secret<String>);

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        Offered(self.0.expose()).equivalent(other)
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        Offered(self.0.expose()).hash(state);
    }
}

/// A key that somebody sent.
#[derive(Hash)]
struct Offered<'a>(&'a str);

impl Equivalent<Key> for Offered<'_> {
    fn equivalent(&self, kept: &Key) -> bool {
        constant_time_eq(self.0.as_bytes(), kept.0.expose().as_bytes())
    }
}

/// Each entry lives as long as it says.
struct Expiry;

impl moka::Expiry<Key, Known> for Expiry {
    fn expire_after_create(&self, _: &Key, known: &Known, _: Instant) -> Option<Duration> {
        Some(known.life)
    }

    fn expire_after_update(
        &self,
        _: &Key,
        known: &Known,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(known.life)
    }
}
