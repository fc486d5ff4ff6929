//! A stand-in for auth, and a signer of tokens.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use mainstay::contract::auth::{API_KEY_INVALID, proto as auth};
use mainstay::contract::identity::proto::User;
use mainstay::kernel::Error;
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData as _};
use serde_json::{Value as Json, json};
use tonic::{Request, Response, Status};

/// Keys and ended sessions of the stand-in for auth.
#[derive(Clone)]
pub(crate) struct FakeAuth {
    pair: Arc<KeyPair>,
    pub(crate) ended: Arc<Mutex<Vec<String>>>,
    /// The users of API keys, and how often keys were exchanged.
    pub(crate) keys: Arc<Mutex<HashMap<String, String>>>,
    pub(crate) exchanges: Arc<AtomicUsize>,
}

impl FakeAuth {
    pub(crate) fn new() -> Self {
        let pair = Arc::new(KeyPair::generate_for(&PKCS_ED25519).unwrap());
        Self { pair, ended: Arc::default(), keys: Arc::default(), exchanges: Arc::default() }
    }

    /// Ends the session of a user's tokens.
    pub(crate) fn end_session(&self, user: &str) {
        self.ended.lock().unwrap().push(format!("session-{user}"));
    }

    /// A token of a user on a plan, in the session `session-<user>`.
    pub(crate) fn token(&self, user: &str, plan: &str) -> String {
        self.token_with(user, plan, |_, _| {})
    }

    /// An API key of a user; its tokens are of the session `key-<user>`.
    pub(crate) fn api_key(&self, user: &str) -> String {
        let key = format!("mainstay_{user}");
        self.keys.lock().unwrap().insert(key.clone(), user.to_owned());
        key
    }

    /// A token with header or claims changed.
    pub(crate) fn token_with(
        &self,
        user: &str,
        plan: &str,
        change: impl FnOnce(&mut Header, &mut Json),
    ) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let settings = gateway::GatewaySettings::default();
        let mut claims = json!({
            "iss": settings.token_issuer, "aud": settings.token_audience, "sub": user, "jti": "t",
            "sid": format!("session-{user}"), "roles": ["member"], "plan": plan,
            "iat": now, "nbf": now, "exp": now + 600,
        });
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some("at+jwt".into());
        header.kid = Some("k1".into());
        change(&mut header, &mut claims);
        encode(&header, &claims, &EncodingKey::from_ed_der(&self.pair.serialize_der())).unwrap()
    }
}

/// Implements a service with what is given; every other method is unimplemented.
macro_rules! all_others_unimplemented {
    ($($method:ident($request:ty) -> $reply:ty;)*) => {
        $(
            fn $method<'life0, 'async_trait>(
                &'life0 self,
                _: Request<$request>,
            ) -> futures::future::BoxFuture<'async_trait, Result<Response<$reply>, Status>>
            where
                'life0: 'async_trait,
                Self: 'async_trait,
            {
                Box::pin(async { Err(Status::unimplemented("not in this story")) })
            }
        )*
    };
}

#[tonic::async_trait]
impl auth::auth_service_server::AuthService for FakeAuth {
    async fn get_jwks(
        &self,
        _: Request<auth::GetJwksRequest>,
    ) -> Result<Response<auth::Jwks>, Status> {
        let key = auth::Jwk {
            kty: "OKP".into(),
            crv: "Ed25519".into(),
            x: URL_SAFE_NO_PAD.encode(self.pair.der_bytes()),
            kid: "k1".into(),
            alg: "EdDSA".into(),
            r#use: "sig".into(),
        };
        Ok(Response::new(auth::Jwks { keys: vec![key] }))
    }

    async fn list_revocations(
        &self,
        _: Request<auth::ListRevocationsRequest>,
    ) -> Result<Response<auth::ListRevocationsResponse>, Status> {
        let session_ids = self.ended.lock().unwrap().clone();
        let as_of = Some(SystemTime::now().into());
        Ok(Response::new(auth::ListRevocationsResponse { session_ids, as_of }))
    }

    async fn exchange_api_key(
        &self,
        request: Request<auth::ExchangeApiKeyRequest>,
    ) -> Result<Response<auth::ExchangeApiKeyResponse>, Status> {
        self.exchanges.fetch_add(1, Ordering::SeqCst);
        let user = self.keys.lock().unwrap().get(&request.into_inner().key).cloned();
        let invalid = || Error::new(API_KEY_INVALID, "the API key is not valid");
        let user = user.ok_or_else(invalid)?;
        let sid = format!("key-{user}");
        let access_token = self.token_with(&user, "free", |_, claims| claims["sid"] = sid.into());
        Ok(Response::new(auth::ExchangeApiKeyResponse { access_token, expires_in: 600 }))
    }

    all_others_unimplemented! {
        register(auth::RegisterRequest) -> User;
        login(auth::LoginRequest) -> auth::TokenPair;
        refresh(auth::RefreshRequest) -> auth::TokenPair;
        logout(auth::LogoutRequest) -> auth::LogoutResponse;
        change_password(auth::ChangePasswordRequest) -> auth::ChangePasswordResponse;
        list_sessions(auth::ListSessionsRequest) -> auth::ListSessionsResponse;
        revoke_session(auth::RevokeSessionRequest) -> auth::RevokeSessionResponse;
        create_api_key(auth::CreateApiKeyRequest) -> auth::CreateApiKeyResponse;
        list_api_keys(auth::ListApiKeysRequest) -> auth::ListApiKeysResponse;
        revoke_api_key(auth::RevokeApiKeyRequest) -> auth::RevokeApiKeyResponse;
        get_open_id_configuration(auth::GetOpenIdConfigurationRequest) -> auth::OpenIdConfiguration;
    }
}
