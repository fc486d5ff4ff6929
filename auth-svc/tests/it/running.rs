//! The service is stopped, restarted and drained.

use auth_svc::config::Config;
use mainstay::contract::auth::AuthClient as _;
use mainstay::contract::auth::proto::LoginRequest;
use mainstay::kernel::settings::Transport;
use mainstay_testing::eventually;

use crate::harness::{Auth, PASSWORD, unverified};

crate::stories! {
    accounts_and_sessions_survive_a_restart,
    a_drain_finishes_logins_in_flight,
}

async fn accounts_and_sessions_survive_a_restart(transport: Transport) {
    let mut auth = Auth::start(transport).await;
    let (ada, tokens) = auth.logged_in("ada@example.com").await;
    auth.end().await;
    auth.begin().await;
    let again =
        eventually("auth is back", async || auth.login("ada@example.com", PASSWORD).await.ok())
            .await;
    assert_eq!(unverified(&again)["sub"], ada.id);
    let next = auth.refresh(&tokens.refresh_token).await.unwrap();
    assert_eq!(auth.claims(&next).await.unwrap().sid, unverified(&tokens)["sid"]);
}

async fn a_drain_finishes_logins_in_flight(transport: Transport) {
    // One worker at full cost: when the first login is done the others are in flight.
    let config = Config { password_concurrency: 1, ..Config::default() };
    let mut auth = Auth::start_with(transport, config).await;
    auth.register("ada@example.com").await.unwrap();
    let client = auth.client();
    let (done, mut first_done) = tokio::sync::mpsc::unbounded_channel();
    let logins: Vec<_> = (0..8)
        .map(|_| {
            let (client, done) = (client.clone(), done.clone());
            tokio::spawn(async move {
                let (email, password) = ("ada@example.com".into(), PASSWORD.into());
                let outcome = client.login(LoginRequest { email, password }).await;
                done.send(()).unwrap();
                outcome
            })
        })
        .collect();
    first_done.recv().await.unwrap();
    auth.end().await;
    for login in logins {
        login.await.unwrap().expect("a login in flight is finished");
    }
}
