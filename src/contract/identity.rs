//! identity: who the users are.

use sha2::{Digest as _, Sha256};
use tonic::Code;

use super::client::client;
use crate::kernel::error::ErrorCode;

pub use super::id::UserId;
pub use super::proto::mainstay::identity::v1 as proto;
use proto::user_service_client::UserServiceClient;

/// The service's name in the mesh.
pub const SERVICE: &str = "identity-svc";

/// Another user who is not deleted has this e-mail address.
pub const USER_EMAIL_TAKEN: ErrorCode = ErrorCode::new("USER_EMAIL_TAKEN", Code::AlreadyExists);

/// The etag of a user's state, opaque to clients. It stands here because auth answers a registration
/// with the user as identity will have it: a registration is version 1.
pub fn user_etag(id: UserId, version: u64) -> String {
    let digest = Sha256::digest(format!("user {id} version {version}"));
    hex::encode(&digest[..8])
}

client! {
    /// What identity offers.
    IdentityClient, over gRPC GrpcIdentityClient(UserServiceClient) {
        /// Returns the user who calls.
        get_me(GetMeRequest) -> proto::User;
        /// Changes the profile of the user who calls.
        update_me(UpdateMeRequest) -> proto::User;
        /// Returns one user.
        get_user(GetUserRequest) -> proto::User;
        /// Lists users, newest first.
        list_users(ListUsersRequest) -> proto::ListUsersResponse;
        /// Changes a user's profile.
        update_user(UpdateUserRequest) -> proto::User;
        /// Deletes a user softly.
        delete_user(DeleteUserRequest) -> proto::DeleteUserResponse;
        /// Creates the user of a registered account.
        create_user(CreateUserRequest) -> proto::User;
        /// Takes back the user of a registration that was refused.
        withdraw_user(WithdrawUserRequest) -> proto::WithdrawUserResponse;
    }
}
