//! A stand-in for authz that decides by functions.

use std::sync::Arc;

use async_trait::async_trait;
use mainstay::contract::{self, authz};
use mainstay::kernel::Result;
use mainstay::kernel::lifecycle::{Module, Running};
use mainstay::kernel::policy::Authorizer;
use mainstay::kernel::settings::ServiceSettings;
use serde::{Deserialize, Serialize};
use tonic::{Request, Response, Status};

use crate::mesh::TestMesh;
use authz::proto::authz_service_server::{AuthzService, AuthzServiceServer};
use authz::proto::{BindInitialRolesRequest, BindInitialRolesResponse};

type Decide = dyn Fn(&str, &str, &str) -> bool + Send + Sync;
type Bind = dyn Fn(BindInitialRolesRequest) -> Result<()> + Send + Sync;

/// Answers as `authz-svc` permission checks and who binds the roles of new accounts, and nothing else.
#[derive(Clone)]
pub struct FakeAuthz {
    decide: Arc<Decide>,
    bind: Arc<Bind>,
}

impl FakeAuthz {
    /// Starts it in a mesh; `allow` is asked with subject, permission and resource.
    pub async fn start(
        mesh: &TestMesh,
        allow: impl Fn(&str, &str, &str) -> bool + Send + Sync + 'static,
    ) -> Running {
        Self { decide: Arc::new(allow), bind: Arc::new(|_| Ok(())) }.serve(mesh).await
    }

    /// Starts one that allows nothing; `bind` answers for the roles of new accounts.
    pub async fn start_binding(
        mesh: &TestMesh,
        bind: impl Fn(BindInitialRolesRequest) -> Result<()> + Send + Sync + 'static,
    ) -> Running {
        Self { decide: Arc::new(|_, _, _| false), bind: Arc::new(bind) }.serve(mesh).await
    }

    async fn serve(self, mesh: &TestMesh) -> Running {
        mesh.start(authz::SERVICE, NoSettings {}, async |_| Ok(self.module())).await
    }

    fn module(self) -> Module {
        let authorizer = Arc::new(self.clone());
        let module = Module::new(contract::DESCRIPTORS)
            .grpc(AuthzServiceServer::new(self))
            .authorizer(authorizer);
        PERMISSIONS.into_iter().fold(module, |module, name| module.permission(name, "For tests."))
    }

    fn decide(&self, check: &authz::proto::CheckRequest) -> authz::proto::Decision {
        let allowed = (self.decide)(&check.subject, &check.permission, &check.resource);
        authz::proto::Decision { allowed, revision: 1 }
    }
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
        impl AuthzService for FakeAuthz {
            async fn check(
                &self,
                request: Request<authz::proto::CheckRequest>,
            ) -> Result<Response<authz::proto::Decision>, Status> {
                Ok(Response::new(self.decide(request.get_ref())))
            }

            async fn batch_check(
                &self,
                request: Request<authz::proto::BatchCheckRequest>,
            ) -> Result<Response<authz::proto::BatchCheckResponse>, Status> {
                let checks = &request.get_ref().checks;
                let decisions = checks.iter().map(|check| self.decide(check)).collect();
                Ok(Response::new(authz::proto::BatchCheckResponse { decisions }))
            }

            async fn bind_initial_roles(
                &self,
                request: Request<BindInitialRolesRequest>,
            ) -> Result<Response<BindInitialRolesResponse>, Status> {
                (self.bind)(request.into_inner())?;
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
