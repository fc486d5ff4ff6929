//! Users are deleted softly.

use mainstay::contract::identity::IdentityClient as _;
use mainstay::contract::identity::proto::{
    DeleteUserRequest, DeleteUserResponse, ListUsersRequest, User, UserDeleted,
};
use mainstay::kernel::Result;
use mainstay::kernel::error::{NOT_FOUND, PERMISSION_DENIED};
use mainstay::kernel::settings::Transport;
use mainstay_testing::{as_user, eventually};

use crate::harness::Identity;

crate::stories! {
    a_deleted_user_is_gone_but_on_record,
    only_the_user_or_an_administrator_deletes,
}

async fn delete(identity: &Identity, caller: &str, id: &str) -> Result<DeleteUserResponse> {
    let request = DeleteUserRequest { user_id: id.into() };
    as_user(caller, identity.client().delete_user(request)).await
}

async fn a_deleted_user_is_gone_but_on_record(transport: Transport) {
    let identity = Identity::start(transport).await;
    let ada = identity.create("ada@example.com", "Ada").await;
    delete(&identity, &ada.id, &ada.id).await.unwrap();

    for error in [
        identity.me(&ada.id).await.unwrap_err(),
        identity.get(&identity.admin, &ada.id).await.unwrap_err(),
        identity.update_me(&ada.id, User::default(), &["bio"]).await.unwrap_err(),
        delete(&identity, &ada.id, &ada.id).await.unwrap_err(),
    ] {
        assert!(error.is(&NOT_FOUND), "{error}");
    }
    let list = async |show_deleted| {
        let request = ListUsersRequest { show_deleted, ..Default::default() };
        as_user(&identity.admin, identity.client().list_users(request)).await.unwrap().users
    };
    assert!(list(false).await.is_empty());
    let record = list(true).await.remove(0);
    assert_eq!(record.id, ada.id);
    assert_eq!(record.delete_time, record.update_time);
    assert!(record.delete_time.is_some());

    let told = eventually("the deletion is told", async || {
        identity.mesh.events::<UserDeleted>().await.pop()
    })
    .await;
    assert_eq!(told.user_id, ada.id);
    let next = identity.create("ada@example.com", "Another Ada").await;
    assert_ne!(next.id, ada.id, "the address is free again");
}

async fn only_the_user_or_an_administrator_deletes(transport: Transport) {
    let identity = Identity::start(transport).await;
    let ada = identity.create("ada@example.com", "Ada").await;
    let eve = identity.create("eve@example.com", "Eve").await;
    let error = delete(&identity, &eve.id, &ada.id).await.unwrap_err();
    assert!(error.is(&PERMISSION_DENIED), "{error}");
    delete(&identity, &identity.admin, &ada.id).await.unwrap();
}
