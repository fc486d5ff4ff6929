//! The tokens that were verified before, with what they say.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use constant_time_eq::constant_time_eq;
use equivalent::Equivalent;
use moka::future::Cache;

use super::Claims;
use crate::kernel::settings::Secret;

/// How many bytes they may take, about.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// What an entry takes beside the token, about: the claims, their texts and the table's share.
const BYTES_BESIDE_TOKEN: usize = 512;

/// Tokens that were verified. A token is found by the keyed hash of the table and then compared whole:
/// a digest that nobody can collide would cost every call more than all else that is done about its token.
pub(super) struct VerifiedTokens(Cache<Token, Verified>);

/// A verdict that holds as long as the key that led to it is known.
#[derive(Clone)]
pub(super) struct Verified {
    pub(super) claims: Arc<Claims>,
    pub(super) kid: Arc<str>,
}

impl VerifiedTokens {
    pub(super) fn new() -> Self {
        let weigh = |token: &Token, _: &Verified| {
            u32::try_from(token.0.expose().len() + BYTES_BESIDE_TOKEN).unwrap_or(u32::MAX)
        };
        Self(Cache::builder().max_capacity(MAX_BYTES).weigher(weigh).build())
    }

    pub(super) async fn get(&self, token: &str) -> Option<Verified> {
        self.0.get(&Offered(token)).await
    }

    pub(super) async fn insert(&self, token: &str, verified: Verified) {
        self.0.insert(Token(token.into()), verified).await;
    }
}

/// A token that is kept.
struct Token(Secret<String>);

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        Offered(self.0.expose()).equivalent(other)
    }
}

impl Eq for Token {}

impl Hash for Token {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Offered(self.0.expose()).hash(state);
    }
}

/// A token that somebody sent.
#[derive(Hash)]
struct Offered<'a>(&'a str);

impl Equivalent<Token> for Offered<'_> {
    fn equivalent(&self, kept: &Token) -> bool {
        constant_time_eq(self.0.as_bytes(), kept.0.expose().as_bytes())
    }
}
