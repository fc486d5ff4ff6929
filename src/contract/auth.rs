//! auth: accounts, passwords, sessions, tokens and the keys that sign them.

mod api_keys;
mod remote;

use tonic::Code;

use super::client::client;
use super::identity::proto::User;
use crate::kernel::error::ErrorCode;

pub use super::id::{ApiKeyId, SessionId, UserId};
pub use super::proto::mainstay::auth::v1 as proto;
pub use api_keys::RemoteApiKeys;
pub use remote::RemoteKeys;

use proto::auth_service_client::AuthServiceClient;

/// The service's name in the mesh.
pub const SERVICE: &str = "auth-svc";

/// The claim `iss` of access tokens unless settings say otherwise: the gateway's public address.
pub const DEFAULT_ISSUER: &str = "http://localhost:8080";
/// The claim `aud` of access tokens unless settings say otherwise.
pub const DEFAULT_AUDIENCE: &str = "mainstay";

/// The e-mail address belongs to an account already.
pub const EMAIL_TAKEN: ErrorCode = ErrorCode::new("EMAIL_TAKEN", Code::AlreadyExists);
/// E-mail address and password do not fit together; which of them is wrong is not said.
pub const INVALID_CREDENTIALS: ErrorCode =
    ErrorCode::new("INVALID_CREDENTIALS", Code::Unauthenticated);
/// The refresh token is unknown, expired, or of a session that is over.
pub const TOKEN_INVALID: ErrorCode = ErrorCode::new("TOKEN_INVALID", Code::Unauthenticated);
/// The refresh token was used before: the session was ended.
pub const TOKEN_REUSED: ErrorCode = ErrorCode::new("TOKEN_REUSED", Code::Unauthenticated);
/// More passwords wait to be checked than can be checked in good time.
pub const OVERLOADED: ErrorCode = ErrorCode::with_http("OVERLOADED", Code::ResourceExhausted, 503);
/// The user who calls has no such session.
pub const SESSION_NOT_FOUND: ErrorCode = ErrorCode::new("SESSION_NOT_FOUND", Code::NotFound);
/// The API key is unknown, expired or revoked.
pub const API_KEY_INVALID: ErrorCode = ErrorCode::new("API_KEY_INVALID", Code::Unauthenticated);
/// The user who calls has no such API key.
pub const API_KEY_NOT_FOUND: ErrorCode = ErrorCode::new("API_KEY_NOT_FOUND", Code::NotFound);
/// The user who calls has as many API keys as anybody may have.
pub const TOO_MANY_API_KEYS: ErrorCode =
    ErrorCode::with_http("TOO_MANY_API_KEYS", Code::FailedPrecondition, 409);
/// What was asked for takes a session that began with a login.
pub const LOGIN_NEEDED: ErrorCode = ErrorCode::new("LOGIN_NEEDED", Code::PermissionDenied);

/// How every API key begins, for scanners of leaked secrets to know it by.
pub const API_KEY_PREFIX: &str = "mainstay_";

client! {
    /// What auth offers.
    AuthClient, over gRPC GrpcAuthClient(AuthServiceClient) {
        /// Registers an account and returns its user.
        register(RegisterRequest) -> User;
        /// Begins a session and returns its first tokens.
        login(LoginRequest) -> proto::TokenPair;
        /// Exchanges a refresh token for new tokens.
        refresh(RefreshRequest) -> proto::TokenPair;
        /// Ends the session of a refresh token.
        logout(LogoutRequest) -> proto::LogoutResponse;
        /// Changes the password of the user who calls.
        change_password(ChangePasswordRequest) -> proto::ChangePasswordResponse;
        /// Lists the sessions of the user who calls.
        list_sessions(ListSessionsRequest) -> proto::ListSessionsResponse;
        /// Ends a session of the user who calls.
        revoke_session(RevokeSessionRequest) -> proto::RevokeSessionResponse;
        /// Makes an API key of the user who calls.
        create_api_key(CreateApiKeyRequest) -> proto::CreateApiKeyResponse;
        /// Lists the API keys of the user who calls.
        list_api_keys(ListApiKeysRequest) -> proto::ListApiKeysResponse;
        /// Ends an API key of the user who calls.
        revoke_api_key(RevokeApiKeyRequest) -> proto::RevokeApiKeyResponse;
        /// Exchanges an API key for an access token.
        exchange_api_key(ExchangeApiKeyRequest) -> proto::ExchangeApiKeyResponse;
        /// The public keys that verify access tokens.
        get_jwks(GetJwksRequest) -> proto::Jwks;
        /// OpenID provider metadata.
        get_open_id_configuration(GetOpenIdConfigurationRequest) -> proto::OpenIdConfiguration;
        /// Lists the sessions that ended lately.
        list_revocations(ListRevocationsRequest) -> proto::ListRevocationsResponse;
    }
}
