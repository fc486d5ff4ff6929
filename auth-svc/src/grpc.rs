//! `mainstay.auth.v1.AuthService`: parse, call the app, render. Beside it, what auth asks of identity
//! and how it verifies its own tokens.

pub mod authz;
pub mod errors;
pub mod identity;
pub mod parse;
pub mod render;
pub mod verify;

use std::sync::Arc;

use mainstay::contract::auth::SessionId;
use mainstay::contract::auth::proto::auth_service_server::{AuthService, AuthServiceServer};
use mainstay::contract::auth::proto::{
    ChangePasswordRequest, ChangePasswordResponse, GetJwksRequest, GetOpenIdConfigurationRequest,
    Jwks, ListRevocationsRequest, ListRevocationsResponse, ListSessionsRequest,
    ListSessionsResponse, LoginRequest, LogoutRequest, LogoutResponse, OpenIdConfiguration,
    RefreshRequest, RegisterRequest, RevokeSessionRequest, RevokeSessionResponse, TokenPair,
};
use mainstay::contract::identity::proto::User;
use mainstay::kernel::page::PageRequest;
use tonic::{Request, Response, Status};

use crate::app::App;
use crate::domain::{Password, RefreshToken};

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
