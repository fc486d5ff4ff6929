//! Accounts are registered, and users follow.

use std::time::Duration;

use mainstay::contract::auth::proto::{AccountRegistered, RegistrationWithdrawn};
use mainstay::contract::auth::{AuthClient as _, EMAIL_TAKEN, INVALID_CREDENTIALS, UserId};
use mainstay::contract::identity::proto::{CreateUserRequest, DeleteUserRequest, GetMeRequest};
use mainstay::contract::identity::{self, GrpcIdentityClient, IdentityClient as _};
use mainstay::kernel::error::{INVALID_ARGUMENT, UNAUTHENTICATED};
use mainstay::kernel::settings::Transport;
use mainstay_testing::{as_user, eventually, within};

use crate::harness::{Auth, PASSWORD, fields, register_request};

crate::stories! {
    a_registration_is_told_once,
    an_address_is_registered_once,
    of_two_at_the_same_time_one_is_registered,
    bad_input_registers_nobody,
}

async fn a_registration_is_told_once(transport: Transport) {
    let auth = Auth::start(transport).await;
    let ada = auth.register("Ada@Example.com").await.unwrap();
    assert_eq!((ada.email.as_str(), ada.display_name.as_str()), ("Ada@Example.com", "Ada"));
    assert!(ada.create_time.is_some() && ada.create_time == ada.update_time);
    let told = eventually("the registration is told", async || {
        Some(auth.mesh.events::<AccountRegistered>().await).filter(|events| !events.is_empty())
    })
    .await;
    assert_eq!(told.len(), 1);
    assert_eq!((&told[0].user_id, &told[0].email), (&ada.id, &ada.email));
    assert_eq!((&told[0].roles, told[0].register_time), (&vec!["member".into()], ada.create_time));
}

async fn an_address_is_registered_once(transport: Transport) {
    let auth = Auth::start(transport).await;
    auth.register("Ada@Example.com").await.unwrap();
    for email in ["Ada@Example.com", "ada@example.com", "ADA@EXAMPLE.COM"] {
        let error = auth.register(email).await.unwrap_err();
        assert!(error.is(&EMAIL_TAKEN), "{email}: {error}");
        assert_eq!(error.code().http, 409);
    }
}

async fn of_two_at_the_same_time_one_is_registered(transport: Transport) {
    let auth = Auth::start(transport).await;
    let (one, other) =
        tokio::join!(auth.register("ada@example.com"), auth.register("ADA@example.com"));
    let (winner, loser) = if one.is_ok() { (one, other) } else { (other, one) };
    winner.unwrap();
    let error = loser.unwrap_err();
    assert!(error.is(&EMAIL_TAKEN), "{error}");
}

async fn bad_input_registers_nobody(transport: Transport) {
    let auth = Auth::start(transport).await;
    let long = "x".repeat(200);
    for (field, email, password, display_name) in [
        ("email", "", PASSWORD, "Ada"),
        ("email", "ada", PASSWORD, "Ada"),
        ("email", "ada@", PASSWORD, "Ada"),
        ("email", "a da@example.com", PASSWORD, "Ada"),
        ("email", &format!("{long}@{long}.com"), PASSWORD, "Ada"),
        ("password", "ada@example.com", "", "Ada"),
        ("password", "ada@example.com", "1234567", "Ada"),
        ("password", "ada@example.com", &"x".repeat(129), "Ada"),
        ("display_name", "ada@example.com", PASSWORD, &"x".repeat(201)),
        ("display_name", "ada@example.com", PASSWORD, "A\nda"),
    ] {
        let mut request = register_request(email, password);
        request.display_name = display_name.into();
        let error = auth.client().register(request).await.unwrap_err();
        assert!(error.is(&INVALID_ARGUMENT), "{field} {email:?} {password:?}: {error}");
        assert!(fields(&error).contains(&field), "{error}");
        assert!(password.is_empty() || !error.to_string().contains(password), "{error}");
    }
    auth.register("ada@example.com").await.expect("nothing was half-registered");
}

#[tokio::test]
async fn the_user_is_visible_at_once() {
    let auth = Auth::start(Transport::Grpc).await;
    let _identity = auth.start_identity().await;
    eventually("identity is found", async || {
        let probe = auth.identity().get_me(GetMeRequest {}).await;
        probe.is_err_and(|error| error.code().http == 401).then_some(())
    })
    .await;
    let ada = auth.register("ada@example.com").await.unwrap();
    let seen = as_user(&ada.id, auth.identity().get_me(GetMeRequest {})).await.unwrap();
    assert_eq!(seen, ada);
}

#[tokio::test]
async fn a_registration_without_identity_completes_when_it_is_back() {
    let auth = Auth::start(Transport::Grpc).await;
    let ada = auth.register("ada@example.com").await.unwrap();
    auth.login("ada@example.com", PASSWORD).await.unwrap();

    let _identity = auth.start_identity().await;
    let seen = eventually("the user is there", async || {
        as_user(&ada.id, auth.identity().get_me(GetMeRequest {})).await.ok()
    })
    .await;
    assert_eq!(seen, ada, "the answer was what identity has, etag and times included");
}

#[tokio::test]
async fn a_service_speaks_for_a_user_by_access_token_until_the_session_is_over() {
    let auth = Auth::start(Transport::Grpc).await;
    let _identity = auth.start_identity().await;
    let (ada, tokens) = auth.logged_in("ada@example.com").await;
    let peer = auth.mesh.channel("billing-svc", identity::SERVICE);
    let me = async |token: &str| {
        let client = GrpcIdentityClient::new(peer.clone()).with_bearer(token);
        client.get_me(GetMeRequest {}).await
    };
    let seen = eventually("the user is there", async || me(&tokens.access_token).await.ok()).await;
    assert_eq!(seen, ada);

    let (head, signature) = tokens.access_token.rsplit_once('.').unwrap();
    let other = auth.login("ada@example.com", PASSWORD).await.unwrap();
    let (other_head, _) = other.access_token.rsplit_once('.').unwrap();
    for forged in ["nonsense", &format!("{head}."), &format!("{other_head}.{signature}")] {
        let error = me(forged).await.unwrap_err();
        assert!(error.is(&UNAUTHENTICATED), "{forged}: {error}");
    }
    auth.logout(&tokens.refresh_token).await.unwrap();
    let error = within(Duration::from_secs(2), "the token is refused", async || {
        me(&tokens.access_token).await.err()
    })
    .await;
    assert!(error.is(&UNAUTHENTICATED), "{error}");
}

#[tokio::test]
async fn who_deletes_themselves_can_register_anew() {
    let auth = Auth::start(Transport::Grpc).await;
    let _identity = auth.start_identity().await;
    let (ada, _) = auth.logged_in("ada@example.com").await;
    eventually("the user is deleted", async || {
        let request = DeleteUserRequest { user_id: ada.id.clone() };
        as_user(&ada.id, auth.identity().delete_user(request)).await.ok()
    })
    .await;
    let next =
        eventually("the address is free", async || auth.register("ada@example.com").await.ok())
            .await;
    assert_ne!(next.id, ada.id);
    let seen = eventually("the new user is there", async || {
        as_user(&next.id, auth.identity().get_me(GetMeRequest {})).await.ok()
    })
    .await;
    assert_eq!(seen, next);
}

/// Identity has another user with the address: no repetition will change that.
#[tokio::test]
async fn a_registration_that_identity_refuses_is_taken_back() {
    let auth = Auth::start(Transport::Grpc).await;
    let _identity = auth.start_identity().await;
    let identity = GrpcIdentityClient::new(auth.mesh.channel("auth-svc", identity::SERVICE));
    let other = CreateUserRequest {
        user_id: UserId::new().to_string(),
        email: "ada@example.com".into(),
        display_name: "Another".into(),
        register_time: Some(prost_types::Timestamp { seconds: 1_790_000_000, nanos: 0 }),
    };
    eventually("the address is another user's", async || {
        identity.create_user(other.clone()).await.ok()
    })
    .await;

    let ada = auth.register("ada@example.com").await.unwrap();
    let withdrawn = eventually("the registration is taken back", async || {
        Some(auth.mesh.events::<RegistrationWithdrawn>().await).filter(|told| !told.is_empty())
    })
    .await;
    assert_eq!(withdrawn, [RegistrationWithdrawn { user_id: ada.id.clone() }]);
    let error = auth.login("ada@example.com", PASSWORD).await.unwrap_err();
    assert!(error.is(&INVALID_CREDENTIALS), "{error}");
    let me = as_user(&ada.id, auth.identity().get_me(GetMeRequest {})).await;
    assert_eq!(me.unwrap_err().code().http, 404);

    let request = DeleteUserRequest { user_id: other.user_id.clone() };
    as_user(&other.user_id, auth.identity().delete_user(request)).await.unwrap();
    let next = auth.register("ada@example.com").await.unwrap();
    assert_ne!(next.id, ada.id);
    eventually("the new user is there", async || {
        as_user(&next.id, auth.identity().get_me(GetMeRequest {})).await.ok()
    })
    .await;
    let withdrawn = auth.mesh.events::<RegistrationWithdrawn>().await;
    assert_eq!(withdrawn.len(), 1, "told once");
}
