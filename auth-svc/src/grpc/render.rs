//! Domain types become messages of the contract.

use chrono::{DateTime, Utc};
use mainstay::contract::auth::SessionId;
use mainstay::contract::auth::proto::{
    self, CreateApiKeyResponse, ExchangeApiKeyResponse, Jwk, Jwks, ListApiKeysResponse,
    ListRevocationsResponse, ListSessionsResponse, OpenIdConfiguration, TokenPair,
};
use mainstay::contract::identity::{proto::User, user_etag};
use mainstay::kernel::page::PageToken;
use mainstay::kernel::time::timestamp;

use crate::app::{ApiKeyPage, Exchanged, PublishedKey, Revocations, SessionPage, Tokens};
use crate::domain::{Account, ApiKey, ApiKeySecret, Session};

/// The user of a new account, as identity has it or will have it.
pub fn user(account: &Account) -> User {
    let register_time = timestamp(account.create_time);
    User {
        id: account.id.to_string(),
        email: account.email.as_typed().to_owned(),
        display_name: account.display_name.clone(),
        create_time: Some(register_time),
        update_time: Some(register_time),
        etag: user_etag(account.id, 1),
        ..User::default()
    }
}

/// The tokens of a session.
pub fn token_pair(tokens: &Tokens) -> TokenPair {
    TokenPair {
        access_token: tokens.access_token.expose().to_owned(),
        refresh_token: tokens.refresh_token.expose().to_owned(),
        token_type: "Bearer".to_owned(),
        expires_in: seconds(tokens.expires_in),
    }
}

/// A new API key, with what makes it work.
pub fn new_api_key(key: &ApiKey, secret: &ApiKeySecret) -> CreateApiKeyResponse {
    CreateApiKeyResponse { key: secret.expose().to_owned(), api_key: Some(api_key(key)) }
}

/// A page of API keys.
pub fn api_key_page(page: &ApiKeyPage) -> ListApiKeysResponse {
    let next = page.next.map(|(time, id)| position(time, &id));
    ListApiKeysResponse {
        api_keys: page.keys.iter().map(api_key).collect(),
        next_page_token: next.unwrap_or_default(),
    }
}

/// The access token of an API key.
pub fn exchanged(exchanged: &Exchanged) -> ExchangeApiKeyResponse {
    ExchangeApiKeyResponse {
        access_token: exchanged.access_token.expose().to_owned(),
        expires_in: seconds(exchanged.expires_in),
    }
}

/// A page of sessions; `current` is the one that asks.
pub fn session_page(page: &SessionPage, current: Option<SessionId>) -> ListSessionsResponse {
    let next = page.next.map(|(time, id)| position(time, &id));
    ListSessionsResponse {
        sessions: page.sessions.iter().map(|session| one_session(session, current)).collect(),
        next_page_token: next.unwrap_or_default(),
    }
}

/// The public keys (RFC 8037).
pub fn jwks(keys: &[PublishedKey]) -> Jwks {
    let jwk = |key: &PublishedKey| Jwk {
        kty: "OKP".to_owned(),
        crv: "Ed25519".to_owned(),
        x: key.x.clone(),
        kid: key.kid.clone(),
        alg: "EdDSA".to_owned(),
        r#use: "sig".to_owned(),
    };
    Jwks { keys: keys.iter().map(jwk).collect() }
}

/// Provider metadata (OpenID Connect Discovery 1.0 section 3), as far as this provider has it.
pub fn open_id_configuration(issuer: &str) -> OpenIdConfiguration {
    let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
    OpenIdConfiguration {
        issuer: issuer.to_owned(),
        jwks_uri: format!("{issuer}/.well-known/jwks.json"),
        token_endpoint: format!("{issuer}/api/v1/auth/refresh"),
        end_session_endpoint: format!("{issuer}/api/v1/auth/logout"),
        userinfo_endpoint: format!("{issuer}/api/v1/users/me"),
        response_types_supported: list(&["token"]),
        subject_types_supported: list(&["public"]),
        id_token_signing_alg_values_supported: list(&["EdDSA"]),
        grant_types_supported: list(&["password", "refresh_token"]),
        claims_supported: list(&[
            "iss", "sub", "aud", "exp", "nbf", "iat", "jti", "sid", "roles", "plan",
        ]),
    }
}

/// Sessions that ended lately.
pub fn revocations(revocations: &Revocations) -> ListRevocationsResponse {
    ListRevocationsResponse {
        session_ids: revocations.session_ids.clone(),
        as_of: Some(timestamp(revocations.as_of)),
    }
}

fn api_key(key: &ApiKey) -> proto::ApiKey {
    proto::ApiKey {
        id: key.id.to_string(),
        display_name: key.display_name.clone(),
        prefix: key.prefix.clone(),
        create_time: Some(timestamp(key.create_time)),
        expire_time: Some(timestamp(key.expire_time)),
        use_time: key.use_time.map(timestamp),
    }
}

fn position(time: DateTime<Utc>, id: &impl ToString) -> String {
    PageToken::new([time.timestamp_micros().to_string(), id.to_string()]).encode()
}

fn seconds(seconds: i64) -> i32 {
    i32::try_from(seconds).unwrap_or(i32::MAX)
}

fn one_session(session: &Session, current: Option<SessionId>) -> proto::Session {
    proto::Session {
        id: session.id.to_string(),
        create_time: Some(timestamp(session.create_time)),
        refresh_time: Some(timestamp(session.refresh_time)),
        expire_time: Some(timestamp(session.expire_time)),
        current: current == Some(session.id),
    }
}
