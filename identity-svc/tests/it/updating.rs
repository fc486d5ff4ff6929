//! Users change their profiles.

use mainstay::contract::identity::proto::user_service_client::UserServiceClient;
use mainstay::contract::identity::proto::{UpdateMeRequest, UpdateUserRequest, User, UserUpdated};
use mainstay::contract::identity::{IdentityClient as _, UserId};
use mainstay::kernel::error::{
    ETAG_MISMATCH, Error, INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED,
};
use mainstay::kernel::settings::Transport;
use mainstay_testing::{as_user, eventually};

use crate::harness::{Identity, fields, mask};

crate::stories! {
    only_what_the_mask_names_changes,
    without_a_mask_what_has_a_value_changes,
    what_cannot_be_changed_is_named,
    unacceptable_values_are_named,
    a_stale_etag_is_refused,
    the_header_counts_as_the_etag,
    changes_at_the_same_time_are_all_kept,
    an_administrator_changes_others,
}

fn bio(text: &str) -> User {
    User { bio: text.into(), ..User::default() }
}

async fn only_what_the_mask_names_changes(transport: Transport) {
    let identity = Identity::start(transport).await;
    let ada = identity.create("ada@example.com", "Ada").await;
    let wish = User {
        display_name: "Countess".into(),
        locale: "en-GB".into(),
        time_zone: "Europe/London".into(),
        ..User::default()
    };
    let changed = identity.update_me(&ada.id, wish, &["locale", "time_zone"]).await.unwrap();
    assert_eq!(changed.display_name, "Ada");
    assert_eq!((changed.locale.as_str(), changed.time_zone.as_str()), ("en-GB", "Europe/London"));
    assert_ne!(changed.etag, ada.etag);
    assert_eq!(changed.create_time, ada.create_time);
    assert_ne!(changed.update_time, ada.update_time);
    assert_eq!(identity.me(&ada.id).await.unwrap(), changed);

    let cleared = identity.update_me(&ada.id, User::default(), &["*"]).await.unwrap();
    assert_eq!((cleared.display_name.as_str(), cleared.locale.as_str()), ("", ""));
    assert_eq!(cleared.email, "ada@example.com");
    let events = eventually("two updates are told", async || {
        Some(identity.mesh.events::<UserUpdated>().await).filter(|events| events.len() == 2)
    })
    .await;
    assert_eq!(events[0].changed_fields, ["locale", "time_zone"]);
    assert_eq!(events[1].changed_fields, ["display_name", "locale", "time_zone"]);
}

async fn without_a_mask_what_has_a_value_changes(transport: Transport) {
    let identity = Identity::start(transport).await;
    let ada = identity.create("ada@example.com", "Ada").await;
    let changed = identity.update_me(&ada.id, bio("Counts."), &[]).await.unwrap();
    assert_eq!((changed.display_name.as_str(), changed.bio.as_str()), ("Ada", "Counts."));
    let same = identity.update_me(&ada.id, bio("Counts."), &[]).await.unwrap();
    assert_eq!(same, changed, "what changes nothing makes no new state");
}

async fn what_cannot_be_changed_is_named(transport: Transport) {
    let identity = Identity::start(transport).await;
    let ada = identity.create("ada@example.com", "Ada").await;
    for path in ["email", "id", "create_time", "delete_time", "password"] {
        let wish = User { email: "eve@example.com".into(), ..User::default() };
        let error = identity.update_me(&ada.id, wish, &["bio", path]).await.unwrap_err();
        assert!(error.is(&INVALID_ARGUMENT), "{path}: {error}");
        assert_eq!(fields(&error), ["update_mask", &format!("user.{path}")]);
    }
    assert_eq!(identity.me(&ada.id).await.unwrap(), ada, "nothing was half-changed");
}

async fn unacceptable_values_are_named(transport: Transport) {
    let identity = Identity::start(transport).await;
    let ada = identity.create("ada@example.com", "Ada").await;
    let with = |change: fn(&mut User)| {
        let mut user = User::default();
        change(&mut user);
        user
    };
    for (field, wish) in [
        ("user.avatar_url", with(|user| user.avatar_url = "http://example.com/a.png".into())),
        ("user.avatar_url", with(|user| user.avatar_url = "javascript:alert(1)".into())),
        ("user.time_zone", with(|user| user.time_zone = "half past nine".into())),
        ("user.locale", with(|user| user.locale = "english please".into())),
        ("user.display_name", with(|user| user.display_name = "a\nb".into())),
        ("user.display_name", with(|user| user.display_name = "x".repeat(201))),
        ("user.bio", with(|user| user.bio = "x".repeat(2001))),
    ] {
        let error = identity.update_me(&ada.id, wish, &[]).await.unwrap_err();
        assert!(error.is(&INVALID_ARGUMENT), "{field}: {error}");
        assert_eq!(fields(&error), [field]);
    }
    assert_eq!(identity.me(&ada.id).await.unwrap(), ada);
}

async fn a_stale_etag_is_refused(transport: Transport) {
    let identity = Identity::start(transport).await;
    let ada = identity.create("ada@example.com", "Ada").await;
    let wish = |text: &str, etag: &str| User { etag: etag.into(), ..bio(text) };
    let first = identity.update_me(&ada.id, wish("first", &ada.etag), &["bio", "etag"]).await;
    let first = first.unwrap();
    let error = identity.update_me(&ada.id, wish("second", &ada.etag), &["bio"]).await.unwrap_err();
    assert!(error.is(&ETAG_MISMATCH), "{error}");
    assert_eq!(error.code().http, 412);
    assert_eq!(identity.me(&ada.id).await.unwrap(), first);
}

async fn the_header_counts_as_the_etag(transport: Transport) {
    let identity = Identity::start(transport).await;
    let ada = identity.create("ada@example.com", "Ada").await;
    let update = async |text: &str, if_match: String| {
        let message = UpdateMeRequest { user: Some(bio(text)), update_mask: mask(&["bio"]) };
        let mut request = tonic::Request::new(message);
        request.metadata_mut().insert("if-match", if_match.parse().unwrap());
        let mut stub = UserServiceClient::new(identity.channel("gateway"));
        as_user(&ada.id, stub.update_me(request)).await.map(tonic::Response::into_inner)
    };
    let first = update("first", format!("\"{}\"", ada.etag)).await.unwrap();
    let stale = Error::from(update("second", format!("\"{}\"", ada.etag)).await.unwrap_err());
    assert!(stale.is(&ETAG_MISMATCH), "{stale}");
    assert_eq!(update("third", first.etag).await.unwrap().bio, "third");
    assert_eq!(update("any", "*".into()).await.unwrap().bio, "any");
}

async fn changes_at_the_same_time_are_all_kept(transport: Transport) {
    let identity = Identity::start(transport).await;
    let ada = identity.create("ada@example.com", "Ada").await;
    let (identity, id) = (&identity, ada.id.as_str());
    let wishes = [
        ("bio", bio("Counts.")),
        ("locale", User { locale: "en".into(), ..User::default() }),
        ("time_zone", User { time_zone: "UTC".into(), ..User::default() }),
    ];
    let [first, second, third] =
        wishes.map(|(field, wish)| async move { identity.update_me(id, wish, &[field]).await });
    let (first, second, third) = tokio::join!(first, second, third);
    for outcome in [first, second, third] {
        outcome.unwrap();
    }
    let now = identity.me(&ada.id).await.unwrap();
    assert_eq!(
        (now.bio.as_str(), now.locale.as_str(), now.time_zone.as_str()),
        ("Counts.", "en", "UTC")
    );
}

async fn an_administrator_changes_others(transport: Transport) {
    let identity = Identity::start(transport).await;
    let ada = identity.create("ada@example.com", "Ada").await;
    let eve = identity.create("eve@example.com", "Eve").await;
    let update = async |caller: &str, id: &str| {
        let user = Some(bio("Changed by another."));
        let user_id = id.to_owned();
        let request = UpdateUserRequest { user_id, user, update_mask: mask(&["bio"]) };
        as_user(caller, identity.client().update_user(request)).await
    };
    let error = update(&eve.id, &ada.id).await.unwrap_err();
    assert!(error.is(&PERMISSION_DENIED), "{error}");
    assert_eq!(update(&identity.admin, &ada.id).await.unwrap().bio, "Changed by another.");
    let error = update(&identity.admin, &UserId::new().to_string()).await.unwrap_err();
    assert!(error.is(&NOT_FOUND), "{error}");
}
