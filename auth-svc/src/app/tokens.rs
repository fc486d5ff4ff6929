//! The tokens of a session.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::App;
use crate::domain::{AccessClaims, AuthError, RefreshToken, Rotation, Session, UserId};

/// What a login or a refresh gives.
#[derive(Debug)]
pub struct Tokens {
    /// The signed access token.
    pub access_token: Signed,
    /// The token for the next refresh.
    pub refresh_token: RefreshToken,
    /// Seconds until the access token expires.
    pub expires_in: i64,
}

/// A signed token, never shown.
pub struct Signed(String);

impl Signed {
    pub(super) fn new(token: String) -> Self {
        Self(token)
    }

    /// The token as the client keeps it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Signed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Signed([redacted])")
    }
}

impl App {
    /// Exchanges a refresh token for new tokens.
    ///
    /// A token works once, with no grace for a client that repeats its request because the reply was
    /// lost: a thief who is quick would look the same. Such a client logs in again.
    pub async fn token_refresh(&self, token: &RefreshToken) -> Result<Tokens, AuthError> {
        let next = RefreshToken::random();
        let life = self.config.session_life();
        let rotation =
            self.sessions.session_rotate(token.digest(), next.digest(), life, Utc::now()).await?;
        match rotation {
            Rotation::Rotated(session) => self.tokens(&session, next).await,
            Rotation::Reused => Err(AuthError::TokenReused),
            Rotation::Invalid => Err(AuthError::TokenInvalid),
        }
    }

    /// The tokens of a session: what is known of the user's roles and plan goes into the claims.
    pub(super) async fn tokens(
        &self,
        session: &Session,
        refresh_token: RefreshToken,
    ) -> Result<Tokens, AuthError> {
        let claims =
            self.claims(session.user_id, session.id.to_string(), DateTime::<Utc>::MAX_UTC).await?;
        let access_token = Signed::new(self.token_sign(&claims).await?);
        Ok(Tokens { access_token, refresh_token, expires_in: claims.lifetime_seconds() })
    }

    /// What a token of a session or an API key says, which expires at `latest` or before.
    pub(super) async fn claims(
        &self,
        user_id: UserId,
        sid: String,
        latest: DateTime<Utc>,
    ) -> Result<AccessClaims, AuthError> {
        let grants = self.accounts.grants_read(user_id).await?;
        let now = Utc::now();
        let seconds = AccessClaims::seconds(now);
        Ok(AccessClaims {
            iss: self.config.issuer.clone(),
            sub: user_id.to_string(),
            aud: self.config.audience.clone(),
            exp: AccessClaims::seconds(latest.min(now + self.config.access_token_life)),
            nbf: seconds,
            iat: seconds,
            jti: Uuid::now_v7().to_string(),
            sid,
            roles: grants.roles,
            plan: grants.plan,
        })
    }
}
