//! `mainstay.auth.v1.AuthService`: parse, call the app, render. Beside it, what auth asks of identity
//! and how it verifies its own tokens.

pub mod authz;
pub mod errors;
pub mod identity;
pub mod parse;
pub mod render;
pub mod verify;

use std::sync::Arc;

use mainstay::contract::auth::proto::auth_service_server::{AuthService, AuthServiceServer};
use mainstay::contract::auth::proto::{
    ChangePasswordRequest, ChangePasswordResponse, CreateApiKeyRequest, CreateApiKeyResponse,
    ExchangeApiKeyRequest, ExchangeApiKeyResponse, GetJwksRequest, GetOpenIdConfigurationRequest,
    Jwks, ListApiKeysRequest, ListApiKeysResponse, ListRevocationsRequest, ListRevocationsResponse,
    ListSessionsRequest, ListSessionsResponse, LoginRequest, LogoutRequest, LogoutResponse,
    OpenIdConfiguration, RefreshRequest, RegisterRequest, RevokeApiKeyRequest,
    RevokeApiKeyResponse, RevokeSessionRequest, RevokeSessionResponse, TokenPair,
};
use mainstay::contract::auth::{ApiKeyId, SessionId};
use mainstay::contract::identity::proto::User;
use mainstay::kernel::page::PageRequest;
use tonic::{Request, Response, Status};

use crate::app::App;
use crate::domain::{ApiKeySecret, Password, RefreshToken};

type Reply<T> = Result<Response<T>, Status>;

/// The service for the kernel to serve.
pub fn service(app: Arc<App>) -> AuthServiceServer<Auth> {
    AuthServiceServer::new(Auth { app })
}

/// The service over the use cases.
pub struct Auth {
    app: Arc<App>,
}

#[tonic::async_trait]
impl AuthService for Auth {
    async fn register(&self, request: Request<RegisterRequest>) -> Reply<User> {
        let RegisterRequest { email, password, display_name } = request.into_inner();
        let password = Password::chosen("password", password)?;
        let account = self.app.register(&email, &password, &display_name).await?;
        Ok(Response::new(render::user(&account)))
    }

    async fn login(&self, request: Request<LoginRequest>) -> Reply<TokenPair> {
        let LoginRequest { email, password } = request.into_inner();
        let tokens = self.app.login(&email, &Password::given(password)).await?;
        Ok(Response::new(render::token_pair(&tokens)))
    }

    async fn refresh(&self, request: Request<RefreshRequest>) -> Reply<TokenPair> {
        let token = RefreshToken::given(request.into_inner().refresh_token);
        let tokens = self.app.token_refresh(&token).await?;
        Ok(Response::new(render::token_pair(&tokens)))
    }

    async fn logout(&self, request: Request<LogoutRequest>) -> Reply<LogoutResponse> {
        let token = RefreshToken::given(request.into_inner().refresh_token);
        self.app.logout(&token).await?;
        Ok(Response::new(LogoutResponse {}))
    }

    async fn change_password(
        &self,
        request: Request<ChangePasswordRequest>,
    ) -> Reply<ChangePasswordResponse> {
        let caller = parse::caller()?;
        let ChangePasswordRequest { current_password, new_password } = request.into_inner();
        let (current, new) =
            (Password::given(current_password), Password::chosen("new_password", new_password)?);
        self.app.password_change(caller.user_id, caller.session_id, &current, &new).await?;
        Ok(Response::new(ChangePasswordResponse {}))
    }

    async fn list_sessions(
        &self,
        request: Request<ListSessionsRequest>,
    ) -> Reply<ListSessionsResponse> {
        let caller = parse::caller()?;
        let request = request.into_inner();
        let page = PageRequest::parse(request.page_size, &request.page_token)?;
        let after = page.after.as_ref().map(parse::session_position).transpose()?;
        let sessions = self.app.session_list(caller.user_id, after, page.size).await?;
        Ok(Response::new(render::session_page(&sessions, caller.session_id)))
    }

    async fn revoke_session(
        &self,
        request: Request<RevokeSessionRequest>,
    ) -> Reply<RevokeSessionResponse> {
        let caller = parse::caller()?;
        let session_id = SessionId::parse(&request.into_inner().session_id)?;
        self.app.session_revoke(caller.user_id, session_id).await?;
        Ok(Response::new(RevokeSessionResponse {}))
    }

    async fn create_api_key(
        &self,
        request: Request<CreateApiKeyRequest>,
    ) -> Reply<CreateApiKeyResponse> {
        let caller = parse::caller()?;
        let CreateApiKeyRequest { display_name, expire_time } = request.into_inner();
        let expire_time = expire_time.map(|time| parse::time("expire_time", time)).transpose()?;
        let (user, session) = (caller.user_id, caller.session_id);
        let made = self.app.api_key_create(user, session, &display_name, expire_time).await?;
        Ok(Response::new(render::new_api_key(&made.0, &made.1)))
    }

    async fn list_api_keys(
        &self,
        request: Request<ListApiKeysRequest>,
    ) -> Reply<ListApiKeysResponse> {
        let caller = parse::caller()?;
        let request = request.into_inner();
        let page = PageRequest::parse(request.page_size, &request.page_token)?;
        let after = page.after.as_ref().map(parse::api_key_position).transpose()?;
        let keys = self.app.api_key_list(caller.user_id, after, page.size).await?;
        Ok(Response::new(render::api_key_page(&keys)))
    }

    async fn revoke_api_key(
        &self,
        request: Request<RevokeApiKeyRequest>,
    ) -> Reply<RevokeApiKeyResponse> {
        let caller = parse::caller()?;
        let id = ApiKeyId::parse(&request.into_inner().api_key_id)?;
        self.app.api_key_revoke(caller.user_id, id).await?;
        Ok(Response::new(RevokeApiKeyResponse {}))
    }

    async fn exchange_api_key(
        &self,
        request: Request<ExchangeApiKeyRequest>,
    ) -> Reply<ExchangeApiKeyResponse> {
        let secret = ApiKeySecret::given(request.into_inner().key);
        let exchanged = self.app.api_key_exchange(&secret).await?;
        Ok(Response::new(render::exchanged(&exchanged)))
    }

    async fn get_jwks(&self, _request: Request<GetJwksRequest>) -> Reply<Jwks> {
        Ok(Response::new(render::jwks(&self.app.key_list().await?)))
    }

    async fn get_open_id_configuration(
        &self,
        _request: Request<GetOpenIdConfigurationRequest>,
    ) -> Reply<OpenIdConfiguration> {
        Ok(Response::new(render::open_id_configuration(self.app.issuer())))
    }

    async fn list_revocations(
        &self,
        request: Request<ListRevocationsRequest>,
    ) -> Reply<ListRevocationsResponse> {
        let since = request.into_inner().since;
        let since = since.map(|since| parse::time("since", since)).transpose()?;
        Ok(Response::new(render::revocations(&self.app.revocation_list(since).await?)))
    }
}
