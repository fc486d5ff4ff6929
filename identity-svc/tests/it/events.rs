//! What identity hears and tells.

use mainstay::contract::auth::proto::AccountRegistered;
use mainstay::contract::identity::proto::UserCreated;
use mainstay::contract::identity::{GrpcIdentityClient, IdentityClient as _, UserId};
use mainstay::kernel::settings::Transport;
use mainstay_testing::eventually;

use crate::harness::{Identity, create_request};

fn registered(id: &str, email: &str) -> AccountRegistered {
    let request = create_request(id, email, "Ada");
    AccountRegistered {
        user_id: request.user_id,
        email: request.email,
        display_name: request.display_name,
        roles: vec!["member".into()],
        register_time: request.register_time,
    }
}

#[tokio::test]
async fn a_registration_becomes_a_user() {
    let identity = Identity::start(Transport::Grpc).await;
    let id = UserId::new().to_string();
    identity.mesh.publish(&registered(&id, "ada@example.com")).await;
    let ada = eventually("the user is there", async || identity.me(&id).await.ok()).await;
    assert_eq!((ada.email.as_str(), ada.display_name.as_str()), ("ada@example.com", "Ada"));
    let told = eventually("the user is told of", async || {
        identity.mesh.events::<UserCreated>().await.pop()
    })
    .await;
    assert_eq!((told.user_id, told.email), (id, "ada@example.com".to_owned()));
}

#[tokio::test]
async fn a_registration_heard_while_away_is_made_up_for() {
    let mut identity = Identity::start(Transport::Grpc).await;
    identity.end().await;
    let id = UserId::new().to_string();
    identity.mesh.publish(&registered(&id, "ada@example.com")).await;
    identity.begin().await;
    eventually("the user is there", async || identity.me(&id).await.ok()).await;
}

/// The same registration comes by call and by event, repeatedly: one user, told of once.
#[tokio::test]
async fn call_and_event_of_one_registration_make_one_user() {
    let identity = Identity::start(Transport::Grpc).await;
    let id = UserId::new().to_string();
    identity.mesh.publish(&registered(&id, "ada@example.com")).await;
    let auth = GrpcIdentityClient::new(identity.channel("auth-svc"));
    let ada = auth.create_user(create_request(&id, "ada@example.com", "Ada")).await.unwrap();
    identity.mesh.publish(&registered(&id, "ada@example.com")).await;

    // A later registration of the same key tells that the earlier ones were handled.
    let last = UserId::new().to_string();
    identity.mesh.publish(&registered(&last, "last@example.com")).await;
    eventually("the last user is told of", async || {
        let told = identity.mesh.events::<UserCreated>().await;
        told.iter().any(|event| event.user_id == last).then_some(())
    })
    .await;
    assert_eq!(identity.me(&id).await.unwrap(), ada);
    let told = identity.mesh.events::<UserCreated>().await;
    assert_eq!(told.iter().filter(|event| event.user_id == id).count(), 1);
}

/// Events about one user that cannot be handled hold up nobody else's.
#[tokio::test]
async fn an_event_that_makes_no_sense_is_put_aside() {
    let identity = Identity::start(Transport::Grpc).await;
    let id = UserId::new().to_string();
    identity.mesh.publish(&registered("no id", "eve@example.com")).await;
    identity.mesh.publish(&registered(&UserId::new().to_string(), "no address")).await;
    identity.mesh.publish(&registered(&id, "ada@example.com")).await;
    eventually("the sound one is handled", async || identity.me(&id).await.ok()).await;
}
