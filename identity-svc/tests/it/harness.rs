//! One identity service in a mesh of its own.

use identity_svc::config::Config;
use mainstay::contract::identity::proto::{
    CreateUserRequest, GetMeRequest, GetUserRequest, UpdateMeRequest, User,
};
use mainstay::contract::identity::{GrpcIdentityClient, IdentityClient, SERVICE, UserId};
use mainstay::kernel::Result;
use mainstay::kernel::channel::MeshChannel;
use mainstay::kernel::lifecycle::Running;
use mainstay::kernel::settings::{ChannelSettings, Transport};
use mainstay_testing::{FakeAuthz, TestMesh, as_user};

/// Identity, with a stand-in for authz that lets one administrator do everything.
pub struct Identity {
    pub mesh: TestMesh,
    pub admin: String,
    transport: Transport,
    running: Option<Running>,
    _authz: Running,
}

impl Identity {
    pub async fn start(transport: Transport) -> Self {
        let mesh = TestMesh::new();
        let admin = UserId::new().to_string();
        let subject = format!("user:{admin}");
        let authz = FakeAuthz::start(&mesh, move |who, _, _| who == subject).await;
        let mut identity = Self { mesh, admin, transport, running: None, _authz: authz };
        identity.begin().await;
        identity
    }

    /// Starts the service, on the data there is.
    pub async fn begin(&mut self) {
        self.running = Some(self.another().await);
    }

    /// Starts one more process of the service.
    pub async fn another(&self) -> Running {
        self.mesh.start(SERVICE, Config::default(), identity_svc::module).await
    }

    /// Stops the service as SIGTERM does.
    pub async fn end(&mut self) {
        self.running.take().unwrap().drain().await;
    }

    pub fn channel(&self, peer: &str) -> MeshChannel {
        let settings = ChannelSettings { transport: self.transport, ..Default::default() };
        self.mesh.channel_with(peer, SERVICE, &settings)
    }

    /// A client as the gateway is.
    pub fn client(&self) -> GrpcIdentityClient {
        GrpcIdentityClient::new(self.channel("gateway"))
    }

    /// Registers a user as auth does.
    pub async fn create(&self, email: &str, display_name: &str) -> User {
        let auth = GrpcIdentityClient::new(self.channel("auth-svc"));
        auth.create_user(create_request(&UserId::new().to_string(), email, display_name))
            .await
            .unwrap()
    }

    pub async fn me(&self, id: &str) -> Result<User> {
        as_user(id, self.client().get_me(GetMeRequest {})).await
    }

    pub async fn get(&self, caller: &str, id: &str) -> Result<User> {
        as_user(caller, self.client().get_user(GetUserRequest { user_id: id.into() })).await
    }

    pub async fn update_me(&self, id: &str, user: User, mask: &[&str]) -> Result<User> {
        let request = UpdateMeRequest { user: Some(user), update_mask: self::mask(mask) };
        as_user(id, self.client().update_me(request)).await
    }
}

pub fn create_request(id: &str, email: &str, display_name: &str) -> CreateUserRequest {
    CreateUserRequest {
        user_id: id.into(),
        email: email.into(),
        display_name: display_name.into(),
        register_time: Some(prost_types::Timestamp { seconds: 1_790_000_000, nanos: 123_456_000 }),
    }
}

/// A field mask; none for no paths.
pub fn mask(paths: &[&str]) -> Option<prost_types::FieldMask> {
    let paths: Vec<_> = paths.iter().map(|path| (*path).to_owned()).collect();
    (!paths.is_empty()).then_some(prost_types::FieldMask { paths })
}

/// The fields that an error names.
pub fn fields(error: &mainstay::kernel::Error) -> Vec<&str> {
    error.violations().iter().map(|violation| violation.field.as_str()).collect()
}
