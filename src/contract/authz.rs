//! authz: who may do what.

mod remote;

use tonic::Code;

use super::client::client;
use crate::kernel::error::ErrorCode;

pub use super::id::{BindingId, RoleId};
pub use super::proto::mainstay::authz::v1 as proto;
pub use remote::RemoteAuthorizer;

use proto::authz_service_client::AuthzServiceClient;

/// The service's name in the mesh.
pub const SERVICE: &str = "authz-svc";

/// Another role has this name.
pub const ROLE_NAME_TAKEN: ErrorCode = ErrorCode::new("ROLE_NAME_TAKEN", Code::AlreadyExists);
/// Built-in roles can neither be changed nor deleted.
pub const ROLE_BUILT_IN: ErrorCode =
    ErrorCode::with_http("ROLE_BUILT_IN", Code::FailedPrecondition, 409);
/// A binding still uses the role.
pub const ROLE_IN_USE: ErrorCode =
    ErrorCode::with_http("ROLE_IN_USE", Code::FailedPrecondition, 409);
/// The subject has the role already.
pub const BINDING_EXISTS: ErrorCode = ErrorCode::new("BINDING_EXISTS", Code::AlreadyExists);
/// Without this binding nobody could administer the platform.
pub const LAST_ADMIN: ErrorCode = ErrorCode::with_http("LAST_ADMIN", Code::FailedPrecondition, 409);

client! {
    /// What authz offers.
    AuthzClient, over gRPC GrpcAuthzClient(AuthzServiceClient) {
        /// Lists roles, by name.
        list_roles(ListRolesRequest) -> proto::ListRolesResponse;
        /// Creates a role.
        create_role(CreateRoleRequest) -> proto::Role;
        /// Returns one role.
        get_role(GetRoleRequest) -> proto::Role;
        /// Changes a role.
        update_role(UpdateRoleRequest) -> proto::Role;
        /// Deletes a role that no binding uses.
        delete_role(DeleteRoleRequest) -> proto::DeleteRoleResponse;
        /// Lists role bindings, newest first.
        list_role_bindings(ListRoleBindingsRequest) -> proto::ListRoleBindingsResponse;
        /// Binds a role to a user or service.
        create_role_binding(CreateRoleBindingRequest) -> proto::RoleBinding;
        /// Takes a role from its subject.
        delete_role_binding(DeleteRoleBindingRequest) -> proto::DeleteRoleBindingResponse;
        /// Lists the permissions that the services declare.
        list_permissions(ListPermissionsRequest) -> proto::ListPermissionsResponse;
        /// Decides whether a subject may do something.
        check(CheckRequest) -> proto::Decision;
        /// Decides many questions at one revision of the bindings.
        batch_check(BatchCheckRequest) -> proto::BatchCheckResponse;
        /// Lists what a subject may do.
        list_subject_permissions(ListSubjectPermissionsRequest)
            -> proto::ListSubjectPermissionsResponse;
        /// Gives a new account the roles it begins with.
        bind_initial_roles(BindInitialRolesRequest) -> proto::BindInitialRolesResponse;
    }
    streaming {
        /// Tells the revision of the bindings, again and again.
        watch_revisions(WatchRevisionsRequest) -> proto::WatchRevisionsResponse;
    }
}
