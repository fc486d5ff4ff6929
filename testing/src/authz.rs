//! A stand-in for authz that decides by functions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

use async_trait::async_trait;
use mainstay::contract::{self, authz};
use mainstay::kernel::lifecycle::{Module, Platform, Running};
use mainstay::kernel::policy::Authorizer;
use mainstay::kernel::settings::ServiceSettings;
use mainstay::kernel::watch::{Feed, FeedSource, MessageStream};
use mainstay::kernel::{Error, Result};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::mesh::TestMesh;
use authz::proto::authz_service_server::{AuthzService, AuthzServiceServer};
use authz::proto::{BindInitialRolesRequest, BindInitialRolesResponse};

type Decide = dyn Fn(&str, &str, &str) -> bool + Send + Sync;
type Bind = dyn Fn(BindInitialRolesRequest) -> Result<()> + Send + Sync;

/// Answers as `authz-svc` permission checks and who binds the roles of new accounts, tells the revision
/// of what it answers, and nothing else.
#[derive(Clone)]
pub struct FakeAuthz {
    decide: Arc<Decide>,
    bind: Arc<Bind>,
    revision: Arc<Revision>,
}

/// At which revision the answers are.
struct Revision {
    newest: AtomicI64,
    has_grown: Notify,
    is_silent: AtomicBool,
    asked: AtomicUsize,
}

impl FakeAuthz {
    /// Starts it in a mesh; `allow` is asked with subject, permission and resource.
    pub async fn start(
        mesh: &TestMesh,
        allow: impl Fn(&str, &str, &str) -> bool + Send + Sync + 'static,
    ) -> Running {
        Self::deciding(allow).serve(mesh).await
    }

    /// One that is not started; `allow` is asked with subject, permission and resource.
    pub fn deciding(allow: impl Fn(&str, &str, &str) -> bool + Send + Sync + 'static) -> Self {
        Self::new(Arc::new(allow), Arc::new(|_| Ok(())))
    }

    /// Starts one that allows nothing; `bind` answers for the roles of new accounts.
    pub async fn start_binding(
        mesh: &TestMesh,
        bind: impl Fn(BindInitialRolesRequest) -> Result<()> + Send + Sync + 'static,
    ) -> Running {
        Self::new(Arc::new(|_, _, _| false), Arc::new(bind)).serve(mesh).await
    }

    /// Starts it in a mesh.
    pub async fn serve(&self, mesh: &TestMesh) -> Running {
        let start = async |platform: Platform<NoSettings>| Ok(self.module(platform.draining()));
        mesh.start(authz::SERVICE, NoSettings {}, start).await
    }

    /// Tells that answers are other ones from now on.
    pub fn change(&self) {
        self.revision.newest.fetch_add(1, Ordering::SeqCst);
        self.revision.has_grown.notify_one();
    }

    /// Whether it tells nothing any more, though it answers.
    pub fn be_silent(&self, is_silent: bool) {
        self.revision.is_silent.store(is_silent, Ordering::SeqCst);
    }

    /// How many questions it was asked.
    pub fn asked(&self) -> usize {
        self.revision.asked.load(Ordering::SeqCst)
    }

    fn new(decide: Arc<Decide>, bind: Arc<Bind>) -> Self {
        let revision = Revision {
            newest: AtomicI64::new(1),
            has_grown: Notify::new(),
            is_silent: AtomicBool::new(false),
            asked: AtomicUsize::new(0),
        };
        Self { decide, bind, revision: Arc::new(revision) }
    }

    fn module(&self, draining: CancellationToken) -> Module {
        let authorizer = Arc::new(self.clone());
        let feed = Feed::start(Revisions(Arc::clone(&self.revision)), draining);
        let module = Module::new(contract::DESCRIPTORS)
            .grpc(AuthzServiceServer::new(Served { fake: self.clone(), feed }))
            .authorizer(authorizer);
        PERMISSIONS.into_iter().fold(module, |module, name| module.permission(name, "For tests."))
    }

    fn decide(&self, check: &authz::proto::CheckRequest) -> authz::proto::Decision {
        self.revision.asked.fetch_add(1, Ordering::SeqCst);
        // In this order: an answer is never older than it says.
        let revision = self.revision.newest.load(Ordering::SeqCst);
        let allowed = (self.decide)(&check.subject, &check.permission, &check.resource);
        authz::proto::Decision { allowed, revision }
    }
}

/// What is read of the revision for those who watch it.
struct Revisions(Arc<Revision>);

#[async_trait]
impl FeedSource for Revisions {
    type State = i64;

    async fn read(&self, _: Option<&i64>) -> Result<i64> {
        match self.0.is_silent.load(Ordering::SeqCst) {
            true => Err(Error::unavailable("the stand-in for authz is silent")),
            false => Ok(self.0.newest.load(Ordering::SeqCst)),
        }
    }

    async fn changed(&self) {
        self.0.has_grown.notified().await;
    }
}

/// The stand-in at work.
struct Served {
    fake: FakeAuthz,
    feed: Feed<i64>,
}

#[async_trait]
impl Authorizer for FakeAuthz {
    async fn check(&self, subject: &str, permission: &str, resource: &str) -> Result<bool> {
        Ok((self.decide)(subject, permission, resource))
    }
}

/// The permissions that the contract of authz states.
const PERMISSIONS: [&str; 9] = [
    "authz.bindings.create",
    "authz.bindings.delete",
    "authz.bindings.list",
    "authz.permissions.list",
    "authz.roles.create",
    "authz.roles.delete",
    "authz.roles.list",
    "authz.roles.read",
    "authz.roles.update",
];

/// Settings of a service that has none.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NoSettings {}

impl ServiceSettings for NoSettings {
    const SECTION: &'static str = "none";
}

/// Implements the service with what the stand-in answers; every other method is unimplemented.
macro_rules! answers_all_but {
    ($( $method:ident($request:ident) -> $reply:ident; )*) => {
        #[async_trait]
        impl AuthzService for Served {
            type WatchRevisionsStream = MessageStream<authz::proto::WatchRevisionsResponse>;

            async fn watch_revisions(
                &self,
                _: Request<authz::proto::WatchRevisionsRequest>,
            ) -> Result<Response<Self::WatchRevisionsStream>, Status> {
                let stream = self.feed.stream(|revision, elapsed| {
                    let elapsed = elapsed.try_into().ok();
                    authz::proto::WatchRevisionsResponse { revision: *revision, elapsed }
                });
                Ok(Response::new(stream))
            }

            async fn check(
                &self,
                request: Request<authz::proto::CheckRequest>,
            ) -> Result<Response<authz::proto::Decision>, Status> {
                Ok(Response::new(self.fake.decide(request.get_ref())))
            }

            async fn batch_check(
                &self,
                request: Request<authz::proto::BatchCheckRequest>,
            ) -> Result<Response<authz::proto::BatchCheckResponse>, Status> {
                let checks = &request.get_ref().checks;
                let decisions = checks.iter().map(|check| self.fake.decide(check)).collect();
                Ok(Response::new(authz::proto::BatchCheckResponse { decisions }))
            }

            async fn bind_initial_roles(
                &self,
                request: Request<BindInitialRolesRequest>,
            ) -> Result<Response<BindInitialRolesResponse>, Status> {
                (self.fake.bind)(request.into_inner())?;
                Ok(Response::new(BindInitialRolesResponse {}))
            }

            $(
                async fn $method(
                    &self,
                    _: Request<authz::proto::$request>,
                ) -> Result<Response<authz::proto::$reply>, Status> {
                    Err(Status::unimplemented("the stand-in for authz has no such method"))
                }
            )*
        }
    };
}

answers_all_but! {
    list_roles(ListRolesRequest) -> ListRolesResponse;
    create_role(CreateRoleRequest) -> Role;
    get_role(GetRoleRequest) -> Role;
    update_role(UpdateRoleRequest) -> Role;
    delete_role(DeleteRoleRequest) -> DeleteRoleResponse;
    list_role_bindings(ListRoleBindingsRequest) -> ListRoleBindingsResponse;
    create_role_binding(CreateRoleBindingRequest) -> RoleBinding;
    delete_role_binding(DeleteRoleBindingRequest) -> DeleteRoleBindingResponse;
    list_permissions(ListPermissionsRequest) -> ListPermissionsResponse;
    list_subject_permissions(ListSubjectPermissionsRequest) -> ListSubjectPermissionsResponse;
}
