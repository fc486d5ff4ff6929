//! A stand-in for authz that decides by a function.

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

type Decide = dyn Fn(&str, &str, &str) -> bool + Send + Sync;

/// Answers permission checks as `authz-svc`, and nothing else.
#[derive(Clone)]
pub struct FakeAuthz(Arc<Decide>);

impl FakeAuthz {
    /// Starts it in a mesh; `allow` is asked with subject, permission and resource.
    pub async fn start(
        mesh: &TestMesh,
        allow: impl Fn(&str, &str, &str) -> bool + Send + Sync + 'static,
    ) -> Running {
        let fake = Self(Arc::new(allow));
        mesh.start(authz::SERVICE, NoSettings {}, async |_| Ok(fake.module())).await
    }

    fn module(self) -> Module {
        let authorizer = Arc::new(self.clone());
        let module = Module::new(contract::DESCRIPTORS)
            .grpc(AuthzServiceServer::new(self))
            .authorizer(authorizer);
        PERMISSIONS.into_iter().fold(module, |module, name| module.permission(name, "For tests."))
    }

    fn decide(&self, check: &authz::proto::CheckRequest) -> authz::proto::Decision {
        let allowed = (self.0)(&check.subject, &check.permission, &check.resource);
        authz::proto::Decision { allowed, revision: 1 }
    }
}

#[async_trait]
impl Authorizer for FakeAuthz {
    async fn check(&self, subject: &str, permission: &str, resource: &str) -> Result<bool> {
        Ok((self.0)(subject, permission, resource))
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

/// Implements the service with decisions alone; every other method is unimplemented.
macro_rules! decisions_only {
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

            $(
                async fn $method(
                    &self,
                    _: Request<authz::proto::$request>,
                ) -> Result<Response<authz::proto::$reply>, Status> {
                    Err(Status::unimplemented("the stand-in for authz only decides"))
                }
            )*
        }
    };
}

decisions_only! {
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
