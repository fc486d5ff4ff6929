//! A mesh with authz in it and an administrator.

use authz_svc::config::Config;
use mainstay::contract::auth::proto::AccountRegistered;
use mainstay::contract::authz::proto::authz_service_client::AuthzServiceClient;
use mainstay::contract::authz::proto::{
    BatchCheckRequest, CheckRequest, CreateRoleBindingRequest, CreateRoleRequest,
    ListRoleBindingsRequest, Role, RoleBinding,
};
use mainstay::contract::authz::{AuthzClient as _, GrpcAuthzClient, SERVICE};
use mainstay::contract::identity::UserId;
use mainstay::kernel::channel::MeshChannel;
use mainstay::kernel::lifecycle::{Drained, Running};
use mainstay::kernel::settings::{ChannelSettings, Transport};
use mainstay::kernel::{ErrorCode, Result};
use mainstay_testing::{TestMesh, as_user, eventually};

/// The roles that an ordinary account begins with.
pub const MEMBER: &[&str] = &["member"];

/// Authz at work, with one administrator.
pub struct Authz {
    pub mesh: TestMesh,
    /// Id of the administrator.
    pub admin: String,
    pub client: GrpcAuthzClient,
    running: Option<Running>,
    transport: Transport,
}

impl Authz {
    /// Authz in a mesh of its own.
    pub async fn begin(transport: Transport) -> Self {
        Self::begin_with(transport, Config::default()).await
    }

    pub async fn begin_with(transport: Transport, config: Config) -> Self {
        let mesh = TestMesh::new();
        let running = mesh.start(SERVICE, config, authz_svc::module).await;
        let client = GrpcAuthzClient::new(channel(&mesh, "gateway", transport));
        let admin = UserId::new().to_string();
        let authz = Self { mesh, admin, client, running: Some(running), transport };
        authz.announce(&authz.admin, &["admin", "member"]).await;
        eventually("the administrator is one", async || {
            authz.allowed(&authz.admin, "any.thing.do").await.then_some(())
        })
        .await;
        authz
    }

    /// A client with a certificate for that identity.
    pub fn client_of(&self, identity: &str) -> GrpcAuthzClient {
        GrpcAuthzClient::new(channel(&self.mesh, identity, self.transport))
    }

    /// The generated stub, for calls with metadata.
    pub fn stub(&self) -> AuthzServiceClient<MeshChannel> {
        AuthzServiceClient::new(channel(&self.mesh, "gateway", self.transport))
    }

    /// Runs calls for the administrator.
    pub async fn as_admin<F: Future>(&self, future: F) -> F::Output {
        as_user(&self.admin, future).await
    }

    /// A user who has the role `member` and no other.
    pub async fn member(&self) -> String {
        let user = UserId::new().to_string();
        self.announce(&user, MEMBER).await;
        eventually("the user is a member", async || {
            (!self.bindings_of(&user).await.is_empty()).then_some(())
        })
        .await;
        user
    }

    /// A user who holds these permissions everywhere.
    pub async fn user_with(&self, role: &str, permissions: &[&str]) -> String {
        let user = self.member().await;
        self.role(role, permissions).await;
        self.bind(role, &format!("user:{user}"), "").await.unwrap();
        user
    }

    /// Tells that an account was registered, as auth does.
    pub async fn announce(&self, user: &str, roles: &[&str]) {
        let event = AccountRegistered {
            user_id: user.to_owned(),
            email: format!("{user}@example.org"),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            ..AccountRegistered::default()
        };
        self.mesh.publish(&event).await;
    }

    /// Creates a role for the administrator.
    pub async fn role(&self, name: &str, permissions: &[&str]) -> Role {
        self.as_admin(self.client.create_role(create_role(name, permissions))).await.unwrap()
    }

    /// Binds a role for the administrator.
    pub async fn bind(&self, role: &str, subject: &str, resource: &str) -> Result<RoleBinding> {
        self.as_admin(self.client.create_role_binding(create_binding(role, subject, resource)))
            .await
    }

    /// All bindings of a user.
    pub async fn bindings_of(&self, user: &str) -> Vec<RoleBinding> {
        let request = ListRoleBindingsRequest {
            subject: format!("user:{user}"),
            ..ListRoleBindingsRequest::default()
        };
        self.as_admin(self.client.list_role_bindings(request)).await.unwrap().role_bindings
    }

    /// Whether a user may do something everywhere.
    pub async fn allowed(&self, user: &str, permission: &str) -> bool {
        let checks = vec![question(&format!("user:{user}"), permission, "")];
        let answer = self.client.batch_check(BatchCheckRequest { checks }).await.unwrap();
        answer.decisions[0].allowed
    }

    /// Ends the process and waits until it has.
    pub async fn stop(&mut self) -> Drained {
        self.running.take().unwrap().drain().await
    }

    /// One more replica over the same database.
    pub async fn another(&self) -> Running {
        self.mesh.start(SERVICE, Config::default(), authz_svc::module).await
    }

    /// Starts it again over the same database.
    pub async fn restart(&mut self) {
        let running = self.mesh.start(SERVICE, Config::default(), authz_svc::module).await;
        self.running = Some(running);
    }
}

fn channel(mesh: &TestMesh, identity: &str, transport: Transport) -> MeshChannel {
    let settings = ChannelSettings { transport, ..ChannelSettings::default() };
    mesh.channel_with(identity, SERVICE, &settings)
}

pub fn create_role(name: &str, permissions: &[&str]) -> CreateRoleRequest {
    CreateRoleRequest {
        name: name.to_owned(),
        description: format!("role {name}"),
        permissions: permissions.iter().map(|text| (*text).to_owned()).collect(),
    }
}

pub fn create_binding(role: &str, subject: &str, resource: &str) -> CreateRoleBindingRequest {
    CreateRoleBindingRequest {
        role_id: role.to_owned(),
        subject: subject.to_owned(),
        resource: resource.to_owned(),
    }
}

pub fn question(subject: &str, permission: &str, resource: &str) -> CheckRequest {
    CheckRequest {
        subject: subject.to_owned(),
        permission: permission.to_owned(),
        resource: resource.to_owned(),
    }
}

/// Asserts that a call was refused with that row of the table of errors.
#[track_caller]
pub fn refused<T: std::fmt::Debug>(result: Result<T>, code: &ErrorCode) {
    let error = result.expect_err("the call was to be refused");
    assert!(error.is(code), "refused as {error}, not as {}", code.reason);
    assert_eq!((error.code().grpc, error.code().http), (code.grpc, code.http), "{error}");
}
