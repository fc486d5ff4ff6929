//! `mainstay.identity.v1.UserService`: parse, call the app, render.

pub mod errors;
pub mod parse;
pub mod render;

use std::sync::Arc;

use mainstay::contract::identity::UserId;
use mainstay::contract::identity::proto::user_service_server::{UserService, UserServiceServer};
use mainstay::contract::identity::proto::{
    CreateUserRequest, DeleteUserRequest, DeleteUserResponse, GetMeRequest, GetUserRequest,
    ListUsersRequest, ListUsersResponse, UpdateMeRequest, UpdateUserRequest, User,
    WithdrawUserRequest, WithdrawUserResponse,
};
use mainstay::kernel::etag::IfMatch;
use tonic::{Request, Response, Status};

use crate::app::App;

type Reply<T> = Result<Response<T>, Status>;

/// The service for the kernel to serve.
pub fn service(app: Arc<App>) -> UserServiceServer<Users> {
    UserServiceServer::new(Users { app })
}

/// The service over the use cases.
pub struct Users {
    app: Arc<App>,
}

#[tonic::async_trait]
impl UserService for Users {
    async fn get_me(&self, _request: Request<GetMeRequest>) -> Reply<User> {
        let caller = parse::caller()?;
        let user = self.app.user_get(caller, Some(caller)).await?;
        Ok(render::user(&user))
    }

    async fn update_me(&self, request: Request<UpdateMeRequest>) -> Reply<User> {
        let caller = parse::caller()?;
        let if_match = IfMatch::of(request.metadata())?;
        let UpdateMeRequest { user, update_mask } = request.into_inner();
        self.update(caller, user.unwrap_or_default(), update_mask, if_match).await
    }

    async fn get_user(&self, request: Request<GetUserRequest>) -> Reply<User> {
        let id = UserId::parse(&request.into_inner().user_id)?;
        let user = self.app.user_get(id, parse::caller().ok()).await?;
        Ok(render::user(&user))
    }

    async fn list_users(&self, request: Request<ListUsersRequest>) -> Reply<ListUsersResponse> {
        let query = parse::user_query(&request.into_inner())?;
        let page = self.app.user_list(&query).await?;
        Ok(render::user_page(&page))
    }

    async fn update_user(&self, request: Request<UpdateUserRequest>) -> Reply<User> {
        let if_match = IfMatch::of(request.metadata())?;
        let UpdateUserRequest { user_id, user, update_mask } = request.into_inner();
        let id = UserId::parse(&user_id)?;
        self.update(id, user.unwrap_or_default(), update_mask, if_match).await
    }

    async fn delete_user(&self, request: Request<DeleteUserRequest>) -> Reply<DeleteUserResponse> {
        let id = UserId::parse(&request.into_inner().user_id)?;
        self.app.user_delete(id, parse::caller().ok()).await?;
        Ok(Response::new(DeleteUserResponse {}))
    }

    async fn create_user(&self, request: Request<CreateUserRequest>) -> Reply<User> {
        let request = request.into_inner();
        let id = UserId::parse(&request.user_id)?;
        let register_time = parse::required_time("register_time", request.register_time)?;
        let user =
            self.app.user_create(id, &request.email, &request.display_name, register_time).await?;
        Ok(render::user(&user))
    }

    async fn withdraw_user(
        &self,
        request: Request<WithdrawUserRequest>,
    ) -> Reply<WithdrawUserResponse> {
        let request = request.into_inner();
        let id = UserId::parse(&request.user_id)?;
        let register_time = parse::required_time("register_time", request.register_time)?;
        let (email, display_name) = (&request.email, &request.display_name);
        self.app.user_withdraw(id, email, display_name, register_time).await?;
        Ok(Response::new(WithdrawUserResponse {}))
    }
}

impl Users {
    async fn update(
        &self,
        id: UserId,
        user: User,
        mask: Option<prost_types::FieldMask>,
        if_match: IfMatch,
    ) -> Reply<User> {
        let change = parse::profile_change(&user, mask)?;
        let expected = if_match.and("user.etag", &user.etag)?;
        let caller = parse::caller().ok();
        let user = self.app.user_update(id, caller, &change, &expected).await?;
        Ok(render::user(&user))
    }
}
