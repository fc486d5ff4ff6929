//! The service is stopped, restarted and replaced.

use mainstay::contract::auth::proto::AccountRegistered;
use mainstay::contract::identity::UserId;
use mainstay::kernel::settings::Transport;
use mainstay_testing::eventually;

use crate::harness::Identity;

crate::stories! {
    users_survive_a_restart,
    a_rolling_restart_loses_no_call,
}

async fn users_survive_a_restart(transport: Transport) {
    let mut identity = Identity::start(transport).await;
    let ada = identity.create("ada@example.com", "Ada").await;
    identity.end().await;
    identity.begin().await;
    let again = eventually("identity is back", async || identity.me(&ada.id).await.ok()).await;
    assert_eq!(again, ada);
}

async fn a_rolling_restart_loses_no_call(transport: Transport) {
    let mut identity = Identity::start(transport).await;
    let ada = identity.create("ada@example.com", "Ada").await;
    let successor = identity.another().await;
    let client = identity.client();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let calls = tokio::spawn(call_until(client, ada.id, stopped));
    identity.end().await;
    stop.send(()).unwrap();
    let (made, lost) = calls.await.unwrap();
    assert!(made > 0);
    assert_eq!(lost, Vec::<String>::new(), "of {made} calls");
    successor.drain().await;
}

/// Calls one after the other until told to stop; returns how many were made and what was lost.
async fn call_until(
    client: mainstay::contract::identity::GrpcIdentityClient,
    id: String,
    mut stop: tokio::sync::oneshot::Receiver<()>,
) -> (usize, Vec<String>) {
    use mainstay::contract::identity::{IdentityClient as _, proto::GetMeRequest};
    let (mut made, mut lost) = (0, Vec::new());
    while stop.try_recv().is_err() {
        let outcome = mainstay_testing::as_user(&id, client.get_me(GetMeRequest {})).await;
        made += 1;
        lost.extend(outcome.err().map(|error| error.to_string()));
    }
    (made, lost)
}

/// The user is created while identity drains, or once it is back: never lost in between.
#[tokio::test]
async fn registrations_during_a_restart_all_arrive() {
    let mut identity = Identity::start(Transport::Grpc).await;
    let ids: Vec<_> = (0..10).map(|_| UserId::new().to_string()).collect();
    for (n, id) in ids.iter().enumerate() {
        let event = AccountRegistered {
            user_id: id.clone(),
            email: format!("user{n}@example.com"),
            ..Default::default()
        };
        identity.mesh.publish(&event).await;
        if n == 5 {
            identity.end().await;
        }
    }
    identity.begin().await;
    for id in &ids {
        eventually("every user is there", async || identity.me(id).await.ok()).await;
    }
}
