//! Making, listing, ending and exchanging API keys.

use chrono::{DateTime, Utc};

use super::App;
use super::tokens::Signed;
use crate::domain::{
    ApiKey, ApiKeyId, ApiKeyLife, ApiKeySecret, AuthError, Making, SessionId, UserId,
};

/// A page of API keys.
#[derive(Clone, Debug)]
pub struct ApiKeyPage {
    /// The keys, newest first.
    pub keys: Vec<ApiKey>,
    /// Position of the last one, when there are more.
    pub next: Option<(DateTime<Utc>, ApiKeyId)>,
}

/// What an API key is exchanged for.
#[derive(Debug)]
pub struct Exchanged {
    /// The signed access token.
    pub access_token: Signed,
    /// Seconds until it expires.
    pub expires_in: i64,
}

impl App {
    /// Makes a key of a user, in the session that asks for it.
    pub async fn api_key_create(
        &self,
        user_id: UserId,
        session: Option<SessionId>,
        display_name: &str,
        expire_time: Option<DateTime<Utc>>,
    ) -> Result<(ApiKey, ApiKeySecret), AuthError> {
        let session = session.ok_or(AuthError::LoginNeeded)?;
        let secret = ApiKeySecret::random();
        let life = ApiKeyLife {
            stated: expire_time,
            usual: self.config.api_key_life,
            most: self.config.api_key_max_life,
        };
        let key = ApiKey::make(user_id, display_name, &secret, life, Utc::now())?;
        let most = self.config.api_keys_per_user;
        match self.api_keys.api_key_create(&key, secret.digest(), session, most).await? {
            Making::Made => Ok((key, secret)),
            Making::NoSession => Err(AuthError::LoginNeeded),
            Making::TooMany => Err(AuthError::TooManyApiKeys { most }),
        }
    }

    /// The live keys of a user, newest first.
    pub async fn api_key_list(
        &self,
        user_id: UserId,
        after: Option<(DateTime<Utc>, ApiKeyId)>,
        limit: u32,
    ) -> Result<ApiKeyPage, AuthError> {
        // One more than asked for tells whether there is a next page.
        let (more, now) = (u64::from(limit) + 1, Utc::now());
        let mut keys = self.api_keys.api_key_list(user_id, after, more, now).await?;
        let has_more = keys.len() > limit as usize;
        keys.truncate(limit as usize);
        let next = keys.last().filter(|_| has_more).map(|key| (key.create_time, key.id));
        Ok(ApiKeyPage { keys, next })
    }

    /// Ends a key of a user. One that is over already stays so; another user's does not exist.
    pub async fn api_key_revoke(&self, user_id: UserId, id: ApiKeyId) -> Result<(), AuthError> {
        match self.api_keys.api_key_end(user_id, id, Utc::now()).await? {
            true => Ok(()),
            false => Err(AuthError::ApiKeyNotFound(id)),
        }
    }

    /// Exchanges a key for an access token, which never outlives the key.
    pub async fn api_key_exchange(&self, secret: &ApiKeySecret) -> Result<Exchanged, AuthError> {
        let key = self.api_keys.api_key_use(secret.digest(), Utc::now()).await?;
        let key = key.ok_or(AuthError::ApiKeyInvalid)?;
        let claims = self.claims(key.user_id, key.id.to_string(), key.expire_time).await?;
        let access_token = Signed::new(self.token_sign(&claims).await?);
        Ok(Exchanged { access_token, expires_in: claims.lifetime_seconds() })
    }

    /// Forgets keys that have been over for long.
    pub async fn api_key_prune(&self) -> Result<(), AuthError> {
        let over_before = Utc::now() - self.config.session_retention;
        let forgotten = self.api_keys.api_key_prune(over_before).await?;
        if forgotten > 0 {
            tracing::info!(
                keys = forgotten,
                "API keys that have been over for long were forgotten"
            );
        }
        Ok(())
    }
}
