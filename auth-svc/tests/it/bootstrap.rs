//! The first administrator.

use auth_svc::config::Config;
use mainstay::contract::auth::proto::AccountRegistered;
use mainstay::contract::auth::{EMAIL_TAKEN, INVALID_CREDENTIALS};
use mainstay::kernel::settings::Transport;
use mainstay_testing::eventually;

use crate::harness::{Auth, quick};

fn with_admin(password: &str) -> Config {
    Config {
        bootstrap_admin_email: "admin@example.com".into(),
        bootstrap_admin_password: password.into(),
        ..quick()
    }
}

#[tokio::test]
async fn the_administrator_is_registered_once() {
    let mut auth = Auth::start_with(Transport::Grpc, with_admin("the first password")).await;
    let tokens = auth.login("admin@example.com", "the first password").await.unwrap();
    assert_eq!(auth.claims(&tokens).await.unwrap().roles, ["admin", "member"]);
    assert!(auth.register("admin@example.com").await.unwrap_err().is(&EMAIL_TAKEN));

    auth.end().await;
    auth.config = with_admin("another password");
    auth.begin().await;
    auth.login("admin@example.com", "the first password").await.expect("it was left alone");
    let error = auth.login("admin@example.com", "another password").await.unwrap_err();
    assert!(error.is(&INVALID_CREDENTIALS), "{error}");
    let told = eventually("the registration is told", async || {
        Some(auth.mesh.events::<AccountRegistered>().await).filter(|told| !told.is_empty())
    })
    .await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].roles, ["member", "admin"]);
}

#[tokio::test]
async fn replicas_that_start_together_register_one_administrator() {
    let auth = Auth::start(Transport::Grpc).await;
    let config = with_admin("the first password");
    let start = || {
        let service = mainstay::contract::auth::SERVICE;
        auth.mesh.start(service, config.clone(), auth_svc::module)
    };
    let (one, other) = tokio::join!(start(), start());
    auth.login("admin@example.com", "the first password").await.unwrap();
    one.drain().await;
    other.drain().await;
    let told = auth.mesh.events::<AccountRegistered>().await;
    assert_eq!(told.len(), 1);
}
