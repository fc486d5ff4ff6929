//! Users of registrations that were refused elsewhere.

use mainstay::contract::identity::proto::{CreateUserRequest, UserDeleted, WithdrawUserRequest};
use mainstay::contract::identity::{GrpcIdentityClient, IdentityClient as _, UserId};
use mainstay::kernel::error::{NOT_FOUND, PERMISSION_DENIED};
use mainstay::kernel::settings::Transport;
use mainstay_testing::eventually;

use crate::harness::{Identity, create_request};

crate::stories! {
    a_withdrawn_user_is_deleted_once,
    who_was_withdrawn_before_they_came_stays_away,
    nobody_but_auth_withdraws_users,
}

fn withdrawing(request: CreateUserRequest) -> WithdrawUserRequest {
    let CreateUserRequest { user_id, email, display_name, register_time } = request;
    WithdrawUserRequest { user_id, email, display_name, register_time }
}

async fn told_of(identity: &Identity, id: &str) -> usize {
    eventually("the deletion is told", async || {
        let told = identity.mesh.events::<UserDeleted>().await;
        let told = told.iter().filter(|event| event.user_id == id).count();
        (told > 0).then_some(told)
    })
    .await
}

async fn a_withdrawn_user_is_deleted_once(transport: Transport) {
    let identity = Identity::start(transport).await;
    let auth = GrpcIdentityClient::new(identity.channel("auth-svc"));
    let request = create_request(&UserId::new().to_string(), "ada@example.com", "Ada");
    auth.create_user(request.clone()).await.unwrap();
    for _ in 0..2 {
        auth.withdraw_user(withdrawing(request.clone())).await.unwrap();
    }
    assert!(identity.me(&request.user_id).await.unwrap_err().is(&NOT_FOUND));
    assert_eq!(told_of(&identity, &request.user_id).await, 1);
    identity.create("ada@example.com", "Another").await;
}

async fn who_was_withdrawn_before_they_came_stays_away(transport: Transport) {
    let identity = Identity::start(transport).await;
    let auth = GrpcIdentityClient::new(identity.channel("auth-svc"));
    let request = create_request(&UserId::new().to_string(), "ada@example.com", "Ada");
    auth.withdraw_user(withdrawing(request.clone())).await.unwrap();
    let late = auth.create_user(request.clone()).await.unwrap();
    assert!(late.delete_time.is_some(), "{late:?}");
    assert!(identity.me(&request.user_id).await.unwrap_err().is(&NOT_FOUND));
    assert_eq!(told_of(&identity, &request.user_id).await, 1);
    identity.create("ada@example.com", "Another").await;
}

async fn nobody_but_auth_withdraws_users(transport: Transport) {
    let identity = Identity::start(transport).await;
    let ada = identity.create("ada@example.com", "Ada").await;
    for peer in ["gateway", "authz-svc"] {
        let client = GrpcIdentityClient::new(identity.channel(peer));
        let request = withdrawing(create_request(&ada.id, "ada@example.com", "Ada"));
        assert!(client.withdraw_user(request).await.unwrap_err().is(&PERMISSION_DENIED), "{peer}");
    }
    identity.me(&ada.id).await.unwrap();
}
