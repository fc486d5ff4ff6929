//! Users come into being and are read.

use mainstay::contract::identity::proto::GetMeRequest;
use mainstay::contract::identity::{
    GrpcIdentityClient, IdentityClient as _, USER_EMAIL_TAKEN, UserId,
};
use mainstay::kernel::error::{
    INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED, UNAUTHENTICATED, UNAVAILABLE,
};
use mainstay::kernel::settings::Transport;

use crate::harness::{Identity, create_request, fields};

crate::stories! {
    a_registered_user_reads_themselves,
    creating_twice_changes_nothing,
    creating_twice_at_once_is_creating_once,
    an_address_belongs_to_one_user,
    only_auth_creates_users,
    others_are_read_with_permission_only,
    a_user_on_the_way_is_not_unknown,
    ids_that_are_none_are_refused,
}

async fn a_registered_user_reads_themselves(transport: Transport) {
    let identity = Identity::start(transport).await;
    let ada = identity.create("Ada@Example.com", " Ada ").await;
    assert_eq!((ada.email.as_str(), ada.display_name.as_str()), ("Ada@Example.com", "Ada"));
    assert_eq!(ada.create_time, create_request("", "", "").register_time);
    assert_eq!((ada.update_time, ada.delete_time), (ada.create_time, None));
    assert!(!ada.etag.is_empty());
    assert_eq!(identity.me(&ada.id).await.unwrap(), ada);
    assert_eq!(identity.get(&ada.id, &ada.id).await.unwrap(), ada);
    let nobody = identity.client().get_me(GetMeRequest {}).await.unwrap_err();
    assert!(nobody.is(&UNAUTHENTICATED), "{nobody}");
}

async fn creating_twice_changes_nothing(transport: Transport) {
    let identity = Identity::start(transport).await;
    let auth = GrpcIdentityClient::new(identity.channel("auth-svc"));
    let id = UserId::new().to_string();
    let first = auth.create_user(create_request(&id, "ada@example.com", "Ada")).await.unwrap();
    let again = auth.create_user(create_request(&id, "ada@example.com", "Other")).await.unwrap();
    assert_eq!(again, first);
}

/// As the event and the call of one registration do, whichever is first.
async fn creating_twice_at_once_is_creating_once(transport: Transport) {
    let identity = Identity::start(transport).await;
    let auth = GrpcIdentityClient::new(identity.channel("auth-svc"));
    for number in 0..100 {
        let (id, email) = (UserId::new().to_string(), format!("user-{number}@example.com"));
        let create = || auth.create_user(create_request(&id, &email, "User"));
        let (one, other, another) = tokio::join!(create(), create(), create());
        let one = one.unwrap();
        assert_eq!((other.unwrap(), another.unwrap()), (one.clone(), one));
    }
}

async fn an_address_belongs_to_one_user(transport: Transport) {
    let identity = Identity::start(transport).await;
    identity.create("ada@example.com", "Ada").await;
    let auth = GrpcIdentityClient::new(identity.channel("auth-svc"));
    let request = create_request(&UserId::new().to_string(), "ADA@example.com", "Imposter");
    let error = auth.create_user(request).await.unwrap_err();
    assert!(error.is(&USER_EMAIL_TAKEN), "{error}");
}

async fn only_auth_creates_users(transport: Transport) {
    let identity = Identity::start(transport).await;
    for peer in ["gateway", "billing-svc"] {
        let client = GrpcIdentityClient::new(identity.channel(peer));
        let request = create_request(&UserId::new().to_string(), "eve@example.com", "Eve");
        let error = client.create_user(request).await.unwrap_err();
        assert!(error.is(&PERMISSION_DENIED), "{peer}: {error}");
    }
}

async fn others_are_read_with_permission_only(transport: Transport) {
    let identity = Identity::start(transport).await;
    let ada = identity.create("ada@example.com", "Ada").await;
    let eve = identity.create("eve@example.com", "Eve").await;
    let error = identity.get(&eve.id, &ada.id).await.unwrap_err();
    assert!(error.is(&PERMISSION_DENIED), "{error}");
    assert_eq!(identity.get(&identity.admin, &ada.id).await.unwrap(), ada);
    let unknown = UserId::new().to_string();
    let error = identity.get(&identity.admin, &unknown).await.unwrap_err();
    assert!(error.is(&NOT_FOUND), "{error}");
}

async fn a_user_on_the_way_is_not_unknown(transport: Transport) {
    let identity = Identity::start(transport).await;
    let early = UserId::new().to_string();
    for answer in [identity.me(&early).await, identity.get(&early, &early).await] {
        let error = answer.unwrap_err();
        assert!(error.is(&UNAVAILABLE), "{error}");
        assert!(error.retry_after_hint().is_some());
        assert!(error.message().contains("being created"), "{error}");
    }
}

async fn ids_that_are_none_are_refused(transport: Transport) {
    let identity = Identity::start(transport).await;
    for id in ["", "me", "42", "../users", "0190-zzz"] {
        let error = identity.get(&identity.admin, id).await.unwrap_err();
        assert!(error.is(&INVALID_ARGUMENT), "{id:?}: {error}");
        assert_eq!(fields(&error), ["user_id"], "{id:?}");
    }
}
