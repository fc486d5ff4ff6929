//! What the use cases need of the outside.
//!
//! A method of a store that changes something stores the change and the events that tell of it in
//! one transaction: all are there afterwards, or nothing is.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{
    Account, ApiKey, ApiKeyId, AuthError, EndReason, Grants, PasswordHash, Plan, Session,
    SessionId, SessionLife, SigningKey, TokenDigest, UserId,
};

/// Where accounts are kept, and what was heard of their roles and plans.
#[async_trait]
pub trait AccountStore: Send + Sync {
    /// Adds an account that begins with these roles, and begins the saga that completes its
    /// registration. `EmailTaken` when an open one has the address.
    async fn account_create(&self, account: &Account, roles: &[&str]) -> Result<(), AuthError>;

    /// The open account with the address of this [`Email::key`](super::Email::key).
    async fn account_by_email(&self, email_key: &str) -> Result<Option<Account>, AuthError>;

    /// The open account of a user.
    async fn account_read(&self, id: UserId) -> Result<Option<Account>, AuthError>;

    /// Closes the account, ends its sessions and API keys, and frees its address. Unknown or closed: no effect.
    async fn account_close(&self, id: UserId, now: DateTime<Utc>) -> Result<(), AuthError>;

    /// Takes a registration back: closes the account if it is open, and tells of it.
    async fn registration_withdraw(&self, id: UserId, now: DateTime<Utc>) -> Result<(), AuthError>;

    /// Waits until identity has the user of a new account, or did not take it at the first attempt;
    /// no longer than this.
    async fn registration_wait(&self, id: UserId, patience: Duration) -> Result<(), AuthError>;

    /// Replaces the password if it still is `previous`, and ends the sessions but `keep`. `false`
    /// when it is no longer.
    async fn password_change(
        &self,
        id: UserId,
        previous: &PasswordHash,
        next: &PasswordHash,
        keep: Option<SessionId>,
        now: DateTime<Utc>,
    ) -> Result<bool, AuthError>;

    /// The roles and the plan of a user.
    async fn grants_read(&self, id: UserId) -> Result<Grants, AuthError>;

    /// The user has the role.
    async fn role_add(&self, id: UserId, role: &str) -> Result<(), AuthError>;

    /// The user has the role no longer.
    async fn role_remove(&self, id: UserId, role: &str) -> Result<(), AuthError>;

    /// The user has the plan, unless a later one is known.
    async fn plan_change(&self, id: UserId, plan: &Plan) -> Result<(), AuthError>;
}

/// What came of a refresh token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// It was exchanged; the session was refreshed.
    Rotated(Session),
    /// It was used before. Its session is over.
    Reused,
    /// It is unknown, or its session is over.
    Invalid,
}

/// Where sessions and their refresh tokens are kept.
#[async_trait]
pub trait SessionStore: Send + Sync {
    /// Adds a session with its first token, provided that the account is open and its password still
    /// is the one that was `verified`; `false` otherwise. The password hash becomes `next`.
    async fn session_create(
        &self,
        session: &Session,
        first: TokenDigest,
        verified: &PasswordHash,
        next: &PasswordHash,
    ) -> Result<bool, AuthError>;

    /// Exchanges a token for the next one. One used before ends its session.
    async fn session_rotate(
        &self,
        used: TokenDigest,
        next: TokenDigest,
        life: SessionLife,
        now: DateTime<Utc>,
    ) -> Result<Rotation, AuthError>;

    /// Ends the session of a token, used or not. Unknown or over: no effect.
    async fn session_end_by_token(
        &self,
        token: TokenDigest,
        reason: EndReason,
        now: DateTime<Utc>,
    ) -> Result<(), AuthError>;

    /// Ends a session of a user. `false` when the user has no such session; one that is over stays
    /// as it is.
    async fn session_end(
        &self,
        user_id: UserId,
        session_id: SessionId,
        reason: EndReason,
        now: DateTime<Utc>,
    ) -> Result<bool, AuthError>;

    /// At most `limit` live sessions of a user, newest first, after the position of the last seen.
    async fn session_list(
        &self,
        user_id: UserId,
        after: Option<(DateTime<Utc>, SessionId)>,
        limit: u64,
        now: DateTime<Utc>,
    ) -> Result<Vec<Session>, AuthError>;

    /// The sessions ended since then.
    async fn session_list_ended(&self, since: DateTime<Utc>) -> Result<Vec<SessionId>, AuthError>;

    /// Forgets the sessions that were over before then, with their tokens. Returns how many.
    async fn session_prune(&self, over_before: DateTime<Utc>) -> Result<u64, AuthError>;
}

/// What came of a new API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Making {
    /// It is kept.
    Made,
    /// The account is closed, or the session is none of its live ones.
    NoSession,
    /// The user has as many as anybody may have.
    TooMany,
}

/// Where API keys are kept.
#[async_trait]
pub trait ApiKeyStore: Send + Sync {
    /// Adds a key that is made in a session, unless its user has `most` live ones.
    async fn api_key_create(
        &self,
        key: &ApiKey,
        secret: TokenDigest,
        session: SessionId,
        most: u32,
    ) -> Result<Making, AuthError>;

    /// The live key that this is the secret of, whose use is noted.
    async fn api_key_use(
        &self,
        secret: TokenDigest,
        now: DateTime<Utc>,
    ) -> Result<Option<ApiKey>, AuthError>;

    /// At most `limit` live keys of a user, newest first, after the position of the last seen.
    async fn api_key_list(
        &self,
        user_id: UserId,
        after: Option<(DateTime<Utc>, ApiKeyId)>,
        limit: u64,
        now: DateTime<Utc>,
    ) -> Result<Vec<ApiKey>, AuthError>;

    /// Ends a key of a user. `false` when the user has no such key; one that is over stays as it is.
    async fn api_key_end(
        &self,
        user_id: UserId,
        id: ApiKeyId,
        now: DateTime<Utc>,
    ) -> Result<bool, AuthError>;

    /// The keys ended since then.
    async fn api_key_list_ended(&self, since: DateTime<Utc>) -> Result<Vec<ApiKeyId>, AuthError>;

    /// Forgets the keys that were over before then. Returns how many.
    async fn api_key_prune(&self, over_before: DateTime<Utc>) -> Result<u64, AuthError>;
}

/// Where signing keys are kept.
#[async_trait]
pub trait KeyStore: Send + Sync {
    /// All keys.
    async fn key_list(&self) -> Result<Vec<SigningKey>, AuthError>;

    /// Adds a key; `false` when another replica has added one of this generation.
    async fn key_create(&self, key: &SigningKey) -> Result<bool, AuthError>;

    /// Forgets keys by generation.
    async fn key_delete(&self, generations: &[i64]) -> Result<(), AuthError>;
}

/// Where users live.
#[async_trait]
pub trait UserDirectory: Send + Sync {
    /// Creates the user of a new account. Repeating it changes nothing.
    async fn user_create(&self, account: &Account) -> Result<(), AuthError>;

    /// Takes the user of an account back, created or not. Repeating it changes nothing.
    async fn user_withdraw(&self, account: &Account) -> Result<(), AuthError>;
}

/// Where roles are bound.
#[async_trait]
pub trait RoleDirectory: Send + Sync {
    /// Gives a new account the roles it begins with. Repeating it changes nothing.
    async fn roles_bind(&self, id: UserId, roles: &[String]) -> Result<(), AuthError>;
}
