//! One auth service in a mesh of its own.

use std::sync::Arc;

use auth_svc::config::Config;
use mainstay::contract::auth::proto::{
    GetJwksRequest, ListSessionsRequest, LoginRequest, LogoutRequest, RefreshRequest,
    RegisterRequest, Session, TokenPair,
};
use mainstay::contract::auth::{AuthClient, GrpcAuthClient, RemoteKeys, SERVICE};
use mainstay::contract::identity::proto::User;
use mainstay::contract::identity::{self, GrpcIdentityClient};
use mainstay::kernel::Result;
use mainstay::kernel::call::{self, Call};
use mainstay::kernel::lifecycle::Running;
use mainstay::kernel::settings::{ChannelSettings, Transport};
use mainstay::kernel::token::{Claims, TokenSettings, Verifier};
use mainstay_testing::TestMesh;

pub const PASSWORD: &str = "correct horse battery";

/// Auth, and what stands around it.
pub struct Auth {
    pub mesh: TestMesh,
    pub config: Config,
    transport: Transport,
    running: Option<Running>,
}

/// Settings for tests: as by default, but for a cheap hash.
pub fn quick() -> Config {
    Config { password_memory_kib: 64, password_passes: 1, ..Config::default() }
}

impl Auth {
    pub async fn start(transport: Transport) -> Self {
        Self::start_with(transport, quick()).await
    }

    pub async fn start_with(transport: Transport, config: Config) -> Self {
        let mut auth = Self { mesh: TestMesh::new(), config, transport, running: None };
        auth.begin().await;
        auth
    }

    /// Starts the service, on the data there is.
    pub async fn begin(&mut self) {
        self.running = Some(self.another().await);
    }

    /// Starts one more process of the service.
    pub async fn another(&self) -> Running {
        self.mesh.start(SERVICE, self.config.clone(), auth_svc::module).await
    }

    /// Stops the service as SIGTERM does.
    pub async fn end(&mut self) {
        self.running.take().unwrap().drain().await;
    }

    /// Ends the service as a crash does.
    pub fn crash(&mut self) {
        drop(self.running.take());
    }

    pub async fn start_identity(&self) -> Running {
        let config = identity_svc::config::Config::default();
        self.mesh.start(identity::SERVICE, config, identity_svc::module).await
    }

    pub fn identity(&self) -> GrpcIdentityClient {
        GrpcIdentityClient::new(self.mesh.channel("gateway", identity::SERVICE))
    }

    /// A client as the gateway is.
    pub fn client(&self) -> GrpcAuthClient {
        let settings = ChannelSettings { transport: self.transport, ..Default::default() };
        GrpcAuthClient::new(self.mesh.channel_with("gateway", SERVICE, &settings))
    }

    pub async fn register(&self, email: &str) -> Result<User> {
        self.client().register(register_request(email, PASSWORD)).await
    }

    pub async fn login(&self, email: &str, password: &str) -> Result<TokenPair> {
        let (email, password) = (email.to_owned(), password.to_owned());
        self.client().login(LoginRequest { email, password }).await
    }

    pub async fn refresh(&self, refresh_token: &str) -> Result<TokenPair> {
        self.client().refresh(RefreshRequest { refresh_token: refresh_token.into() }).await
    }

    pub async fn logout(&self, refresh_token: &str) -> Result<()> {
        let request = LogoutRequest { refresh_token: refresh_token.into() };
        self.client().logout(request).await.map(drop)
    }

    /// A user who is registered and logged in.
    pub async fn logged_in(&self, email: &str) -> (User, TokenPair) {
        let user = self.register(email).await.unwrap();
        (user, self.login(email, PASSWORD).await.unwrap())
    }

    /// What a token says, verified as any service verifies it.
    pub async fn claims(&self, tokens: &TokenPair) -> Result<Arc<Claims>> {
        let keys = RemoteKeys::new(self.client());
        let (issuer, audience) = (self.config.issuer.clone(), self.config.audience.clone());
        let verifier = Verifier::new(
            TokenSettings { issuer, audience },
            Arc::new(keys.clone()),
            Arc::new(keys),
        );
        verifier.verify(&tokens.access_token).await
    }

    /// The live sessions of the user of a token.
    pub async fn sessions(&self, tokens: &TokenPair) -> Vec<Session> {
        let request = ListSessionsRequest::default();
        self.as_holder(tokens, self.client().list_sessions(request)).await.unwrap().sessions
    }

    /// Runs a future as a call of the holder of an access token, as the gateway has verified it.
    pub async fn as_holder<F: Future>(&self, tokens: &TokenPair, future: F) -> F::Output {
        let claims = unverified(tokens);
        let text = |name: &str| claims[name].as_str().unwrap().to_owned();
        let user =
            call::User { id: text("sub"), plan: text("plan"), session_id: Some(text("sid")) };
        let call = Call {
            request_id: "test".into(),
            peer: "test".into(),
            user: Some(user),
            deadline: None,
        };
        call::scope(Arc::new(call), future).await
    }

    /// Ids of the keys that are published now, in order.
    pub async fn kids(&self) -> Vec<String> {
        let jwks = self.client().get_jwks(GetJwksRequest {}).await.unwrap();
        jwks.keys.into_iter().map(|key| key.kid).collect()
    }
}

pub fn register_request(email: &str, password: &str) -> RegisterRequest {
    RegisterRequest { email: email.into(), password: password.into(), display_name: "Ada".into() }
}

/// The claims of a token, as they stand there.
pub fn unverified(tokens: &TokenPair) -> serde_json::Value {
    part(&tokens.access_token, 1)
}

/// The header of a token, as it stands there.
pub fn header(tokens: &TokenPair) -> serde_json::Value {
    part(&tokens.access_token, 0)
}

fn part(token: &str, position: usize) -> serde_json::Value {
    use base64::Engine as _;
    let part = token.split('.').nth(position).unwrap();
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

/// The fields that an error names.
pub fn fields(error: &mainstay::kernel::Error) -> Vec<&str> {
    error.violations().iter().map(|violation| violation.field.as_str()).collect()
}
