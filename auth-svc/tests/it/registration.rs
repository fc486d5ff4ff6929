//! Accounts are registered, and users follow.

use mainstay::contract::auth::proto::AccountRegistered;
use mainstay::contract::auth::{AuthClient as _, EMAIL_TAKEN};
use mainstay::contract::identity::IdentityClient as _;
use mainstay::contract::identity::proto::GetMeRequest;
use mainstay::kernel::error::INVALID_ARGUMENT;
use mainstay::kernel::settings::Transport;
use mainstay_testing::{as_user, eventually};

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
