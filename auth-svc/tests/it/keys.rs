//! Signing keys are published, rotated and kept.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use auth_svc::config::Config;
use mainstay::contract::auth::proto::{GetJwksRequest, GetOpenIdConfigurationRequest};
use mainstay::contract::auth::{AuthClient as _, SERVICE};
use mainstay::kernel::lifecycle;
use mainstay::kernel::settings::Transport;

use crate::harness::{Auth, PASSWORD, header, quick};

crate::stories! {
    the_key_set_is_one_of_rfc_8037,
    the_configuration_names_the_issuer,
}

async fn the_key_set_is_one_of_rfc_8037(transport: Transport) {
    let auth = Auth::start(transport).await;
    let jwks = auth.client().get_jwks(GetJwksRequest {}).await.unwrap();
    let [key] = &jwks.keys[..] else { panic!("one key signs from the start: {jwks:?}") };
    let fixed = [&key.kty, &key.crv, &key.alg, &key.r#use].map(String::as_str);
    assert_eq!(fixed, ["OKP", "Ed25519", "EdDSA", "sig"]);
    assert_eq!((key.x.len(), key.kid.len()), (43, 43));
}

async fn the_configuration_names_the_issuer(transport: Transport) {
    let issuer = "https://api.example.com".to_owned();
    let auth = Auth::start_with(transport, Config { issuer, ..quick() }).await;
    let request = GetOpenIdConfigurationRequest {};
    let found = auth.client().get_open_id_configuration(request).await.unwrap();
    assert_eq!(found.issuer, "https://api.example.com");
    assert_eq!(found.jwks_uri, "https://api.example.com/.well-known/jwks.json");
    let (_, tokens) = auth.logged_in("ada@example.com").await;
    assert_eq!(auth.claims(&tokens).await.unwrap().iss, "https://api.example.com");
}

/// Every token is signed by a key that was published before, and verifies as long as it is valid.
#[tokio::test]
async fn a_key_is_published_before_it_signs_and_until_its_tokens_have_expired() {
    let publish_ahead = Duration::from_millis(300);
    let config = Config {
        signing_key_life: Duration::from_millis(600),
        signing_key_publish_ahead: publish_ahead,
        signing_key_check_interval: Duration::from_millis(30),
        login_attempts: u32::MAX,
        ..quick()
    };
    let auth = Auth::start_with(Transport::Grpc, config).await;
    let (_, first) = auth.logged_in("ada@example.com").await;
    let (mut signers, deadline) = (BTreeSet::new(), Instant::now() + Duration::from_secs(20));
    while signers.len() < 4 {
        assert!(Instant::now() < deadline, "the keys do not rotate: {signers:?}");
        let asked = Instant::now();
        let published = auth.kids().await;
        let tokens = auth.login("ada@example.com", PASSWORD).await.unwrap();
        let kid = header(&tokens)["kid"].as_str().unwrap().to_owned();
        // A machine that is busy may take so long that a key was published meanwhile, and signs.
        if asked.elapsed() < publish_ahead {
            assert!(published.contains(&kid), "{kid} signs and was not published");
            signers.insert(kid);
        }
    }
    auth.claims(&first).await.expect("the first token is still valid, so its key is published");
}

#[tokio::test]
async fn replicas_and_restarts_share_the_keys() {
    let mut auth = Auth::start(Transport::Grpc).await;
    let (_, tokens) = auth.logged_in("ada@example.com").await;
    let kids = auth.kids().await;
    let replica = auth.another().await;
    auth.end().await;
    assert_eq!(auth.kids().await, kids);
    auth.claims(&tokens).await.unwrap();
    replica.drain().await;
    auth.begin().await;
    assert_eq!(auth.kids().await, kids);
    auth.refresh(&tokens.refresh_token).await.unwrap();
}

#[tokio::test]
async fn encrypted_keys_need_the_key_that_encrypts_them() {
    let key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    let config = Config { key_encryption_key: key.into(), ..quick() };
    let mut auth = Auth::start_with(Transport::Grpc, config).await;
    let kids = auth.kids().await;
    auth.end().await;
    auth.begin().await;
    assert_eq!(auth.kids().await, kids);
    auth.end().await;

    let settings = auth.mesh.settings(SERVICE, quick());
    let refused = lifecycle::start(SERVICE, settings, auth_svc::module).await;
    let refusal = format!("{:#}", refused.err().expect("the keys cannot be read"));
    assert!(refusal.contains("auth.key_encryption_key"), "{refusal}");
}
