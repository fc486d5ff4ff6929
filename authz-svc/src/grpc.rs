//! `mainstay.authz.v1.AuthzService`: parse, call the app, render.

pub mod authorizer;
pub mod parse;
pub mod render;
pub mod watch;

use std::sync::Arc;

use mainstay::contract::authz::BindingId;
use mainstay::contract::authz::proto::authz_service_server::{AuthzService, AuthzServiceServer};
use mainstay::contract::authz::proto::{
    BatchCheckRequest, BatchCheckResponse, BindInitialRolesRequest, BindInitialRolesResponse,
    CheckRequest, CreateRoleBindingRequest, CreateRoleRequest, Decision, DeleteRoleBindingRequest,
    DeleteRoleBindingResponse, DeleteRoleRequest, DeleteRoleResponse, GetRoleRequest,
    ListPermissionsRequest, ListPermissionsResponse, ListRoleBindingsRequest,
    ListRoleBindingsResponse, ListRolesRequest, ListRolesResponse, ListSubjectPermissionsRequest,
    ListSubjectPermissionsResponse, Role, RoleBinding, UpdateRoleRequest, WatchRevisionsRequest,
    WatchRevisionsResponse,
};
use mainstay::kernel::etag::IfMatch;
use mainstay::kernel::page::PageRequest;
use mainstay::kernel::watch::{Feed, MessageStream};
use tonic::{Request, Response, Status};

use crate::app::App;
use crate::domain::{Resource, RoleKey, RoleName, Subject};

type Reply<T> = Result<Response<T>, Status>;

/// The service for the kernel to serve; `revisions` tells the revision to those who watch it.
pub fn service(app: Arc<App>, revisions: Feed<i64>) -> AuthzServiceServer<Roles> {
    AuthzServiceServer::new(Roles { app, revisions })
}

/// The service over the use cases.
pub struct Roles {
    app: Arc<App>,
    revisions: Feed<i64>,
}

#[tonic::async_trait]
impl AuthzService for Roles {
    type WatchRevisionsStream = MessageStream<WatchRevisionsResponse>;

    async fn watch_revisions(
        &self,
        _: Request<WatchRevisionsRequest>,
    ) -> Reply<Self::WatchRevisionsStream> {
        let message = |revision: &i64, elapsed| render::revision(*revision, elapsed);
        Ok(Response::new(self.revisions.stream(message)))
    }

    async fn list_roles(&self, request: Request<ListRolesRequest>) -> Reply<ListRolesResponse> {
        let request = request.into_inner();
        let page = PageRequest::parse(request.page_size, &request.page_token)?;
        let after = parse::role_position(&page)?;
        let roles = self.app.role_list(after.as_ref(), page.rows_to_read()).await?;
        Ok(render::role_page(&page, roles))
    }

    async fn create_role(&self, request: Request<CreateRoleRequest>) -> Reply<Role> {
        let request = request.into_inner();
        let name = RoleName::parse("name", &request.name)?;
        let permissions = parse::patterns("permissions", &request.permissions)?;
        let caller = parse::caller()?;
        let role = self.app.role_create(&caller, name, &request.description, permissions).await?;
        Ok(render::role(&role))
    }

    async fn get_role(&self, request: Request<GetRoleRequest>) -> Reply<Role> {
        let key = RoleKey::parse(&request.into_inner().role_id);
        Ok(render::role(&self.app.role_get(&key).await?))
    }

    async fn update_role(&self, request: Request<UpdateRoleRequest>) -> Reply<Role> {
        let if_match = IfMatch::of(request.metadata())?;
        let UpdateRoleRequest { role_id, role, update_mask } = request.into_inner();
        let update = parse::role_update(role.unwrap_or_default(), update_mask, if_match)?;
        let (caller, key) = (parse::caller()?, RoleKey::parse(&role_id));
        Ok(render::role(&self.app.role_update(&caller, &key, update).await?))
    }

    async fn delete_role(&self, request: Request<DeleteRoleRequest>) -> Reply<DeleteRoleResponse> {
        let key = RoleKey::parse(&request.into_inner().role_id);
        self.app.role_delete(&key).await?;
        Ok(Response::new(DeleteRoleResponse {}))
    }

    async fn list_role_bindings(
        &self,
        request: Request<ListRoleBindingsRequest>,
    ) -> Reply<ListRoleBindingsResponse> {
        let request = request.into_inner();
        let page = PageRequest::parse(request.page_size, &request.page_token)?;
        let before = parse::binding_position(&page)?;
        let (subject, role) = parse::binding_filter(&request)?;
        let limit = page.rows_to_read();
        let bindings = self.app.binding_list(subject, role.as_ref(), before, limit).await?;
        Ok(render::binding_page(&page, bindings))
    }

    async fn create_role_binding(
        &self,
        request: Request<CreateRoleBindingRequest>,
    ) -> Reply<RoleBinding> {
        let request = request.into_inner();
        let key = RoleKey::parse(&request.role_id);
        let subject = Subject::parse("subject", &request.subject)?;
        let resource = Resource::parse("resource", &request.resource)?;
        let caller = parse::caller()?;
        let binding = self.app.binding_create(&caller, &key, subject, resource).await?;
        Ok(render::binding(&binding))
    }

    async fn delete_role_binding(
        &self,
        request: Request<DeleteRoleBindingRequest>,
    ) -> Reply<DeleteRoleBindingResponse> {
        let id = BindingId::parse(&request.into_inner().binding_id)?;
        self.app.binding_delete(id).await?;
        Ok(Response::new(DeleteRoleBindingResponse {}))
    }

    async fn list_permissions(
        &self,
        request: Request<ListPermissionsRequest>,
    ) -> Reply<ListPermissionsResponse> {
        let request = request.into_inner();
        let page = PageRequest::parse(request.page_size, &request.page_token)?;
        let after = parse::permission_position(&page)?;
        let permissions = self.app.permission_list(after.as_ref(), page.rows_to_read()).await?;
        Ok(render::permission_page(&page, permissions))
    }

    async fn check(&self, request: Request<CheckRequest>) -> Reply<Decision> {
        let caller = parse::caller()?;
        let question = parse::question("", request.into_inner(), Some(&caller))?;
        Ok(Response::new(render::decision(self.app.decide_for(&caller, &question).await?)))
    }

    async fn batch_check(&self, request: Request<BatchCheckRequest>) -> Reply<BatchCheckResponse> {
        let questions = parse::questions(request.into_inner().checks)?;
        let decisions = self.app.decide(&questions).await?;
        let decisions = decisions.into_iter().map(render::decision).collect();
        Ok(Response::new(BatchCheckResponse { decisions }))
    }

    async fn list_subject_permissions(
        &self,
        request: Request<ListSubjectPermissionsRequest>,
    ) -> Reply<ListSubjectPermissionsResponse> {
        let caller = parse::caller()?;
        let subject = parse::subject("subject", &request.into_inner().subject, Some(&caller))?;
        let grants = self.app.grant_list(&caller, &subject).await?;
        Ok(render::grants(&grants))
    }

    async fn bind_initial_roles(
        &self,
        request: Request<BindInitialRolesRequest>,
    ) -> Reply<BindInitialRolesResponse> {
        let BindInitialRolesRequest { user_id, role_names } = request.into_inner();
        let subject = Subject::parse("user_id", &format!("user:{user_id}"))?;
        self.app.account_registered(&subject, &role_names).await?;
        Ok(Response::new(BindInitialRolesResponse {}))
    }
}
